"""From a recipe to a patch: train, export, repair with the model that came out."""

import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import Kelp, Ran, run_in

from kelp.data.examples.recipe import Recipe
from kelp.training.config import render_config

pytestmark = pytest.mark.slow

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


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ran]:
    """A folder with the recipe `tiny.toml`, its data and its run, and what the training printed."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "tiny.toml").write_text(RECIPE)
    return folder, run_in(folder, "train", "tiny.toml")


def test_a_trained_model_repairs(trained: tuple[Path, Ran], kelp_here: Kelp, tmp_path: Path) -> None:
    folder, ran = trained
    assert ran.code == 0, ran.err
    first, last = ran.out.decode().splitlines()
    assert first.startswith("Done at step 2 after ") and "valid_loss" in first
    assert last == "Next: kelp export run --out my-model"
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    kelp = kelp_here
    again = kelp("train", "tiny.toml")
    assert (again.code, again.sentence.startswith("run already holds a run at step 2")) == (2, True)

    exported = kelp("export", "run/checkpoints/2", "--out", "model")
    assert (exported.code, exported.out) == (0, b"model: step 2 of run, as bfloat16\n"), exported.err
    (tmp_path / "f.py").write_text('def add(a, b):\n    """Sum of both. Really."""\n    return a - b\n')
    repaired = kelp("repair", "f.py", "--assert", "add(1, 2) == 3", "--model", "model", "--json")
    assert repaired.code == 0, repaired.err
    assert repaired.json["functions"] == [{"name": "add", "log_prob": 0.0, "intent": "Sum of both."}]
    assert repaired.json["timings"].keys() >= {"load_model", "read_file", "search", "total"}
    assert any("return a + b\n" in patch["source"] for patch in repaired.json["patches"])

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
    assert sentence(lambda m: (m / "tokenizer.json").write_text("{}")).startswith("model/tokenizer.json is damaged ")
    description = json.loads((model / "config.json").read_text())
    description["kelp"]["site_kinds"] += 1
    assert "where config.json says" in sentence(lambda m: (m / "config.json").write_text(json.dumps(description)))


def test_only_data_that_holds_functions_out_can_be_judged_by_their_repair(
    trained: tuple[Path, Ran], kelp_here: Kelp, tmp_path: Path
) -> None:
    shutil.copytree(trained[0] / "data", tmp_path / "data")
    (tmp_path / "tiny.toml").write_text(RECIPE + 'best_by = "corpus_correct"\n')
    ran = kelp_here("train", "tiny.toml")
    assert (ran.code, ran.sentence) == (
        2, "best_by = 'corpus_correct' in [training]: data holds no project out, so there is nothing to measure on.",
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
        (("train", "fame"), "There is no recipe 'fame': give a file, or one of "),
        (("train", "empty"), "empty holds no recipe."),
        (
            ("train", "empty", "--out", "m"),
            "empty is a folder of recipes: --out, --print-config, --resume-from and --profile take one recipe.",
        ),
        (("train", "good.toml", "--profile-steps", "1:2"), "--profile-steps needs --profile, the folder to write to."),
        (("train", "good.toml", "--profile", "p", "--profile-steps", "2:1"), "--profile-steps 2:1 is no range of step"),
        (("train", "good.toml", "--profile", "p", "--profile-steps", "2"), "--profile-steps 2 is no range of steps: g"),
        (("train", "good.toml", "--resume-from", "last"), "--resume-from last is neither best nor the number of a st"),
        (("train", "bad.toml"), "bad.toml: unknown key 'stepz' in [training]."),
        (("train", "fame.toml"), "best_by = 'toy_fame' in [training] is no metric: give valid_ with one of loss, "),
        (("train", "loss.toml"), "best_by = 'valid_los' in [training] is no metric: give valid_ with one of loss, "),
        (("export", "nowhere", "--out", "m"), "nowhere is no folder: give that of a training run, or of one of its"),
        (("export", ".", "--out", "m", "--share", "0.2"), "There is nothing to take the mean with: name a model with"),
        (("export", ".", "--out", "m", "--merge", "nothing"), "There is no model 'nothing': give default"),
        (("export", ".", "--out", "m"), "checkpoints holds no checkpoints: give the folder of a training run."),
    ],
)
def test_each_mistake_has_its_sentence(
    kelp_here: Kelp, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    (tmp_path / "good.toml").write_text(RECIPE)
    (tmp_path / "bad.toml").write_text(RECIPE + "stepz = 3\n")
    (tmp_path / "fame.toml").write_text(RECIPE + 'best_by = "toy_fame"\n')
    (tmp_path / "empty").mkdir()
    (tmp_path / "loss.toml").write_text(RECIPE + 'best_by = "valid_los"\n')
    ran = kelp_here(*arguments)
    assert (ran.code, ran.out) == (2, b"")
    assert ran.sentence.startswith(sentence)


def test_the_recipes_of_a_folder_are_a_chain_that_goes_on_where_it_was(
    trained: tuple[Path, Ran], kelp_here: Kelp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one's run is in a bucket, here a mounted one, from which the second one takes its model."""
    kelp, one = kelp_here, f"file://{tmp_path}/mounted/one"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(trained[0] / "data", tmp_path / "data")
    (tmp_path / "chain").mkdir()
    first = RECIPE.replace('out = "run"', f'out = "{one}"')
    second = RECIPE.replace("[data]", f'[data]\ntokenizer = "{one}/model"').replace('"data"', '"more"')
    second = second.replace('out = "run"', f'out = "two"\ninit_from = "{one}/model"')
    (tmp_path / "chain/1-first.toml").write_text(f"{first}max_minutes = 1e-9\n")
    (tmp_path / "chain/2-second.toml").write_text(f'{second}[export]\nmerge = "{one}/model"\nshare = 1.0\n')
    stopped = kelp("train", "chain")
    assert stopped.code == 0, stopped.err
    assert b"Time is up at step 1" in stopped.out and stopped.out.endswith(b"Next: kelp train chain\n")
    assert (tmp_path / "mounted/one/checkpoints").is_dir() and not (tmp_path / "mounted/one/model").exists()

    shutil.rmtree(tmp_path / "cache")  # as on another machine
    (tmp_path / "chain/1-first.toml").write_text(first)
    done = kelp("train", "chain")
    assert done.code == 0, done.err
    assert f"{one}/model: step 2 of {one}\n" in done.out.decode() and done.out.endswith(b"--model two/model\n")
    weights = [(folder / "model/model.safetensors").read_bytes() for folder in (tmp_path / "mounted/one", Path("two"))]
    assert weights[0] == weights[1]  # the mean, all of it the first model's share
    again = kelp("train", "chain")
    assert [line for line in again.out.decode().splitlines() if "done" in line] == [
        f"chain/1-first.toml: done, {one}/model",
        "chain/2-second.toml: done, two/model",
    ]


