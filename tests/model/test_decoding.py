"""Beam search in NumPy against the uncached pass in JAX."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kelp.model import decoding, inference
from kelp.model.config import DenoiserConfig, TransformerConfig
from kelp.model.denoiser import Denoiser
from kelp.model.leaves import named_leaves

pytestmark = pytest.mark.slow

SIZES = TransformerConfig(vocab_size=12, dim=32, layers=2, heads=4, kv_heads=2, mlp_dim=48, tie_embeddings=False)
CONFIG = DenoiserConfig(SIZES, site_kinds=4, pointer_dim=8)
EDIT, UNTIL, END = 1, 2, 3
PREFIX, LENGTH = jnp.array([[5, 6, 7, 8, 9, 10, 11, 4, 0, 0]]), 8
STARTS, ENDS, KINDS = jnp.array([1, 4, 2]), jnp.array([3, 5, 2]), jnp.array([2, 3, 3])

# Kind 2 may not be empty, kind 3 may; either writes only some tokens.
FIRST = jnp.zeros((4, 12), bool).at[2, 4:12].set(True).at[3, 4:9].set(True).at[3, END].set(True)
REST = jnp.zeros((4, 12), bool).at[2:, 4:10].set(True).at[2:, END].set(True)


@pytest.fixture(scope="module")
def denoiser():
    """With large weights, so that what it writes is far from uniform."""
    denoiser = eqx.filter_jit(Denoiser.init)(CONFIG, key=jax.random.key(7))
    return eqx.tree_at(lambda d: d.transformer.unembedding, denoiser, replace_fn=lambda e: 20 * e)


def decode(denoiser, first=FIRST, rest=REST, *, beams, max_tokens):
    weights = inference.Denoiser.of(CONFIG, named_leaves(denoiser))
    _, cache = weights.encode(PREFIX[0, :LENGTH].tolist(), np.array([[0, 0, 1]]))
    return decoding.decode(
        weights.transformer, cache, *(np.asarray(x) for x in (STARTS, ENDS, KINDS, first, rest)),
        edit=EDIT, until=UNTIL, end=END, beams=beams, max_tokens=max_tokens,
    )  # fmt: skip


@eqx.filter_jit
def _logits(denoiser, suffix, positions):
    """Logits of suffixes [B T] of the one prefix, by the uncached pass."""
    batch, length = len(suffix), PREFIX.shape[1]
    sites = jnp.zeros((batch, 1, 3), int).at[..., 2].set(1)
    prefix = jnp.tile(PREFIX, (batch, 1))
    tokens = jnp.concatenate([prefix, suffix], axis=1)
    positions = jnp.concatenate([jnp.tile(jnp.arange(length), (batch, 1)), positions], axis=1)
    segments = jnp.concatenate([(prefix != 0) * 1, (suffix != 0) * 2], axis=1)
    return denoiser(tokens, positions, segments, sites, jnp.tile(length + jnp.arange(suffix.shape[1]), (batch, 1)))[1]


def next_log_probs(denoiser, site, written, first=FIRST, rest=REST, room=8):
    """Log-probabilities of the token after `written`, unconstrained and constrained, by the uncached pass."""
    start, kind = int(STARTS[site]), int(KINDS[site])
    suffix = [EDIT, UNTIL, *written] + [0] * (room - len(written))
    positions = [start, int(ENDS[site]), *(start + i for i in range(room))]
    logits = _logits(denoiser, jnp.array([suffix]), jnp.array([positions]))[0, 1 + len(written)]
    allowed = (rest if written else first)[kind]
    return (
        np.asarray(jax.nn.log_softmax(logits)),
        np.asarray(jax.nn.log_softmax(jnp.where(allowed, logits, -jnp.inf))),
    )


def test_one_beam_writes_what_a_greedy_loop_without_a_cache_writes(denoiser):
    decoded = decode(denoiser, beams=1, max_tokens=6)
    lengths = set()
    for site in range(3):
        written, log_prob, model_log_prob = [], 0.0, 0.0
        while True:
            free, constrained = next_log_probs(denoiser, site, written)
            token = END if len(written) == 6 else int(constrained.argmax())
            log_prob, model_log_prob = log_prob + constrained[token], model_log_prob + free[token]
            if token == END:
                break
            written.append(token)
        assert decoded.tokens[site, 0].tolist() == written + [0] * (6 - len(written))
        assert decoded.lengths[site, 0] == len(written)
        np.testing.assert_allclose(decoded.log_probs[site, 0], log_prob, atol=1e-4)
        np.testing.assert_allclose(decoded.model_log_probs[site, 0], model_log_prob, atol=1e-4)
        lengths.add(len(written))
    assert len(lengths) > 1  # the example shows more than one way to end


def test_enough_beams_find_the_best_of_all_replacements(denoiser):
    T = 2
    decoded = decode(denoiser, beams=80, max_tokens=T)
    for site in range(3):
        kind = KINDS[site]
        step = {
            written: next_log_probs(denoiser, site, written)[1]
            for length in range(T + 1)
            for written in itertools.product(range(4, 12), repeat=length)
            if all((REST if i else FIRST)[kind, token] for i, token in enumerate(written))
        }
        log_prob = {
            written: sum(step[written[:i]][token] for i, token in enumerate((*written, END))) for written in step
        }
        expected = sorted((x for x in log_prob.values() if x > -np.inf), reverse=True)
        np.testing.assert_allclose(decoded.log_probs[site, : len(expected)], expected, atol=1e-4)
        assert (decoded.log_probs[site, len(expected) :] == -jnp.inf).all()
        best = max(log_prob, key=lambda written: log_prob[written])
        assert decoded.tokens[site, 0, : decoded.lengths[site, 0]].tolist() == list(best)


def test_replacements_are_allowed_distinct_and_sorted(denoiser):
    decoded = decode(denoiser, beams=6, max_tokens=5)
    for site in range(3):
        kind = KINDS[site]
        texts = []
        for beam in range(6):
            length = int(decoded.lengths[site, beam])
            text = decoded.tokens[site, beam, :length].tolist()
            for i, token in enumerate([*text, END]):
                assert (REST if i else FIRST)[kind, token]
            texts.append(tuple(text))
        assert len(set(texts)) == 6
        assert (np.diff(decoded.log_probs[site]) <= 0).all()


def test_log_probabilities_are_those_of_teacher_forcing(denoiser):
    decoded = decode(denoiser, beams=4, max_tokens=5)
    for site in range(3):
        T = 7
        suffix, targets = np.zeros((4, T), int), np.full((4, T), -1)
        positions = np.tile(int(STARTS[site]) + np.arange(-2, T - 2), (4, 1))
        positions[:, :2] = int(STARTS[site]), int(ENDS[site])
        for beam in range(4):
            text = decoded.tokens[site, beam, : decoded.lengths[site, beam]].tolist()
            suffix[beam, : 2 + len(text)] = [EDIT, UNTIL, *text]
            targets[beam, 1 : 2 + len(text)] = [*text, END]
        logits = _logits(denoiser, jnp.array(suffix), jnp.array(positions))
        each = np.take_along_axis(np.asarray(jax.nn.log_softmax(logits)), np.maximum(targets, 0)[..., None], -1)
        scores = np.where(targets >= 0, each[..., 0], 0.0).sum(axis=1)
        np.testing.assert_allclose(decoded.model_log_probs[site], scores, atol=1e-4)


def test_a_beam_that_cannot_end_is_worth_nothing(denoiser):
    decoded = decode(denoiser, rest=REST.at[2, END].set(False), beams=3, max_tokens=4)
    assert (decoded.log_probs[0] == -jnp.inf).all()
    assert (decoded.model_log_probs[0] == -jnp.inf).all()
    assert (decoded.tokens[0] == 0).all()
    assert (decoded.log_probs[1:] > -jnp.inf).all()


def test_where_only_the_end_is_allowed_the_replacement_is_empty_and_certain(denoiser):
    nothing = jnp.zeros_like(FIRST).at[:, END].set(True)
    decoded = decode(denoiser, first=nothing, beams=2, max_tokens=4)
    np.testing.assert_allclose(decoded.log_probs, [[0, -jnp.inf]] * 3, atol=1e-6)
    assert (decoded.lengths == 0).all()
    assert (decoded.model_log_probs[:, 0] < 0).all()
