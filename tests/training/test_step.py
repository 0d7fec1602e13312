import subprocess
import sys
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.training.fake import FakeSource, config

from kelp.model.denoiser import Denoiser
from kelp.training.config import make_model_config
from kelp.training.step import (
    OptimizerConfig,
    init_state,
    make_optimizer,
    make_schedule,
    make_train_step,
    named_leaves,
    with_leaves,
)

SHAPE = make_model_config(config(), vocab_size=FakeSource.vocab_size, site_kinds=FakeSource.site_kinds)


def fresh(optimizer: OptimizerConfig, steps: int = 40):
    model = Denoiser.init(SHAPE, key=jax.random.key(0))
    return init_state(model, make_optimizer(optimizer, steps), optimizer)


@cache
def compiled(optimizer: OptimizerConfig):
    return jax.jit(make_train_step(optimizer, 40))


def run(optimizer: OptimizerConfig, count: int):
    state, step = fresh(optimizer), compiled(optimizer)
    losses = []
    for index in range(count):
        state, metrics = step(state, FakeSource().batch(index, seed=0, tokens_per_batch=128))
        losses.append(float(metrics["loss"]))
    return state, losses


def test_training_lowers_the_loss():
    _, losses = run(OptimizerConfig(learning_rate=0.01, warmup=2), 20)
    assert np.mean(losses[-4:]) < np.mean(losses[:4]) - 0.5


def test_weights_change_only_when_a_group_of_batches_is_full():
    optimizer = OptimizerConfig(accumulation=3)
    before, after, full = fresh(optimizer).model, run(optimizer, 2)[0].model, run(optimizer, 3)[0].model
    same = jax.tree.map(lambda a, b: bool((a == b).all()), before, after)
    changed = jax.tree.map(lambda a, b: bool((a != b).any()), before, full)
    assert all(jax.tree.leaves(same)) and any(jax.tree.leaves(changed))


def test_the_average_lags_behind_the_weights_and_is_what_gets_evaluated():
    state, _ = run(OptimizerConfig(learning_rate=0.01, average=0.9), 5)
    plain, _ = run(OptimizerConfig(learning_rate=0.01), 5)
    assert all(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a == b).all()), state.model, plain.model)))
    assert state.best_model is state.average and plain.best_model is plain.model
    assert any(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a != b).any()), state.average, state.model)))


def test_norms_embeddings_and_biases_are_not_decayed():
    # Without a gradient, decay alone moves a weight.
    optimizer = make_optimizer(OptimizerConfig(weight_decay=0.5, warmup=0), 10)
    model = jax.tree.map(jnp.ones_like, Denoiser.init(SHAPE, key=jax.random.key(0)))
    updates, _ = optimizer.update(jax.tree.map(jnp.zeros_like, model), optimizer.init(model), model)
    moved = {name for name, update in named_leaves(updates).items() if bool((update != 0).any())}
    assert moved == {
        name
        for name, leaf in named_leaves(model).items()
        if leaf.ndim > 1 and not any(word in name for word in ("norm", "embed", "kind"))
    }
    assert any("w" in name for name in moved) and any("norm" in name for name in named_leaves(model).keys() - moved)


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_the_rate_rises_to_the_peak_and_falls_to_zero_by_the_last_step(schedule):
    optimizer = OptimizerConfig(
        learning_rate=1.0, warmup=10, schedule=schedule, cooldown=0.2 * (schedule == "constant")
    )
    rate = make_schedule(optimizer, 100)
    assert 0 < rate(0) < 0.2 and rate(10) == 1.0 and rate(99) < 0.06 and rate(100) == 0
    assert schedule != "constant" or rate(79) == 1.0


def test_the_schedule_counts_updates_and_fits_short_runs():
    assert make_schedule(OptimizerConfig(learning_rate=1.0, warmup=5, accumulation=4), 40)(10) == 0
    assert make_schedule(OptimizerConfig(learning_rate=1.0, warmup=100), 3)(2) == 1.0


def test_named_leaves_put_a_tree_back_together():
    model = Denoiser.init(SHAPE, key=jax.random.key(0))
    again = with_leaves(jax.eval_shape(lambda: model), named_leaves(model))
    assert jax.tree.structure(again) == jax.tree.structure(model)
    assert all(a is b for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(model)))


def test_the_step_needs_nothing_but_jax_equinox_and_optax():
    code = (
        "import sys, kelp.training.step, kelp.training.sharding\n"
        "extra = {'orbax', 'grain', 'pydantic', 'rich', 'tree_sitter', 'wandb'} & set(sys.modules)\n"
        "assert not extra, extra"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
