"""scripts/accelerator: examples travel there, weights travel back, and the learning rate follows the clock."""

import importlib
import time
import tomllib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from kelp.data.examples.build import build
from kelp.data.examples.recipe import Recipe
from kelp.encoding.batch import Example, SpanText
from kelp.model.pretrained import load_model

ROOT = Path(__file__).parents[1]


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts" / "accelerator"))

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    return load


def test_examples_come_out_of_a_packed_file_as_they_went_in(script, tmp_path):
    travel = script("travel")
    examples = [
        Example([5, 4000], [(0, 0, 1), (1, 1, 30), (0, 1, 9)], [1, 2], (SpanText(1, 2, [8]), SpanText(0, 2, [9, 300]))),
        Example([6, 5], [(0, 0, 1)], [0]),
        Example([1] * 700, [(0, 0, 1), (650, 699, 4)], [1], (SpanText(650, 700, []),)),
    ]  # fmt: skip
    travel.save_examples(tmp_path / "some.xz", examples)
    for old, new in zip(examples, travel.load_examples(tmp_path / "some.xz"), strict=True):
        assert (new.tokens.tolist(), [*map(tuple, new.rows.tolist())]) == (old.tokens, old.rows)
        assert new.correct.tolist() == old.correct
        assert [(e.start, e.end, e.tokens.tolist()) for e in new.edits] == [(*e[:2], e.tokens) for e in old.edits]
    with pytest.raises(travel.TravelError, match="more than 15 bits"):
        travel.save_examples(tmp_path / "wide.xz", [Example([70_000], [(0, 0, 1)], [0])])


def test_weights_leave_in_pieces_that_are_joined_and_checked(script, tmp_path, monkeypatch):
    travel = script("travel")
    monkeypatch.setattr(travel, "PIECE_BYTES", 1000)
    weights = {"a.b": np.arange(900, dtype=np.uint16), "c": np.zeros((2, 3), np.uint16)}
    travel.save_pieces(tmp_path, {"a.b": weights["c"]}, {"step": 1})
    travel.save_pieces(tmp_path, weights, {"step": 2})  # takes the place of the first
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["piece-0.bin", "piece-1.bin", "piece-2.bin", "pieces.json"]
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())
    arrays, about = travel.load_pieces(tmp_path)
    assert about == {"step": 2} and arrays.keys() == weights.keys()
    assert all((arrays[name] == weights[name]).all() for name in weights)

    (tmp_path / "piece-1.bin").write_bytes(b"\0" * 1000)
    with pytest.raises(travel.TravelError, match=r"SHA-256 differs"):
        travel.load_pieces(tmp_path)
    (tmp_path / "piece-1.bin").unlink()
    with pytest.raises(travel.TravelError, match="lacks pieces"):
        travel.load_pieces(tmp_path)
    with pytest.raises(travel.TravelError, match="only 4 travel"):
        travel.save_pieces(tmp_path, {"a": np.zeros(3000, np.uint16)}, {})


def test_the_learning_rate_warms_up_by_steps_and_falls_with_the_time(script):
    share = script("trainer").rate_share
    assert share(0, 0.0, warmup=9, final=0.0) == pytest.approx(0.1)
    assert share(9, 0.0, warmup=9, final=0.0) == share(10**6, 0.0, warmup=9, final=0.0) == 1.0
    assert share(100, 0.5, warmup=9, final=0.2) == pytest.approx(0.6)
    assert share(100, 1.0, warmup=9, final=0.1) == share(100, 1.3, warmup=9, final=0.1) == pytest.approx(0.1)


@pytest.mark.slow
def test_a_recipe_is_packed_trained_and_joined(script, tmp_path):
    values = tomllib.loads((ROOT / "configs" / "tiny.toml").read_text())
    values["data"] |= {"folder": str(tmp_path / "data"), "examples": 40, "valid_examples": 8}
    values["model"] |= {"layers": 1}
    values["training"] |= {"tokens_per_batch": 1024}
    recipe = Recipe.model_validate(values)
    build(recipe.data, jobs=1)  # faster than to start processes
    script("pack").pack(recipe, tmp_path / "carried", megabytes=1.0)
    script("trainer").train(tmp_path / "carried", tmp_path / "out", began=time.monotonic(), seconds=0)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["piece-0.bin", "pieces.json"]
    assert "parameters after" in script("join").join(tmp_path / "out", tmp_path / "model")
    model, section = load_model(tmp_path / "model")
    assert model.cfg.transformer.layers == 1 and section["step"] >= 1 and section["metrics"]["valid_loss"] > 0
