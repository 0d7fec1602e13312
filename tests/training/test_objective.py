"""A second objective through the same loop; the other tests of training have the edit model's."""

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from tests.training.byte_model import ByteModel, ByteRecipe
from tests.training.fake import RUN, STEPS, FakeSource, config, edit_objective, rows

import kelp.training
from kelp.model.leaves import named_leaves
from kelp.training.checkpoint import Checkpoints
from kelp.training.config import parse_config
from kelp.training.export import export_run
from kelp.training.loop import train
from kelp.training.objective import row_keys

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "tests.training.fake", "--objective", "bytes"]
RECIPE = parse_config(RUN, ByteRecipe)


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    assert train(RECIPE, ByteModel(RECIPE), out=out).step == STEPS
    return out


def test_a_language_model_trains_through_the_same_loop(whole_run):
    training = [row for row in rows(whole_run) if row["kind"] == "train"]
    held_out = [row for row in rows(whole_run) if row["kind"] == "valid"]
    assert training[-1]["loss"] < training[0]["loss"] - 1 and training[0].keys() >= {"accuracy", "gradient_norm"}
    assert held_out[-1]["valid_loss"] < held_out[0]["valid_loss"] and "valid_accuracy" in held_out[0]


def test_killed_at_random_steps_a_language_model_resumes_bit_for_bit(whole_run, tmp_path, rng):
    for die_at in sorted(rng.sample(range(1, STEPS), 2)):
        killed = subprocess.run([*COMMAND, str(tmp_path), "--die-at", str(die_at)])
        assert killed.returncode == -signal.SIGKILL, die_at
    subprocess.run([*COMMAND, str(tmp_path)], check=True)
    assert rows(tmp_path) == rows(whole_run)


def test_eight_devices_give_a_language_model_the_losses_of_one(whole_run, tmp_path):
    flags = os.environ | {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"}
    options = ["--steps", "6", "--mesh", "2", "2", "2"]
    subprocess.run([*COMMAND, str(tmp_path / "8"), *options], env=flags, check=True)
    shorter = RECIPE.model_copy(update={"training": RECIPE.training.model_copy(update={"steps": 6})})
    train(shorter, ByteModel(shorter), out=tmp_path / "1")
    for ours, theirs in zip(rows(tmp_path / "8"), rows(tmp_path / "1"), strict=True):
        for key in ours.keys() - {"kind"}:
            assert ours[key] == pytest.approx(theirs[key], rel=2e-3, abs=1e-4), (ours["step"], key)


def test_a_language_model_is_exported_and_begins_another_run(whole_run, tmp_path):
    exported = export_run(whole_run, tmp_path / "model", lambda run, progress: ByteModel(RECIPE))
    model = named_leaves(ByteModel(RECIPE).load(tmp_path / "model"))
    saved = Checkpoints(whole_run / "checkpoints", read_only=True).restore_weights(exported)
    assert model.keys() == saved.keys() and all(np.array_equal(model[name], saved[name]) for name in saved)
    settings = RECIPE.training.model_copy(update={"init_from": tmp_path / "model", "steps": 1, "log_every": 1})
    train(RECIPE.model_copy(update={"training": settings}), ByteModel(RECIPE), out=tmp_path / "further")
    began, ended = rows(whole_run)[0]["loss"], [row for row in rows(whole_run) if row["kind"] == "train"][-1]["loss"]
    assert abs(rows(tmp_path / "further")[0]["loss"] - ended) < 0.5 * (began - ended)  # of another batch


def test_the_draws_of_a_row_depend_on_seed_step_and_row_alone():
    few, many = (jax.random.key_data(row_keys(jax.random.key(3), rows)) for rows in (2, 5))
    assert np.array_equal(few, many[:2]) and len(np.unique(many, axis=0)) == 5


def test_a_metric_without_anything_to_measure_is_no_metric(tmp_path):
    # The held-out batches mask no spans, nor do those of this recipe.
    outcome = train(config(steps=2, log_every=1), edit_objective(), out=tmp_path)
    assert "valid_loss" in outcome.metrics
    assert not [key for row in rows(tmp_path) for key in row if "span_masking" in key]


def test_masked_spans_have_a_loss_of_their_own(tmp_path):
    class Masked(FakeSource):
        def batch(self, step, part=None, **settings):
            batch = super().batch(step, **settings)
            return batch._replace(segments=np.where(batch.segments == 2, -1, batch.segments))

    outcome = train(config(steps=2), edit_objective(Masked()), out=tmp_path)
    assert outcome.metrics["valid_span_masking_loss"] > 0


def test_training_imports_no_model_and_no_data():
    found = set()
    for path in Path(kelp.training.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {name.name for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                found |= {f"{node.module}.{name.name}" for name in node.names}
    ours = {name.removeprefix("kelp.") for name in found if name.startswith("kelp.")}
    arrays = (
        "model.leaves.",
        "model.llama.input_axes",
        "model.low_rank.",
        "model.placement.",
        "model.recorded.",
        "model.transformer.partition_specs",
        "model.transformer.shardings",
    )
    allowed = ("training.", *arrays, "bucket.", "errors.", "extras.", "files.")
    assert ours and not {name for name in ours if not name.startswith(allowed)}


def test_training_names_nothing_of_the_edit_model():
    words = ("Denoiser", "denoiser", "infill", "span_masking", "site_kinds", "sites", "site_accuracy")
    for path in Path(kelp.training.__file__).parent.glob("*.py"):
        text = path.read_text()
        assert not [word for word in words if word in text], path
