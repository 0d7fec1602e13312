"""From a recipe to a patch: train, export, repair with what came out."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import Kelp

RECIPE = """
[model]
preset = "toy"
dim = 16
layers = 1
heads = 2
kv_heads = 1
mlp_dim = 32
pointer_dim = 8

[data]
folder = "data"
sources = ["toy"]
examples = 64
valid_examples = 8
vocab_size = 400
specs = "own"
observation = 0.0

[training]
steps = 2
tokens_per_batch = 512
out = "run"
"""


def test_a_trained_model_repairs(kelp: Kelp, tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(RECIPE)
    trained = kelp("train", "tiny.toml")
    assert trained.code == 0, trained.err
    first, last = trained.out.decode().splitlines()
    assert first.startswith("Done at step 2 after ") and "valid_loss" in first
    assert last == "Next: kelp export run --out my-model"
    again = kelp("train", "tiny.toml")
    assert (again.code, again.sentence.startswith("run already holds a run at step 2")) == (2, True)

    exported = kelp("export", "run/checkpoints/2", "--out", "model")
    assert (exported.code, exported.out) == (0, b"model: step 2 of run, as bfloat16\n"), exported.err
    (tmp_path / "f.py").write_text('def add(a, b):\n    """Sum of both. Really."""\n    return a - b\n')
    repaired = kelp("repair", "f.py", "--assert", "add(1, 2) == 3", "--model", "model", "--json")
    assert repaired.code == 0, repaired.err
    assert repaired.json["functions"] == [{"name": "add", "log_prob": 0.0, "intent": "Sum of both."}]
    assert repaired.json["timings"].keys() >= {"import_jax", "load_model", "compile", "search", "total"}
    assert any("return a + b\n" in patch["source"] for patch in repaired.json["patches"])
    assert any((tmp_path / "cache/kelp/jax").iterdir())

    def sentence(damage: Callable[[Path], object]) -> str:
        """What is said of the model when a file of it is damaged."""
        for name in ("config.json", "tokenizer.json"):
            (tmp_path / f"{name}.bak").exists() or (tmp_path / f"{name}.bak").write_bytes((model / name).read_bytes())
            (model / name).write_bytes((tmp_path / f"{name}.bak").read_bytes())
        damage(model)
        ran = kelp("repair", "f.py", "--assert", "add(1, 2) == 3", "--model", "model")
        assert ran.code == 2
        return ran.sentence

    model = tmp_path / "model"
    assert sentence(lambda m: (m / "tokenizer.json").write_text("{}")).startswith("The model in model cannot be used: ")
    description = json.loads((model / "config.json").read_text())
    description["kelp"]["site_kinds"] += 1
    assert "where config.json says" in sentence(lambda m: (m / "config.json").write_text(json.dumps(description)))


def test_only_data_that_holds_functions_out_can_be_judged_by_their_repair(kelp: Kelp, tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(RECIPE + 'best = "corpus_correct"\n')
    ran = kelp("train", "tiny.toml")
    assert (ran.code, ran.sentence) == (
        2, "best = 'corpus_correct' in [training]: data holds no project out, so there is nothing to measure on.",
    )  # fmt: skip


def test_the_whole_configuration_is_printed_as_a_recipe(kelp_here: Kelp, tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(RECIPE)
    ran = kelp_here("train", "tiny.toml", "--out", "elsewhere", "--print-config")
    config = tomllib.loads(ran.out.decode())
    assert (config["training"]["out"], config["model"]["dim"]) == ("elsewhere", 16)
    assert config["data"]["sources"] == ["toy"]
    (tmp_path / "whole.toml").write_bytes(ran.out)
    assert kelp_here("train", "whole.toml", "--print-config").out == ran.out


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (("train", "nowhere.toml"), "nowhere.toml cannot be read: No such file or directory."),
        (("train", "bad.toml"), "bad.toml: unknown key 'stepz' in [training]."),
        (("train", "fame.toml"), "best = 'toy_fame' in [training] is no metric: give valid_ with one of loss, "),
        (("train", "loss.toml"), "best = 'valid_los' in [training] is no metric: give valid_ with one of loss, "),
        (("export", "nowhere", "--out", "m"), "nowhere is no folder: give that of a training run, or of one of its"),
        (("export", ".", "--out", "m", "--share", "0.2"), "There is nothing to take the mean with: name a model with"),
        (("export", ".", "--out", "m", "--average", "nothing"), "There is no model 'nothing': give default, none"),
        (("export", ".", "--out", "m"), "checkpoints holds no checkpoints: give the folder of a training run."),
    ],
)
def test_each_mistake_has_its_sentence(
    kelp_here: Kelp, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    (tmp_path / "bad.toml").write_text(RECIPE + "stepz = 3\n")
    (tmp_path / "fame.toml").write_text(RECIPE + 'best = "toy_fame"\n')
    (tmp_path / "loss.toml").write_text(RECIPE + 'best = "valid_los"\n')
    ran = kelp_here(*arguments)
    assert (ran.code, ran.out) == (2, b"")
    assert ran.sentence.startswith(sentence)
