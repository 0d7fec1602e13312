from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kelp.model import denoiser as module
from kelp.model.denoiser import Denoiser
from kelp.model.transformer import ModelConfig

CONFIG = ModelConfig(vocab_size=40, dim=32, layers=2, heads=4, kv_heads=2, mlp_dim=48, site_kinds=6, pointer_dim=16)
EDIT, UNTIL, END = 1, 2, 3

loss = eqx.filter_jit(module.loss)
encode = eqx.filter_jit(Denoiser.encode)


class Batch(NamedTuple):
    prefix: jax.Array
    sites: jax.Array
    site_target: jax.Array
    suffix: jax.Array
    suffix_positions: jax.Array
    suffix_targets: jax.Array
    suffix_segments: jax.Array


@pytest.fixture(scope="module")
def denoiser():
    return eqx.filter_jit(Denoiser.init)(CONFIG, key=jax.random.key(0))


@pytest.fixture(scope="module")
def batch():
    """Replace tokens 3..4 of the first program by [8, 9], delete token 2 of the second; stop at the third."""
    prefix = jax.random.randint(jax.random.key(1), (3, 9), 4, CONFIG.vocab_size).at[1, 6:].set(0)
    return Batch(
        prefix=prefix,
        sites=jnp.array(
            [
                [[0, 0, 1], [3, 4, 2], [3, 3, 3], [0, 0, 0]],
                [[0, 0, 1], [2, 2, 4], [0, 0, 0], [0, 0, 0]],
                [[0, 0, 1], [5, 8, 5], [1, 1, 2], [2, 2, 2]],
            ]
        ),
        site_target=jnp.array([[0, 1, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0]], bool),
        suffix=jnp.array([[EDIT, UNTIL, 8, 9, 0], [EDIT, UNTIL, 0, 0, 0], [EDIT, UNTIL, 0, 0, 0]]),
        suffix_positions=jnp.array([[3, 5, 3, 4, 0], [2, 3, 0, 0, 0], [0, 1, 0, 0, 0]]),
        suffix_targets=jnp.array([[-1, 8, 9, END, -1], [-1, END, -1, -1, -1], [-1, -1, -1, -1, -1]]),
        suffix_segments=jnp.array([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0], [1, 1, 0, 0, 0]]),
    )


@eqx.filter_jit
def forward(denoiser, batch):
    return denoiser(batch.prefix, batch.sites, batch.suffix, batch.suffix_positions, batch.suffix_segments)


def test_encoding_alone_gives_the_same_sites_as_the_pass_over_prefix_and_suffix(denoiser, batch):
    hidden, _ = encode(denoiser, batch.prefix)
    together, _ = forward(denoiser, batch)
    np.testing.assert_allclose(denoiser.site_log_probs(hidden, batch.sites), together, atol=1e-4)


def padded(batch):
    def right(x, amount, value=0):
        return jnp.pad(x, ((0, 0), (0, amount), *((0, 0),) * (x.ndim - 2)), constant_values=value)

    return Batch(
        prefix=right(batch.prefix, 7),
        sites=right(batch.sites, 3),
        site_target=right(batch.site_target, 3),
        suffix=right(batch.suffix, 2),
        suffix_positions=right(batch.suffix_positions, 2),
        suffix_targets=right(batch.suffix_targets, 2, -1),
        suffix_segments=right(batch.suffix_segments, 2),
    )


def test_padding_changes_nothing(denoiser, batch):
    (plain, metrics), (more, more_metrics) = loss(denoiser, batch), loss(denoiser, padded(batch))
    np.testing.assert_allclose(plain, more, atol=1e-5)
    for name, value in metrics.items():
        np.testing.assert_allclose(value, more_metrics[name], atol=1e-5, err_msg=name)
    sites, logits = forward(denoiser, batch)
    more_sites, more_logits = forward(denoiser, padded(batch))
    np.testing.assert_allclose(more_sites[:, :4], sites, atol=1e-5)
    np.testing.assert_allclose(more_logits[0, :4], logits[0, :4], atol=1e-5)


