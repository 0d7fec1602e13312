"""From text to a language model's folder: tokenizer, data, training, export."""

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Kelp

pytestmark = pytest.mark.slow

RECIPE = """
[model]
dim = 16
layers = 1
heads = 2
kv_heads = 1
mlp_dim = 32

[lm]
block = 4

[lm.samples]
prompts = ["def "]
every = 2
length = 8

[data]
sources = ["files:*.txt"]
tokenizer = "tokenizer"
folder = "data"
vocab_size = 300
length = 32
valid_share = 0.5

[training]
steps = 2
tokens_per_batch = 128
best_by = "valid_bits_per_byte"
out = "run"
"""


def test_text_becomes_a_language_model(kelp: Kelp, tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"{number}.txt").write_text(f"def f{number}(x):\n    return x + {number}\n" * 3)
    (tmp_path / "lm.toml").write_text(RECIPE)
    assert kelp("lm", "tokenizer", "train", "lm.toml").code == 0
    trained = kelp("train", "lm.toml", "--profile", "trace", "--profile-steps", "2:2")
    assert trained.code == 0, trained.err
    first, profile, last = trained.out.decode().splitlines()
    assert profile == "Profile of steps 2 to 2: trace" and any((tmp_path / "trace").rglob("*.xplane.pb"))
    logged = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [row["kind"] for row in logged] == ["source", "memory", "train", "data", "sample", "valid"]
    assert logged[0]["train"]["documents"] and logged[3]["padding"] < 1 and logged[4]["prompt"] == "def "
    assert first.startswith("Done at step 2 after ") and "valid_bits_per_byte" in first
    assert last == "Next: kelp export run --out my-model"
    again = kelp("train", "lm.toml", "--resume")
    assert again.code == 0 and again.out.startswith(b"Done at step 2"), again.err
    changed = RECIPE.replace("block = 4", "block = 8").replace("steps = 2", "steps = 3")
    (tmp_path / "lm.toml").write_text(changed)
    other = kelp("train", "lm.toml", "--resume")
    assert (other.code, other.sentence.startswith("the run was started with block = 4 in [lm]")) == (2, True)

    exported = kelp("export", "run", "--out", "model")
    assert (exported.code, exported.out) == (0, b"model: step 2 of run, as bfloat16\n"), exported.err
    keys = json.loads((tmp_path / "model/config.json").read_text())
    assert (keys["model_type"], keys["diffusion"]["block"], keys["max_position_embeddings"]) == ("llama", 4, 32)
    assert (tmp_path / "model/tokenizer.json").read_bytes() == (tmp_path / "data/tokenizer.json").read_bytes()


@pytest.mark.parametrize(
    "old, new, says",
    [
        ("block = 4", "blocks = 4", "lm.toml: unknown key 'blocks' in [lm]."),
        ("block = 4", "block = 1\nshift = false", "lm.toml: [lm] block = 1 without shift would predict"),
        ("length = 32", 'mask = "<|endoftext|>"', "lm.toml: [data] the mask token must not be the end-of-text"),
        ("valid_bits_per_byte", "valid_bits", "There is no tokenizer tokenizer: kelp lm tokenizer train makes one."),
    ],
)
def test_what_is_wrong_with_a_recipe_ends_in_one_sentence(
    kelp_here: Kelp, tmp_path: Path, old: str, new: str, says: str
) -> None:
    (tmp_path / "lm.toml").write_text(RECIPE.replace(old, new))
    ran = kelp_here("train", "lm.toml")
    assert (ran.code, ran.sentence[: len(says)].lower()) == (2, says.lower())


def test_the_whole_recipe_is_printed(kelp_here: Kelp, tmp_path: Path) -> None:
    (tmp_path / "lm.toml").write_text(RECIPE)
    printed = kelp_here("train", "lm.toml", "--print-config").out.decode()
    assert 'objective = "diffusion"' in printed and "[data]" in printed
    (tmp_path / "lm.toml").write_text(printed)
    assert kelp_here("train", "lm.toml", "--print-config").out.decode() == printed
