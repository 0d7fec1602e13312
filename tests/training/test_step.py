import subprocess
import sys
from functools import cache

import jax
import numpy as np
import pytest
from tests.training.fake import FakeSource, edit_objective

from kelp.model.denoiser import Denoiser
from kelp.model.leaves import named_leaves
from kelp.training.optimizer import OptimizerConfig, Rates, learning_rate, make_optimizer
from kelp.training.step import TrainState, init_state, make_train_step

pytestmark = pytest.mark.slow

OBJECTIVE = edit_objective()


@cache
def model() -> Denoiser:
    return OBJECTIVE.init(jax.random.key(0))


def run(optimizer: OptimizerConfig, count: int) -> list[tuple[TrainState, float]]:
    """The state after each step, and the loss in it."""
    state = init_state(model(), make_optimizer(optimizer, 40, OBJECTIVE.no_decay), optimizer)
    step = jax.jit(make_train_step(OBJECTIVE, optimizer, 40, seed=0))
    source, steps = FakeSource(lengths=(8,)), []
    for index in range(count):
        state, metrics = step(state, source.batch(index, seed=0, tokens_per_batch=128))
        steps.append((state, float(metrics["loss"])))
    return steps


def same(a: Denoiser, b: Denoiser) -> bool:
    return all(bool((x == y).all()) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b)))


def test_training_lowers_the_loss_and_the_average_of_the_weights_is_what_gets_evaluated():
    steps = run(OptimizerConfig(learning_rate=0.01, warmup=2, ema_decay=0.9), 20)
    losses, last = [loss for _, loss in steps], steps[-1][0]
    assert np.mean(losses[-4:]) < np.mean(losses[:4]) - 0.5
    assert same(last.eval_model, last.ema) and not same(last.ema, last.model)
    named = [named_leaves(state.model)["transformer.norm.scale"] for state, _ in steps]
    average = named_leaves(last.ema)["transformer.norm.scale"]
    assert (average >= np.min(named, axis=0)).all() and (average <= np.max(named, axis=0)).all()


def test_muon_moves_the_blocks_matrices_by_orthogonal_steps_and_the_rest_the_way_adam_does():
    rate = 0.01
    plain = dict(learning_rate=rate, warmup=0, weight_decay=0.0, clip_norm=1e9)
    muon, adam = (
        named_leaves(run(OptimizerConfig(name=name, schedule="constant", **plain), 1)[0][0].model)
        for name in ("muon", "adamw")
    )
    for name, before in named_leaves(model()).items():
        step = np.asarray(muon[name] - before)
        if ".blocks." not in name or before.ndim == 1:
            assert (np.sign(step) == np.sign(adam[name] - before)).all() and abs(step).max() < 2 * rate, name
            continue
        matrix = step.reshape(-1, before.shape[-1]) if name.endswith("attention.out") else step.reshape(len(step), -1)
        sizes = np.linalg.svd(matrix, compute_uv=False) / (rate * 0.2 * np.sqrt(max(matrix.shape)))
        # What Newton-Schulz makes of singular values other than tiny ones: about 0.7 to 1.2.
        assert 0.6 < np.median(sizes) < 1.3 and sizes.max() < 1.4, name


def test_weights_change_only_when_a_group_of_batches_is_full():
    states = [state.model for state, _ in run(OptimizerConfig(accumulation=3), 4)]
    assert same(model(), states[0]) and same(model(), states[1])
    assert not same(model(), states[2]) and same(states[2], states[3])


