"""A language model through the training loop, as tests/training/test_objective.py has a model of bytes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from tests.lm.fake import (
    LENGTH,
    MASK,
    ROWS,
    SAMPLES,
    SIZE,
    STEPS,
    TOKENIZER,
    FakeSource,
    objective,
    recipe,
    write_tokenizer,
)

from kelp.lm.folder import load_lm
from kelp.lm.objective import LMObjective
from kelp.model.leaves import named_leaves
from kelp.training.checkpoint import Checkpoints
from kelp.training.config import ConfigError
from kelp.training.export import export_run
from kelp.training.loop import train
from kelp.training.objective import TrainingError
from kelp.training.part import Part

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "tests.lm.fake"]
CLOCK = ("seconds", "tokens_per_second")


def rows(out: Path, kind: str | None = None) -> list[dict[str, float]]:
    """metrics.jsonl without what the clock wrote."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in CLOCK} for row in lines if kind in (None, row["kind"])]


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    settings = recipe(ar_share=0.3, samples=SAMPLES)
    assert train(settings, objective(settings), out=out).step == STEPS
    return out


def test_a_language_model_learns(whole_run):
    training, held_out = rows(whole_run, "train"), rows(whole_run, "valid")
    for name in ("loss", "ar_loss"):
        assert training[-1][name] < training[0][name] - 0.3
    assert held_out[-1]["valid_bits_per_byte"] < held_out[0]["valid_bits_per_byte"] < 2 * np.log2(SIZE)
    assert training[-1].keys() >= {"tokens", "accuracy", "loss_0_25", "loss_75_100", "gradient_norm"}
    goal = objective()
    assert training[-1]["tokens"] == sum(goal.weight(goal.batch(step)) for step in range(STEPS))


def test_samples_and_figures_of_the_data_are_logged_as_training_goes(whole_run):
    samples = rows(whole_run, "sample")
    assert [(row["step"], row["prompt"]) for row in samples] == [(12, "d"), (12, "e"), (24, "d"), (24, "e")]
    written = {word for row in samples for word in row["text"].split()}
    assert written and not written - set("abcdefghi")
    assert rows(whole_run, "source") == [{"step": 0, "kind": "source", "origin": "letters"}]
    assert [row["step"] for row in rows(whole_run, "data")] == [row["step"] for row in rows(whole_run, "train")]
    assert rows(whole_run, "data")[0]["padding"] == 0.5


def test_a_prompt_that_does_not_fit_into_a_row_is_one_sentence():
    with pytest.raises(
        ConfigError, match=r"the prompt 'd' and length = 15 in \[lm.samples\] take 17 tokens, and a row"
    ):
        objective(recipe(samples=SAMPLES | {"length": 15}))


def test_killed_at_random_steps_it_resumes_bit_for_bit(whole_run, tmp_path, rng):
    die_at = rng.randrange(5, STEPS)
    killed = subprocess.run([*COMMAND, str(tmp_path), "--die-at", str(die_at)])
    assert killed.returncode == -signal.SIGKILL, die_at
    subprocess.run([*COMMAND, str(tmp_path)], check=True)
    assert rows(tmp_path) == rows(whole_run)


