import math
import os
import subprocess
import sys

import jax
import pytest
from tests.training.fake import FakeSource, config, edit_objective, rows

from kelp.training.loop import plan_state
from kelp.training.part import Part
from kelp.training.sharding import make_mesh

pytestmark = pytest.mark.slow

MESHES = [(1, 1, 1), (2, 2, 2)]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_eight_devices_give_the_losses_of_one(tmp_path, optimizer):
    runs = []
    for mesh in MESHES:
        count = f"--xla_force_host_platform_device_count={math.prod(mesh)}"
        flags = os.environ | {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {count}"}
        out = tmp_path / "x".join(map(str, mesh))
        options = ["--steps", "12", "--lengths", "16", "--optimizer", optimizer, "--mesh", *map(str, mesh)]
        subprocess.run([sys.executable, "-m", "tests.training.fake", str(out), *options], env=flags, check=True)
        runs.append(rows(out))
    for other in runs[1:]:
        assert len(other) == len(runs[0])
        for ours, theirs in zip(other, runs[0], strict=True):
            assert ours.keys() == theirs.keys() and ours["step"] == theirs["step"]
            for key in ours.keys() - {"kind"}:
                assert ours[key] == pytest.approx(theirs[key], rel=2e-3, abs=1e-4), (ours["step"], key)


def test_padding_adds_examples_with_nothing_to_learn():
    source = FakeSource()
    batch, padded = (source.batch(0, part, seed=0, tokens_per_batch=128) for part in (Part(), Part(tuple(range(8)), 8)))
    size = len(batch.tokens)
    assert size % 8 and len(padded.tokens) % 8 == 0
    goal, key = edit_objective(source), jax.random.key(0)
    model = goal.init(key)
    one, other = (jax.jit(goal.loss)(model, each, key)[0] for each in (batch, padded))
    assert float(one) == pytest.approx(float(other), rel=1e-5) and goal.weight(batch) == goal.weight(padded) == size


def test_a_mesh_takes_all_devices_or_says_that_it_does_not():
    assert make_mesh().shape == {"data": 1, "fsdp": 1, "tensor": 1}
    for mesh in ({"fsdp": 2, "tensor": 2}, {"data": 4}):
        with pytest.raises(ValueError, match="takes 4 devices, and there are 1"):
            make_mesh(**mesh)


def test_moments_and_gradients_are_in_float32_where_products_are_in_bfloat16():
    settings = config(dtype="bfloat16")
    _, state = plan_state(settings, edit_objective(recipe=settings), make_mesh())
    assert {leaf.dtype.name for leaf in jax.tree.leaves(state)} == {"float32", "int32"}
    model = state.model
    batch = FakeSource().batch(0, seed=0, tokens_per_batch=128)
    loss = edit_objective(recipe=settings).loss
    gradients = jax.eval_shape(jax.grad(lambda m: loss(m, batch, jax.random.key(0))[0]), model)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(gradients)} == {"float32"}
