import builtins
import json
import sys
from types import SimpleNamespace

import pytest
from tests.training.fake import config

from kelp.data.examples.recipe import Recipe
from kelp.training.config import ConfigError
from kelp.training.tracker import Tracker, truncate


def test_rows_past_the_step_resumed_from_and_a_line_cut_short_are_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"ste')
    truncate(path, 2)
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n'
    path.write_text('{"step": 1}\n{"step": 2}')
    truncate(path, 2)
    assert path.read_text() == '{"step": 1}\n'


def test_a_row_is_on_disk_before_the_next_step(tmp_path):
    with Tracker(config(), tmp_path, start=0, metrics={}) as tracker:
        tracker.row(3, "train", {"loss": 0.5})
        assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {
            "step": 3,
            "kind": "train",
            "loss": 0.5,
        }


def test_samples_are_shown_and_a_run_without_a_checkpoint_begins_its_log_anew(tmp_path, capsys):
    for _ in range(2):
        with Tracker(config(), tmp_path, start=0, metrics={}) as tracker:
            tracker.row(0, "sample", {"prompt": "def ", "text": "f():"})
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 1
    assert capsys.readouterr().err.count("[step 0] def |f():") == 2


def test_the_folder_of_a_run_is_an_artifact_when_the_run_ends_well(tmp_path, monkeypatch):
    done = []

    class Artifact:
        def __init__(self, name: str, type: str) -> None:
            self.files: list[str] = []

        def add_file(self, path: str) -> None:
            self.files.append(path)

        def add_dir(self, path: str, name: str) -> None:
            self.files.append(name + "/")

    run = SimpleNamespace(
        id="x",
        log=lambda figures, step: done.append((step, figures)),
        log_artifact=lambda artifact: done.append(artifact.files),
        finish=lambda exit_code: done.append(exit_code),
    )
    util = SimpleNamespace(generate_id=lambda: "x")
    wandb = SimpleNamespace(init=lambda **_: run, util=util, Artifact=Artifact)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    for name in ("checkpoints", "wandb"):
        (tmp_path / name).mkdir()
    asking = Recipe.model_validate(config().model_dump() | {"log": {"wandb": "kelp", "artifact": True}})
    with Tracker(asking, tmp_path, start=0, metrics={}) as tracker:
        tracker.row(3, "train", {"loss": 0.5})
        tracker.row(3, "sample", {"prompt": "a", "text": "b", "more": [1]})
    files = ["checkpoints/", str(tmp_path / "metrics.jsonl"), str(tmp_path / "wandb-id")]
    assert done == [(3, {"loss": 0.5}), (3, {"sample/prompt": "a", "sample/text": "b"}), files, 0]
    with pytest.raises(OSError), Tracker(asking, tmp_path, start=3, metrics={}):
        raise OSError
    assert done[4:] == [1]


def test_asking_for_wandb_without_it_installed_says_what_to_install(tmp_path, monkeypatch):
    real = builtins.__import__

    def without_wandb(name, *rest, **more):
        if name == "wandb":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without_wandb)
    asking = Recipe.model_validate(config().model_dump() | {"log": {"wandb": "kelp"}})
    with pytest.raises(ConfigError, match=r"pip install 'kelp-repair\[wandb\]'"):
        Tracker(asking, tmp_path, start=0, metrics={})
