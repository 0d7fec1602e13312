import builtins
import json

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


def test_asking_for_wandb_without_it_installed_says_what_to_install(tmp_path, monkeypatch):
    real = builtins.__import__

    def without_wandb(name, *rest, **more):
        if name == "wandb":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without_wandb)
    asking = Recipe.model_validate(config().model_dump() | {"log": {"wandb": "kelp"}})
    with pytest.raises(ConfigError, match=r"pip install 'kelp\[wandb\]'"):
        Tracker(asking, tmp_path, start=0, metrics={})
