from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kelp.model import attention, masks
from kelp.model.attention import KV, Cache, attend
from kelp.model.config import TransformerConfig
from kelp.model.transformer import Transformer

pytestmark = pytest.mark.slow

CONFIG = TransformerConfig(vocab_size=61, dim=32, layers=2, heads=4, kv_heads=2, mlp_dim=48)
LENGTHS = [5, 9, 2]  # of three sequences that are read in one batch


@pytest.fixture(scope="module")
def model():
    return Transformer.init(CONFIG, key=jax.random.key(0))


def texts(*lengths):
    rng = np.random.default_rng(0)
    return [rng.integers(1, CONFIG.vocab_size, length) for length in lengths]


def causal_states(model, tokens):
    """States of one sequence, each token seeing itself and those before it, without a cache."""
    tokens = jnp.asarray(tokens)[None]
    return model(tokens, jnp.arange(tokens.shape[1])[None], masks.causal(tokens != 0))[0]


def padded(rows):
    width = max(map(len, rows))
    return jnp.array([[*row, *[0] * (width - len(row))] for row in rows])


@eqx.filter_jit
def read(model, tokens, lengths, into):
    """Read the first `lengths` tokens of each row, behind those that `into` holds."""
    place = jnp.arange(tokens.shape[1])
    mask = masks.causal(place < lengths[:, None])
    return model.with_cache(tokens, into.lengths[:, None] + place, mask, lengths=lengths, into=into)


def test_rows_with_pasts_of_unequal_length_give_the_states_that_each_gives_alone(model):
    """Read in one batch: whole beginnings of unequal length, then two tokens at once, then one more."""
    whole = texts(*(length + 3 for length in LENGTHS))
    cache = Cache.empty(CONFIG, rows=3, slots=16)
    first, cache = read(model, padded([t[:n] for t, n in zip(whole, LENGTHS)]), jnp.array(LENGTHS), cache)
    assert cache.lengths.tolist() == LENGTHS
    second, cache = read(model, padded([t[n : n + 2] for t, n in zip(whole, LENGTHS)]), jnp.array([2] * 3), cache)
    third, cache = read(model, padded([t[-1:] for t in whole]), jnp.array([1] * 3), cache)
    assert cache.lengths.tolist() == [length + 3 for length in LENGTHS]
    for row, (tokens, n) in enumerate(zip(whole, LENGTHS)):
        got = jnp.concatenate([first[row, :n], second[row], third[row]])
        np.testing.assert_allclose(
            model.logits(got[None])[0], model.logits(causal_states(model, tokens)[None])[0], atol=1e-4
        )


def test_a_past_per_row_is_read_without_being_written(model):
    """As a sampler looks at a canvas that may change: `past` stays, and the cache that comes back is the canvas's."""
    whole = texts(*(length + 4 for length in LENGTHS))
    start = padded([t[:n] for t, n in zip(whole, LENGTHS)])
    _, past = read(model, start, jnp.array(LENGTHS), Cache.empty(CONFIG, rows=3, slots=start.shape[1]))
    canvas = padded([t[n:] for t, n in zip(whole, LENGTHS)])
    positions = jnp.array(LENGTHS)[:, None] + jnp.arange(4)
    states, own = model.with_cache(canvas, positions, masks.causal(canvas != 0), past=past)
    assert own.layers[0].keys.shape[1] == 4 and own.lengths.tolist() == [4, 4, 4]
    for row, (tokens, n) in enumerate(zip(whole, LENGTHS)):
        np.testing.assert_allclose(states[row], causal_states(model, tokens)[n:], atol=1e-4)


def random_attention(key, S, T, P):
    def draw(*shape):
        nonlocal key
        key, now = jax.random.split(key)
        return jax.random.normal(now, shape)

    q, own, past = (
        draw(2, S, 2, 3, 4),
        KV(draw(2, T, 2, 4), draw(2, T, 2, 4)),
        KV(draw(2, P, 2, 4), draw(2, P, 2, 4)),
    )
    return q, own, past, jax.random.bernoulli(key, 0.5, (2, S, P + T))


@pytest.mark.parametrize("queries", [12, 13])
def test_attention_by_chunks_of_queries_is_attention_and_so_are_its_gradients(monkeypatch, queries):
    arrays = random_attention(jax.random.key(1), queries, queries, 5)

    def value(q, own, past):
        return jnp.sin(attend(q, own, past, arrays[3], "float32")).sum()

    dense = jax.value_and_grad(value, argnums=(0, 1, 2))(*arrays[:3])
    monkeypatch.setattr(attention, "DENSE_SCORES", 10)
    monkeypatch.setattr(attention, "CHUNK", 4)
    chunked = jax.value_and_grad(value, argnums=(0, 1, 2))(*arrays[:3])
    for a, b in zip(jax.tree.leaves(dense), jax.tree.leaves(chunked), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.parametrize("gradient", [False, True])
def test_a_sequence_of_4096_tokens_never_has_all_of_its_scores_at_once(gradient):
    length, config = 4096, replace(CONFIG, heads=8, kv_heads=2, layers=1)

    def states(model, tokens):
        positions = jnp.broadcast_to(jnp.arange(length), tokens.shape)
        return model(tokens, positions, masks.causal(tokens != 0)).sum()

    model = jax.eval_shape(lambda key: Transformer.init(config, key=key), jax.random.key(0))
    tokens = jax.ShapeDtypeStruct((1, length), jnp.int32)
    compiled = jax.jit(jax.grad(states) if gradient else states).lower(model, tokens).compile()
    all_scores = length * length * config.heads * 4
    assert compiled.memory_analysis().temp_size_in_bytes < all_scores / 4