def test_norms_embeddings_and_biases_are_not_decayed():
    # Without a gradient, decay alone moves a weight.
    optimizer = make_optimizer(OptimizerConfig(weight_decay=0.5, warmup=0), 10, OBJECTIVE.no_decay)
    ones, zeros = jax.tree.map(np.ones_like, model()), jax.tree.map(np.zeros_like, model())
    updates, _ = optimizer.update(zeros, optimizer.init(ones), ones)
    moved = {name for name, update in named_leaves(updates).items() if bool((update != 0).any())}
    assert moved == {
        name
        for name, leaf in named_leaves(model()).items()
        if leaf.ndim > 1 and not any(word in name for word in ("norm", "embed", "kind"))
    }
    assert any("w" in name for name in moved) and any("norm" in name for name in named_leaves(model()).keys() - moved)


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_the_rate_rises_to_the_peak_and_falls_to_zero_by_the_last_step(schedule):
    optimizer = OptimizerConfig(
        learning_rate=1.0, warmup=10, schedule=schedule, cooldown=0.2 * (schedule == "constant")
    )
    rate = learning_rate(optimizer, 100)
    assert 0 < rate(0) < 0.2 and rate(10) == 1.0 and rate(99) < 0.06 and rate(100) == 0
    assert schedule != "constant" or rate(79) == 1.0


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_the_rate_may_end_above_zero(schedule):
    optimizer = OptimizerConfig(
        learning_rate=2.0, schedule=schedule, cooldown=0.5 * (schedule == "constant"), final=0.1
    )
    rate = learning_rate(optimizer, 1000)
    assert rate(100) == pytest.approx(2.0) and rate(1000) == rate(2000) == pytest.approx(0.2)
    assert rate(550) == pytest.approx(1.1 if schedule != "constant" else 2 - 1.8 * 50 / 500)


def test_each_group_of_weights_has_its_own_rate():
    factors = {"hidden": 2.0, "head": 0.5, "embedding": 0.0, "vectors": 4.0}
    groups = {
        "transformer.embedding": "embedding",
        "transformer.norm.scale": "vectors",
        "transformer.blocks.0.mlp_norm.scale": "vectors",
        "transformer.blocks.0.mlp.up": "hidden",
        "transformer.blocks.0.attention.out": "hidden",
        "pointer.kind": "head",
    }
    ones = jax.tree.map(np.ones_like, model())
    moves = []
    for rates in (Rates(), Rates(**factors)):
        optimizer = make_optimizer(OptimizerConfig(rates=rates, warmup=0), 10, OBJECTIVE.no_decay)
        updates, _ = optimizer.update(ones, optimizer.init(ones), model())
        moves.append(named_leaves(updates))
    for weight, group in groups.items():
        np.testing.assert_allclose(moves[1][weight], factors[group] * moves[0][weight], rtol=1e-5)
        assert np.any(moves[0][weight])


def test_the_schedule_counts_updates_and_fits_short_runs():
    assert learning_rate(OptimizerConfig(learning_rate=1.0, warmup=5, accumulation=4), 40)(10) == 0
    assert learning_rate(OptimizerConfig(learning_rate=1.0, warmup=100), 3)(2) == 1.0


def test_the_step_needs_nothing_but_jax_equinox_and_optax():
    code = (
        "import sys, kelp.training.step, kelp.training.sharding\n"
        "extra = {'orbax', 'grain', 'pydantic', 'rich', 'tree_sitter', 'wandb'} & set(sys.modules)\n"
        "assert not extra, extra"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_weights_of_a_group_without_a_learning_rate_are_frozen_and_have_no_moments():
    optimizer = OptimizerConfig(rates=Rates(embedding=0.0, vectors=0.0), warmup=0, weight_decay=0.5, ema_decay=0.9)
    before = named_leaves(model())
    state = run(optimizer, 2)[-1][0]
    frozen = {name for name in before if name.endswith("embedding") or before[name].ndim < 2}
    assert frozen and {name for name, leaf in named_leaves(state.model).items() if same(leaf, before[name])} == frozen
    assert named_leaves(state.ema).keys() == before.keys() - frozen
    moments = {name for name in named_leaves(state.optimizer) if ".mu." in f".{name}"}
    assert moments and not any(name.endswith(tuple(frozen)) for name in moments)
    assert named_leaves(state.eval_model).keys() == before.keys()
