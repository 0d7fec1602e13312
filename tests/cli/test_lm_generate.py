"""`kelp lm generate` and `kelp lm eval` on a random model of bytes."""

import json
from pathlib import Path

import jax
import pytest
from tests.cli.conftest import Kelp
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from kelp.lm.config import DiffusionConfig
from kelp.lm.folder import save_lm
from kelp.model.config import TransformerConfig
from kelp.model.leaves import named_leaves
from kelp.model.transformer import Transformer

pytestmark = pytest.mark.slow

SPECIAL = ["<|endoftext|>", "<|pad|>", "<|mask|>"]
CONFIG = TransformerConfig(vocab_size=260, dim=16, layers=1, heads=2, kv_heads=1, mlp_dim=24)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    out = tmp_path / "my-lm"
    diffusion = DiffusionConfig(mask=258, end=256, pad=257, block=8)
    leaves = named_leaves(Transformer.init(CONFIG, key=jax.random.key(0)))
    alphabet = {char: i for i, char in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(alphabet, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in SPECIAL])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    save_lm(out, leaves, CONFIG, diffusion, files=[tmp_path / "tokenizer.json"], length=64)
    return out


def test_a_prompt_is_continued(kelp_here: Kelp, folder: Path) -> None:
    ran = kelp_here("lm", "generate", folder, "--prompt", "def f", "--length", 12, "--json", "--steps", 2)
    assert ran.code == 0, ran.err
    assert ran.json["text"] == "def f" + ran.json["completion"]
    assert ran.json["tokens"] - ran.json["ended"] <= 12
    assert ran.json["passes"] <= 1 + 2 * 3 + 2
    traced = "--profile", "trace"
    plain = kelp_here("lm", "generate", folder, "--prompt", "def f", "--length", 12, "--steps", 2, *traced)
    assert plain.out.decode() == ran.json["text"] + "\n"
    assert any(b"attention" in path.read_bytes() for path in Path("trace").rglob("*.xplane.pb"))


def test_holes_are_filled_and_the_rest_stays(kelp_here: Kelp, folder: Path) -> None:
    text = r"def f(x):\n<mask:4>\n    return <mask:1>"
    ran = kelp_here("lm", "generate", folder, "--infill", text, "--block", 0, "--json", "--accept", "threshold")
    assert ran.code == 0, ran.err
    assert ran.json["text"].startswith("def f(x):\n") and "\n    return " in ran.json["text"]
    assert ran.json["tokens"] == 5 and ran.json["completion"] is None


def test_autoregressive_decoding_takes_a_pass_a_token(kelp_here: Kelp, folder: Path) -> None:
    ran = kelp_here("lm", "generate", folder, "--prompt", "import ", "--length", 9, "--mode", "ar", "--json")
    assert ran.json["passes"] == ran.json["tokens"]


def test_texts_are_measured(kelp_here: Kelp, folder: Path, tmp_path: Path) -> None:
    for number, text in enumerate(("x = 1\n", "y = 'é'\n", "z = 3\n" * 20)):
        (tmp_path / f"{number}.py").write_text(text, encoding="utf-8")
    (tmp_path / "empty.py").touch()
    ran = kelp_here("lm", "eval", folder, "--data", "*.py", "--samples", 4, "--json")
    assert ran.code == 0, ran.err
    low, high = ran.json["interval"]
    assert low < ran.json["bits_per_byte"] < high
    assert (ran.json["documents"], ran.json["bytes"], ran.json["exact"]) == (3, 6 + 9 + 120, False)
    exact = kelp_here("lm", "eval", folder, "--data", "*.py", "--block", 1)
    assert "bits per byte (exact), 3 documents, 135 bytes" in exact.out.decode()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["generate", "my-lm"], "Give either --prompt or --infill."),
        (["generate", "none", "--prompt", "a"], "none is no model folder: config.json is missing."),
        (["generate", "my-lm", "--infill", "a"], "--infill has no hole: write <mask:40> where 40 tokens are missing."),
        (
            ["generate", "my-lm", "--prompt", "a" * 60],
            "The text of 61 tokens and --length 128 is longer than the context of 64 tokens: shorten it.",
        ),
        (
            ["generate", "my-lm", "--infill", "a" * 60 + "<mask:9>"],
            "The text of 70 tokens is longer than the context of 64 tokens: shorten it.",
        ),
        (
            ["generate", "my-lm", "--prompt", "a", "--top-p", "1.5"],
            "--top-p must be above 0 and at most 1, got 1.5.",
        ),
        (
            ["generate", "my-lm", "--prompt", "a", "--mode", "ar", "--block", "4"],
            "--mode ar decodes blocks of one token: leave --block out.",
        ),
        (["eval", "my-lm", "--data", "*.txt"], "--data *.txt names no file with text."),
        (
            ["eval", "my-lm", "--data", "my-lm/config.json", "--length", "64"],
            "--length 64 does not fit a context of 64 tokens: at most 63 does.",
        ),
    ],
)
def test_bad_input_ends_in_one_sentence(kelp_here: Kelp, folder: Path, arguments: list[str], sentence: str) -> None:
    ran = kelp_here("lm", *arguments)
    assert (ran.code, ran.sentence) == (2, sentence)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"mask": 256}, "the mask token must not be the end-of-text or the padding token, got 256"),
        ({"pad": 300}, "a special token is past the 260 tokens of the vocabulary"),
        ({"clean": "all"}, "clean must be 'causal' or 'block', got 'all'"),
        (None, "holds an autoregressive model"),
    ],
)
def test_a_folder_of_another_model_is_refused(
    kelp_here: Kelp, folder: Path, change: dict[str, object] | None, sentence: str
) -> None:
    keys = json.loads((folder / "config.json").read_text())
    if change is None:
        del keys["diffusion"]
    else:
        keys["diffusion"] |= change
    (folder / "config.json").write_text(json.dumps(keys))
    ran = kelp_here("lm", "generate", folder, "--prompt", "a")
    assert ran.code == 2 and sentence in ran.sentence


def test_a_llama_of_another_origin_decodes_one_token_after_the_other(kelp_here: Kelp, folder: Path) -> None:
    keys = json.loads((folder / "config.json").read_text())
    del keys["diffusion"]
    (folder / "config.json").write_text(json.dumps(keys))
    ran = kelp_here("lm", "generate", folder, "--prompt", "a", "--mode", "ar", "--length", 4, "--json")
    assert ran.code == 0 and ran.json["tokens"] <= 4, ran.err


def test_the_tokenizer_of_a_larger_model_is_refused(kelp_here: Kelp, folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens(["another", "and another"])
    tokenizer.save(str(folder / "tokenizer.json"))
    ran = kelp_here("lm", "generate", folder, "--prompt", "a")
    assert ran.code == 2 and "has 261 tokens and the model 260: it is not the model's." in ran.sentence