def test_the_tiny_recipe_runs_from_data_to_evaluation(kelp_here: Kelp, tmp_path: Path) -> None:
    kelp = kelp_here
    trained = kelp("train", "tiny", "--print-config")
    recipe = tomllib.loads(trained.out.decode())
    recipe["data"] |= {"examples": 40, "valid_examples": 8}
    recipe["training"] |= {"steps": 2, "tokens_per_batch": 256}
    text = render_config(Recipe.model_validate(recipe))
    (tmp_path / "tiny").write_text(text)  # a path wins over a name
    trained = kelp("train", "tiny")
    assert trained.code == 0, trained.err
    exported = kelp("export", "runs/tiny", "--out", "runs/tiny/model")
    assert exported.code == 0, exported.err
    arguments = ("--mutations", "1", "--trials", "1", "--max-runs", "4")
    evaluated = kelp("eval", "toy", "--model", "runs/tiny/model", *arguments)
    assert evaluated.code == 0, evaluated.err
    assert b"runs/tiny/model" in evaluated.out


@pytest.mark.parametrize(
    ("library", "arguments", "sentence"),
    [
        ("jax", "lm generate m --prompt x", "This needs jax, which is not installed: pip install"),
        ("optax", "train tiny", "kelp train needs optax, which is not installed: pip install 'kelp-repair[train]'."),
        ("grain", "train tiny", "kelp train needs grain, which is not installed: pip install 'kelp-repair[train]'."),
        ("orbax", "export . --out m", "kelp export needs orbax, which is not installed: pip install"),
        ("array_record", "data build tiny", "kelp data build needs array_record, which is not installed: pip install"),
        ("pyarrow", "data inspect x.toml", "kelp data inspect needs pyarrow, which is not installed: pip install"),
        ("mcp", "mcp", "kelp mcp needs mcp, which is not installed: pip install 'kelp-repair[mcp]'."),
        ("duckdb", "corpus build --source stdlib --out c", "kelp corpus build needs duckdb, which is not installed: "),
    ],
)
def test_a_missing_extra_is_one_sentence(tmp_path: Path, library: str, arguments: str, sentence: str) -> None:
    hidden = f"import sys; sys.modules[{library!r}] = None; sys.argv[1:] = {arguments.split()}"
    command = [sys.executable, "-c", f"{hidden}; from kelp.cli.main import main; main()"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith(sentence) and ran.stderr.count("\n") == 1
    assert "pip install 'kelp-repair[" in ran.stderr


def test_a_library_that_is_missed_later_on_is_one_sentence_too(
    kelp_here: Kelp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'egglog'", name="egglog")

    (tmp_path / "tiny.toml").write_text(RECIPE)
    monkeypatch.setattr("kelp.data.examples.build.build", build)
    ran = kelp_here("train", "tiny.toml")
    sentence = "This needs egglog, which is not installed: pip install 'kelp-repair[data]'."
    assert (ran.code, ran.sentence) == (2, sentence)
