from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kelp.model import denoiser as module
from kelp.model.config import DenoiserConfig, TransformerConfig
from kelp.model.denoiser import Denoiser

pytestmark = pytest.mark.slow

SIZES = TransformerConfig(vocab_size=40, dim=32, layers=2, heads=4, kv_heads=2, mlp_dim=48)
CONFIG = DenoiserConfig(SIZES, site_kinds=6, pointer_dim=16)
EDIT, UNTIL, END = 1, 2, 3

loss = eqx.filter_jit(module.loss)


class Batch(NamedTuple):
    tokens: jax.Array
    positions: jax.Array
    segments: jax.Array
    sites: jax.Array
    site_target: jax.Array
    suffix: jax.Array
    targets: jax.Array


@pytest.fixture(scope="module")
def denoiser():
    return eqx.filter_jit(Denoiser.init)(CONFIG, key=jax.random.key(0))


PREFIXES = jax.random.randint(jax.random.key(1), (3, 9), 4, SIZES.vocab_size).at[1, 6:].set(0)
EDITS = [[(2, (3, 5), [8, 9])], [(2, (2, 3), [])], []]  # of each program: segment, span, text


def make(suffixes):
    """Replace tokens 3..4 of the first program by [8, 9], delete token 2 of the second; stop at the third."""
    S, T = 20, 10
    tokens, positions, segments = (np.zeros((3, S), int) for _ in range(3))
    suffix, targets = np.zeros((3, T), int), np.full((3, T), -1)
    for i, row in enumerate(suffixes):
        prefix = [int(token) for token in PREFIXES[i] if token]
        written = []
        for segment, (start, end), text in row:
            at = [start, end, *range(start, start + len(text))]
            written += zip([EDIT, UNTIL, *text], at, [segment] * len(at), [-1, *text, END])
        whole = [*((token, at, 1, -1) for at, token in enumerate(prefix)), *written]
        tokens[i, : len(whole)], positions[i, : len(whole)], segments[i, : len(whole)] = list(zip(*whole))[:3]
        suffix[i, : len(written)] = range(len(prefix), len(whole))
        targets[i, : len(written)] = [t for *_, t in written]
    sites = [
        [[0, 0, 1], [3, 4, 2], [3, 3, 3], [0, 0, 0]],
        [[0, 0, 1], [2, 2, 4], [0, 0, 0], [0, 0, 0]],
        [[0, 0, 1], [5, 8, 5], [1, 1, 2], [2, 2, 2]],
    ]
    site_target = jnp.array([[0, 1, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0]], bool)
    arrays = (tokens, positions, segments, sites, site_target, suffix, targets)
    return Batch(*map(jnp.array, arrays))


@pytest.fixture(scope="module")
def batch():
    return make(EDITS)


@eqx.filter_jit
def forward(denoiser, batch):
    return denoiser(batch.tokens, batch.positions, batch.segments, batch.sites, batch.suffix)


def padded(batch):
    more = {"tokens": 7, "positions": 7, "segments": 7, "sites": 3, "site_target": 3, "suffix": 2, "targets": 2}

    def right(name, x):
        value = -1 if name == "targets" else 0
        return jnp.pad(x, ((0, 0), (0, more[name]), *((0, 0),) * (x.ndim - 2)), constant_values=value)

    return Batch(**{name: right(name, x) for name, x in batch._asdict().items()})


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
    """Edits and a masked place of one program, written in one pass, are as likely as each in a pass of its own."""
    hole, other = (-1, (6, 7), [9]), (3, (1, 1), [10, 11])
    alone = [make([[segment]] * 3) for segment in (hole, other)]
    both = make([[*row, hole] for row in EDITS])
    of_hole, of_other = (forward(denoiser, one)[1] for one in alone)
    for row, edits in enumerate(EDITS):
        together, plain = (np.asarray(forward(denoiser, x)[1][row]) for x in (both, batch))
        at = sum(2 + len(text) for _, _, text in edits)
        np.testing.assert_allclose(together[:at], plain[:at], atol=1e-5)
        np.testing.assert_allclose(together[at : at + 3], of_hole[row, :3], atol=1e-5)

    value, metrics = loss(denoiser, both)
    plain, plain_metrics = loss(denoiser, batch)
    log_probs = jax.nn.log_softmax(of_hole)
    infill = -np.mean([log_probs[:, 1, 9], log_probs[:, 2, END]])
    np.testing.assert_allclose(metrics["span_masking_loss"], infill, rtol=1e-4)
    np.testing.assert_allclose(value, plain + infill, rtol=1e-4)
    for name in ("site_loss", "replacement_loss", "replacement_accuracy", "replacement_exact"):
        np.testing.assert_allclose(metrics[name], plain_metrics[name], rtol=1e-4, err_msg=name)

    several = make([[*row, other] for row in EDITS])
    wanted, more = -np.asarray(jax.nn.log_softmax(of_other)), loss(denoiser, several)[1]["replacement_loss"]
    added = wanted[:, 1, 10].sum() + wanted[:, 2, 11].sum() + wanted[:, 3, END].sum()
    np.testing.assert_allclose(more, (4 * plain_metrics["replacement_loss"] + added) / 13, rtol=1e-4)


def test_an_edit_is_whole_where_all_of_its_tokens_are_right(denoiser, batch):
    """The likeliest tokens are taken as targets: for both edits in full, then for half of the second edit."""
    rows = [[(2, (3, 5), [8, 9]), (3, (1, 1), [10])]] * 3
    batch = make(rows)
    likeliest = forward(denoiser, batch)[1].argmax(-1)
    wanted = batch.targets >= 0
    all_right = batch._replace(targets=jnp.where(wanted, likeliest, -1))
    assert loss(denoiser, all_right)[1]["replacement_exact"] == 1
    half = all_right._replace(targets=all_right.targets.at[:, 5].add(1))
    assert loss(denoiser, half)[1]["replacement_exact"] == 0.5


def test_a_batch_of_stops_has_no_replacement_loss_and_finite_gradients(denoiser, batch):
    stops = batch._replace(
        site_target=jnp.zeros_like(batch.site_target).at[:, 0].set(True),
        targets=jnp.full_like(batch.targets, -1),
    )
    (_, metrics), grads = eqx.filter_jit(eqx.filter_value_and_grad(loss, has_aux=True))(denoiser, stops)
    assert metrics["replacement_loss"] == 0
    assert metrics["replacement_exact"] == 0
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


@pytest.mark.parametrize("compute_dtype", ["float32", "bfloat16"])
def test_a_few_steps_learn_a_batch_by_heart(batch, compute_dtype):
    config = DenoiserConfig.from_dict(CONFIG.to_dict() | {"compute_dtype": compute_dtype})
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


@pytest.mark.parametrize("attention", ["causal", "upper third bidirectional"])
def test_a_prefix_attends_as_it_is_configured(attention, batch):
    config = DenoiserConfig(SIZES, 6, 16, attention)
    model = eqx.filter_jit(Denoiser.init)(config, key=jax.random.key(0))
    assert model.cfg == config and DenoiserConfig.from_dict(config.to_dict()) == config
    changed = batch._replace(tokens=batch.tokens.at[0, 8].set(5))  # the last token of the first program's prefix
    early = jnp.array([[[0, 0, 1], [3, 4, 2], [3, 3, 3], [5, 7, 2]]] * 3)
    plain, other = (forward(model, each._replace(sites=early))[0] for each in (batch, changed))
    assert (np.abs(plain - other)[0].max() < 1e-5) == (attention == "causal")
