"""experiments/marin/launch.py: its stages without Marin, and all of it with Marin where a Python has it."""

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from types import ModuleType
from typing import Any

import fsspec
import pytest

from kelp.data.examples.build import build
from kelp.data.examples.recipe import load_recipe
from kelp.errors import KelpError

LAUNCH = Path(__file__).parents[1] / "experiments/marin/launch.py"
RECIPE = """
[model]
preset = "toy"
dim = 16
layers = 1
mlp_dim = 32
pointer_dim = 16

[data]
folder = "none"
sources = ["toy"]
examples = 60
valid_examples = 10
vocab_size = 400
max_bytes = 300
max_prefix = 200
observation = 0.1

[optimizer]
name = "muon"
warmup = 2

[training]
steps = 4
tokens_per_batch = 512
eval_every = 4
"""


@pytest.fixture(scope="module")
def launch() -> ModuleType:
    spec = importlib.util.spec_from_file_location("kelp_marin_launch", LAUNCH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "mini.toml"
    path.write_text(RECIPE)
    return path


def _bytes(folder: str | Path, *patterns: str) -> dict[str, bytes]:
    files = {path.name: path.read_bytes() for pattern in patterns for path in Path(folder).glob(pattern)}
    assert len(files) >= len(patterns)
    return files


def test_where_marin_is_missing_one_sentence_says_how_to_get_it(tmp_path: Path) -> None:
    package = tmp_path / "marin"
    package.mkdir()
    (package / "__init__.py").write_text("raise ModuleNotFoundError('none', name='marin')")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, str(LAUNCH), "--help"], capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert done.stderr == "This needs marin-core, on Python 3.12 or newer: uv sync --extra marin (docs/marin.md).\n"


def test_configurations_are_frozen(launch: ModuleType) -> None:
    configs = [value for name, value in vars(launch).items() if name.endswith("Config")]
    assert len(configs) == 7
    for config in configs:
        made = object.__new__(config)
        with pytest.raises(FrozenInstanceError):
            made.out = "elsewhere"
        assert "out" in {field.name for field in fields(config)}


@pytest.mark.slow
def test_the_stages_give_what_kelp_train_makes_and_keep_it(
    launch: ModuleType, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_recipe(recipe)
    whole = settings.model_dump(mode="json", exclude={"data": {"folder"}, "training": {"out"}})

    def run_all(folder: Path, machine: str) -> tuple[str, str]:
        """The folders of examples and model; the run is in a bucket, of which each machine has a copy."""
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / machine))
        data = settings.data
        corpus = launch.build_corpus(launch.CorpusConfig(data.sources, data.max_bytes, str(folder / "corpus")))
        specs = launch.add_specs(launch.SpecsConfig(corpus, data.seed, str(folder / "specs")))
        examples = launch.build_examples(launch.ExamplesConfig(whole["data"], specs, str(folder / "examples")))
        run = launch.on_disk(launch.train)(launch.TrainConfig(whole, examples, f"file://{folder}/run"))
        return examples, launch.on_disk(launch.export)(launch.ExportConfig(run, str(folder / "model")))

    patterns = "records.parquet", "bank.json.gz", "*.array_record", "tokenizer.json"
    examples, model = run_all(tmp_path / "staged", "first")
    direct = settings.data.model_copy(update={"folder": tmp_path / "direct"})
    build(direct, jobs=1)
    assert _bytes(examples, *patterns) == _bytes(direct.folder, *patterns)

    def state() -> dict[Path, tuple[int, bytes]]:
        kept = [*Path(examples).iterdir(), *Path(examples, "..", "run", "checkpoints").iterdir()]
        weights = Path(model) / "model" / "model.safetensors"  # an export writes them anew
        times = {path: (path.stat().st_mtime_ns, b"") for path in kept}
        return times | {weights: (0, weights.read_bytes())}

    before = state()
    assert run_all(tmp_path / "staged", "second") == (examples, model)
    assert state() == before


def test_folders_at_urls_are_fetched_and_uploaded(launch: ModuleType, tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    figures = {"repaired": {"mean": 0.5, "low": 0.0, "high": 1.0, "n": 2}, "correct": None, "n": 2}
    summary = {"benchmark": "toy", "results": {"/some/where/model": {"all": figures}}}
    memory.pipe("/kelp-marin/toy/summary.json", json.dumps(summary).encode())
    config = launch.ReportConfig(("memory://kelp-marin/toy",), "memory://kelp-marin/report")
    assert launch.on_disk(launch.report)(config) == "memory://kelp-marin/report"
    lines = memory.cat("/kelp-marin/report/report.md").decode().splitlines()
    assert lines[-1] == "| toy | model | all | 2 | 50% [0%, 100%] | - |"


def test_an_evaluation_must_leave_model_and_folder_to_the_pipeline(launch: ModuleType) -> None:
    with pytest.raises(KelpError, match="--model"):
        launch.EvaluateConfig(("toy", "--model=default"), "model", "out")


def test_an_evaluation_that_fails_ends_in_the_message_of_kelp_eval(launch: ModuleType, tmp_path: Path) -> None:
    config = launch.EvaluateConfig(("cases", str(tmp_path / "no.jsonl")), "default", str(tmp_path / "out"))
    with pytest.raises(KelpError, match=r"kelp eval cases .*no\.jsonl.* failed: "):
        launch.evaluate(config)


# With Marin


def _python_with_marin() -> str:
    """KELP_MARIN_PYTHON, or this Python if it has Marin."""
    if python := os.environ.get("KELP_MARIN_PYTHON"):
        return python
    if importlib.util.find_spec("marin") is None:
        pytest.skip("Set KELP_MARIN_PYTHON to a Python 3.12 with Kelp and marin-core: see docs/marin.md.")
    return sys.executable


def _launch(python: str, recipe: Path, *options: str) -> subprocess.CompletedProcess[str]:
    evaluation = "toy --mutations 1 --trials 1 --limit 1 --max-runs 4 --baseline none-random"
    command = [python, str(LAUNCH), "--recipe", str(recipe), "--jobs", "1", "--eval", evaluation, *options]
    environment: dict[str, Any] = os.environ | {"MARIN_PREFIX": str(recipe.parent / "artifacts")}
    environment.pop("XLA_FLAGS", None)  # those of this Python's JAX, which another one may not know
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=recipe.parent)
    assert done.returncode == 0, done.stderr[-2000:]
    return done


def _built(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Names of the steps that ran, in order."""
    lines = [line for line in done.stderr.splitlines() if " succeeded in " in line]
    return [line.partition("kelp/mini/")[2].partition("_")[0].partition("/")[0] for line in lines]


@pytest.mark.slow
def test_with_marin_a_second_run_comes_from_the_cache_and_another_version_runs_again(recipe: Path) -> None:
    python = _python_with_marin()
    first = _launch(python, recipe, "--version", "2026.12.01", "--run")
    assert _built(first) == ["corpus", "specs", "examples", "train", "model", "evaluation", "report"]
    folder = recipe.parent / "artifacts/kelp/mini"
    assert json.loads((folder / "report/2026.12.01/.artifact.json").read_text())["fingerprint"]
    report = (folder / "report/2026.12.01/report.md").read_text()
    assert "| toy | model | all | 1 |" in report
    assert _built(_launch(python, recipe, "--version", "2026.12.01", "--run")) == []
    newer = _launch(python, recipe, "--version", "2026.12.01", "--override", "kelp/mini/report=2026.12.02", "--run")
    assert _built(newer) == ["report"]
    assert (folder / "report/2026.12.02/report.md").read_text() == report