def test_the_loss_adds_the_mean_over_examples_to_the_mean_over_tokens(denoiser, batch):
    value, metrics = loss(denoiser, batch)
    sites, logits = forward(denoiser, batch)
    p, q = np.exp(sites), np.asarray(jax.nn.log_softmax(logits))
    where = -np.log([p[0, 1] + p[0, 2], p[1, 1], p[2, 0]]).mean()
    what = -np.mean([q[0, 1, 8], q[0, 2, 9], q[0, 3, END], q[1, 1, END]])
    np.testing.assert_allclose(metrics["site_loss"], where, rtol=1e-4)
    np.testing.assert_allclose(metrics["replacement_loss"], what, rtol=1e-4)
    np.testing.assert_allclose(value, where + what, rtol=1e-4)


def test_segments_of_a_suffix_do_not_see_each_other(denoiser, batch):
    """An edit and a masked place of one program, written in one pass, are as likely as in a pass of their own."""
    both = batch._replace(
        suffix=jnp.concatenate([batch.suffix[:, :4], jnp.full((3, 3), EDIT).at[:, 1].set(UNTIL).at[:, 2].set(9)], 1),
        suffix_positions=jnp.concatenate([batch.suffix_positions[:, :4], jnp.full((3, 3), 6).at[:, 1].set(7)], 1),
        suffix_targets=jnp.concatenate([batch.suffix_targets[:, :4], jnp.array([[-1, 9, END]] * 3)], 1),
        suffix_segments=jnp.concatenate([batch.suffix_segments[:, :4], jnp.full((3, 3), 2)], 1),
    )
    hole = batch._replace(
        **{f: getattr(both, f)[:, 4:] for f in ("suffix", "suffix_positions", "suffix_targets", "suffix_segments")}
    )
    logits = forward(denoiser, both)[1]
    written = np.asarray(batch.suffix_segments[:, :4]) > 0
    np.testing.assert_allclose(logits[:, :4][written], forward(denoiser, batch)[1][:, :4][written], atol=1e-5)
    np.testing.assert_allclose(logits[:, 4:], forward(denoiser, hole)[1], atol=1e-5)

    value, metrics = loss(denoiser, both)
    plain, plain_metrics = loss(denoiser, batch)
    log_probs = jax.nn.log_softmax(forward(denoiser, hole)[1])
    infill = -np.mean([log_probs[:, 1, 9], log_probs[:, 2, END]])
    np.testing.assert_allclose(metrics["infill_loss"], infill, rtol=1e-4)
    np.testing.assert_allclose(value, plain + infill, rtol=1e-4)
    for name in ("site_loss", "replacement_loss", "replacement_accuracy", "replacement_exact"):
        np.testing.assert_allclose(metrics[name], plain_metrics[name], rtol=1e-4, err_msg=name)


def test_a_batch_of_stops_has_no_replacement_loss_and_finite_gradients(denoiser, batch):
    stops = batch._replace(
        site_target=jnp.zeros_like(batch.site_target).at[:, 0].set(True),
        suffix_targets=jnp.full_like(batch.suffix_targets, -1),
    )
    (_, metrics), grads = eqx.filter_jit(eqx.filter_value_and_grad(loss, has_aux=True))(denoiser, stops)
    assert metrics["replacement_loss"] == 0
    assert metrics["replacement_exact"] == 0
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


@pytest.mark.parametrize("compute_dtype", ["float32", "bfloat16"])
def test_a_few_steps_learn_a_batch_by_heart(batch, compute_dtype):
    config = ModelConfig.from_dict(CONFIG.to_dict() | {"compute_dtype": compute_dtype})
    denoiser = eqx.filter_jit(Denoiser.init)(config, key=jax.random.key(0))

    @eqx.filter_jit
    def step(denoiser):
        (_, metrics), grads = eqx.filter_value_and_grad(loss, has_aux=True)(denoiser, batch)
        size = jnp.sqrt(sum((g**2).sum() for g in jax.tree.leaves(grads)))
        return jax.tree.map(lambda w, g: w - 0.3 * g / (1 + size), denoiser, grads), metrics

    for _ in range(80):
        denoiser, metrics = step(denoiser)
    assert metrics["loss"] < 0.5
    for name in ("site_accuracy", "replacement_accuracy", "replacement_exact"):
        assert metrics[name] == 1, name