def test_eight_devices_give_the_losses_of_one(whole_run, tmp_path):
    flags = os.environ | {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"}
    subprocess.run([*COMMAND, str(tmp_path), "--steps", "9", "--mesh", "2", "2", "2"], env=flags, check=True)
    for ours, theirs in zip(rows(tmp_path, "train"), rows(whole_run, "train")[:3], strict=True):
        for key in ours.keys() - {"kind"}:
            assert ours[key] == pytest.approx(theirs[key], rel=2e-3, abs=1e-4), (ours["step"], key)


@pytest.mark.parametrize("lm", [{"block": 1}, {"block": 0, "weight": "flat", "shift": False}])
def test_every_order_of_prediction_trains(lm, tmp_path):
    settings = recipe({"steps": 12, "eval_every": 12}, **lm)
    train(settings, objective(settings), out=tmp_path)
    training = rows(tmp_path, "train")
    assert training[-1]["loss"] < training[0]["loss"] and not any("ar_loss" in row for row in training)


def test_an_exported_run_is_a_model_folder_and_begins_another_run(whole_run, tmp_path):
    assert (whole_run / "tokenizer.json").read_bytes() == TOKENIZER.read_bytes()
    step = export_run(whole_run, tmp_path / "model", LMObjective.revive)
    model, cfg = load_lm(tmp_path / "model")
    saved = Checkpoints(whole_run / "checkpoints", read_only=True).restore_weights(step)
    assert all(np.array_equal(leaf, saved[name]) for name, leaf in named_leaves(model).items())
    assert (cfg.block, cfg.mask, model.cfg.vocab_size) == (4, MASK, SIZE)
    keys = json.loads((tmp_path / "model/config.json").read_text())
    assert keys["max_position_embeddings"] == LENGTH and keys["diffusion"]["origin"]["step"] == step
    assert {"tokens", "run"} <= keys["diffusion"]["origin"].keys()

    # Sizes that the recipe leaves out are those of the model to begin with, here as an autoregressive one.
    begun = recipe({"init_from": str(tmp_path / "model")}, block=1).model_dump() | {"model": {}}
    goal = objective(type(recipe()).model_validate(begun))
    assert goal.sizes == model.cfg and goal.cfg.block == 1
    assert named_leaves(goal.load(tmp_path / "model")).keys() == saved.keys()
    export_run(whole_run, tmp_path / "mean", LMObjective.revive, merge=tmp_path / "model", share=1.0)
    assert np.array_equal(load_lm(tmp_path / "mean")[0].embedding, model.embedding)

    with pytest.raises(TrainingError, match="has layers = 1 and this run 2: give both the same sizes"):
        larger = recipe().model_dump() | {"model": recipe().model.model_dump() | {"layers": 2}}
        objective(type(recipe()).model_validate(larger)).load(tmp_path / "model")
    other = write_tokenizer(tmp_path / "other.json", *"abcdefghj")
    with pytest.raises(TrainingError, match=r"other.json is another tokenizer than that of .*model: give that one"):
        objective(tokenizer=other).load(tmp_path / "model")
    large = write_tokenizer(tmp_path / "large.json", *"abcdefghij")
    with pytest.raises(ConfigError, match="has 13 tokens and the model 12: give another tokenizer"):
        objective(type(goal.recipe).model_validate(begun | {"model": {"vocab_size": 12}}), tokenizer=large)


def test_the_share_of_the_autoregressive_loss_goes_in_a_line_from_start_to_end():
    goal = objective(recipe({"steps": 5}, ar_share=1.0, ar_share_end=0.2))
    shares = [goal.batch(step)[1].ar_share for step in range(5)]
    np.testing.assert_allclose([share[0] for share in shares], [1.0, 0.8, 0.6, 0.4, 0.2], rtol=1e-6)
    assert shares[0].shape == (ROWS,) and next(iter(goal.valid_batches()))[1].ar_share[0] == np.float32(0.2)
    assert objective(recipe(ar_share=0.5)).batch(3)[1].ar_share[0] == 0.5
    assert objective().batch(0)[1] == (None, None)


def test_rows_that_only_fill_a_batch_add_nothing():
    goal, key = objective(), jax.random.key(0)
    batch = goal.batch(0)
    filled = goal.batch(0, Part((0, 1, 2, 3), 4))  # five rows, and three to fill four equal parts
    assert len(filled[0].tokens) == len(batch[0].tokens) + 3
    model = goal.init(key)
    (one, metrics), (other, others) = (jax.jit(goal.loss)(model, b, key) for b in (batch, filled))
    assert float(one) == pytest.approx(float(other), rel=1e-5)
    assert {k: float(v) for k, v in metrics.items()} == pytest.approx(
        {k: float(v) for k, v in others.items()}, rel=1e-5, nan_ok=True
    )
    assert goal.weight(batch) == goal.weight(filled) and goal.weight(goal.batch(0, Part((3,), 4))) == 0


def test_special_tokens_are_found_by_name(tmp_path):
    assert objective().cfg.to_dict() | {"mask": 1, "end": 0, "pad": 2} == objective().cfg.to_dict()
    assert objective(recipe(data={"mask": "a", "pad": "<|endoftext|>"})).cfg.mask == 3
    with pytest.raises(ConfigError, match=r"mask = '<m>' in \[data\] is no token of .*tokenizer.json\.$"):
        objective(recipe(data={"mask": "<m>"}))
    (tmp_path / "t.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"t.json is no tokenizer.json: "):
        LMObjective.of(recipe(), FakeSource(tokenizer=tmp_path / "t.json"))
