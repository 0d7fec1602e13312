"""The bound against models small enough to enumerate."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.lm.toy import END, toy_config, toy_model

from kelp.lm.config import DiffusionConfig
from kelp.lm.layout import Layout, attends
from kelp.lm.likelihood import Interval, Likelihood, draw_nats, draw_weights, text_likelihood

slow = pytest.mark.slow
MODEL = toy_model(vocab=4, scale=60)  # end-of-text and padding 0, two words, the mask 3
DOCUMENT = [1, 2, 2, 1]
CONFIGS = {
    "one block": {"block": 0},
    "one block, same position": {"block": 0, "shift": False},
    "blocks": {"block": 2},
    "blocks, same position": {"block": 2, "shift": False, "clean": "block"},
    "a last block that is not full": {"block": 3},
    "autoregressive": {"block": 1},
}


def small(**changes):
    return DiffusionConfig(**{"mask": 3, "end": 0, "pad": 0, **changes})


@jax.jit
def forward(tokens, position, mask):
    return jax.nn.log_softmax(MODEL.logits(MODEL(tokens[None], position[None], mask))[0])


def log_prob(cfg, document, start, stop, masked, i):
    """log p of token i (from position 1), given those before `start` and those of [start, stop) that are not masked."""
    width = 8
    row = [END, *document]
    tokens = [*row[:start], *(cfg.mask if j in masked else row[j] for j in range(start, stop))]
    position, tokens = np.arange(width), np.pad(tokens, (0, width - len(tokens)))
    layout = Layout.of(*(jnp.array(x)[None] for x in (position < stop, position, position >= start)), cfg.block)
    y = forward(tokens, position, attends(layout, layout, cfg))
    return float(y[i - 1 if cfg.shift else i, row[i]])


def enumerate_orders(cfg, document):
    """(-log p, its bound): over every order of every block, the log of the mean and the mean of the log."""
    exact = bound = 0.0
    size = cfg.block or len(document)
    for start in range(1, len(document) + 1, size):
        stop = min(start + size, len(document) + 1)
        totals, known = [], {}
        for order in itertools.permutations(range(start, stop)):
            total = 0.0
            for n, i in enumerate(order):
                masked = frozenset(order[n:])
                if (masked, i) not in known:
                    known[masked, i] = log_prob(cfg, document, start, stop, masked, i)
                total += known[masked, i]
            totals.append(total)
        exact -= np.logaddexp.reduce(totals) - math.log(len(totals))
        bound -= np.mean(totals)
    return exact, bound


@slow
@pytest.mark.parametrize("name", CONFIGS)
def test_the_interval_holds_the_enumerated_bound_which_is_above_the_exact_likelihood(name):
    cfg = small(**CONFIGS[name])
    exact, bound = enumerate_orders(cfg, DOCUMENT)
    draws = draw_nats(MODEL, cfg, [DOCUMENT], samples=512, seed=1)[0]
    if cfg.block == 1:
        assert draws.shape == (1,)
        np.testing.assert_allclose([draws[0], bound], exact, rtol=1e-5)
    else:
        assert exact < bound - 1e-3
        assert abs(draws.mean() - bound) < 4 * draws.std() / math.sqrt(512)
        assert draws.std() / math.sqrt(512) < 0.05 * bound


@slow
def test_the_exact_likelihoods_of_all_texts_of_a_length_sum_to_one():
    cfg = small(block=2)
    total = sum(math.exp(-enumerate_orders(cfg, text)[0]) for text in itertools.product(range(4), repeat=3))
    assert total == pytest.approx(1, abs=1e-4)


@slow
def test_blocks_of_one_token_give_the_likelihood_of_the_autoregressive_model():
    model, cfg = toy_model(), toy_config(block=1)
    documents = [[3, 4, 5, END], [7], list(range(2, 12)) * 4]
    nats = draw_nats(model, cfg, documents)
    for document, (own,) in zip(documents, nats):
        tokens, n = jnp.array([[END, *document]]), len(document) + 1
        y = model.logits(model(tokens, jnp.arange(n)[None], jnp.tril(jnp.ones((1, n, n), bool))))
        log_probs = jax.nn.log_softmax(y)[0, jnp.arange(n - 1), tokens[0, 1:]]
        assert own == pytest.approx(-float(log_probs.sum()), rel=1e-5)


@pytest.mark.parametrize(("length", "block"), [(7, 0), (7, 3), (8, 4), (5, 1), (3, 8)])
def test_every_block_has_each_number_of_masks_as_often(length, block):
    size = block or length
    weights = draw_weights(np.random.default_rng(0), length, block, 4 * math.lcm(*range(1, 9)))
    assert weights.shape[1] == length
    for start in range(0, length, size):
        part = weights[:, start : start + size]
        n = part.shape[1]
        count = (part > 0).sum(axis=1)
        np.testing.assert_array_equal(np.bincount(count, minlength=n + 1)[1:], len(part) // n)
        np.testing.assert_allclose(part.sum(axis=1), n)
        np.testing.assert_allclose(part.mean(axis=0), 1, atol=0.1)


def test_the_blocks_of_a_document_draw_their_masks_apart():
    count = (draw_weights(np.random.default_rng(0), 16, 8, 4000) > 0).reshape(-1, 2, 8).sum(axis=2)
    assert abs(np.corrcoef(count.T)[0, 1]) < 0.06


@slow
def test_a_document_has_the_same_draws_whatever_stands_beside_it():
    model, cfg = toy_model(), toy_config()
    first, others = [3, 4, 5, 6, 7, END], [[2] * 90, [5, 5]]
    alone, beside = (draw_nats(model, cfg, [first, *rest], samples=3)[0] for rest in ([], others))
    np.testing.assert_allclose(alone, beside, rtol=1e-5)


@slow
def test_texts_are_measured_in_bits_per_byte_with_their_end():
    model, cfg = toy_model(), toy_config(block=1)
    texts = ["abc", "é", "hgfedc" * 4]

    def encode(text):
        return [2 + byte % 9 for byte in text.encode()]

    got = text_likelihood(model, cfg, texts, encode, length=10)
    windows = [[*encode("abc"), END], [*encode("é"), END]]
    long = [*encode(texts[2]), END]
    windows += [long[:10], long[10:20], long[20:]]
    nats = draw_nats(model, cfg, windows)[:, 0]
    np.testing.assert_allclose(got.nats, [nats[0], nats[1], nats[2:].sum()])
    assert got.sizes.tolist() == [3, 2, 24]
    mean, low, high = got.bits_per_byte
    assert low == mean == high == pytest.approx(nats.sum() / math.log(2) / 29)


def test_intervals_are_those_of_a_sum_and_of_a_ratio():
    nats, sizes = np.array([10.0, 22.0, 28.0]) * math.log(2), np.array([10, 20, 30])
    got = Likelihood(nats, np.array([3.0, 0.0, 4.0]) * math.log(2), sizes)
    assert got.bits_per_byte == pytest.approx(Interval.of(1.0, 5 / 60))
    assert got.over_documents == pytest.approx(Interval.of(1.0, math.sqrt(3 / 2 * 8) / 60))
    assert str(Interval(1.0, 0.5, 1.5)) == "1.0000 [0.5000, 1.5000]"


@pytest.mark.parametrize(
    ("documents", "samples", "message"), [([[3]], 0, "at least 1, got 0"), ([[3], []], 2, "must have a token")]
)
def test_bad_input_is_refused(documents, samples, message):
    with pytest.raises(ValueError, match=message):
        draw_nats(toy_model(), toy_config(), documents, samples=samples)


def test_tokens_that_are_known_are_never_masked_and_add_nothing():
    weights = draw_weights(np.random.default_rng(0), 10, 4, 64, known=6)
    assert not weights[:, :6].any()
    np.testing.assert_allclose(weights[:, 6:8].sum(axis=1), 2)  # n / k for k of the n unknown tokens of a block
    np.testing.assert_allclose(weights[:, 8:].sum(axis=1), 2)
    model, cfg, document = toy_model(), toy_config(block=1), [2, 3, 4, 5, 6]
    parts = ((document, 0), (document[:2], 0), (document, 2))
    whole, first, rest = (draw_nats(model, cfg, [tokens], known=[known])[0, 0] for tokens, known in parts)
    assert whole == pytest.approx(first + rest, abs=1e-5)


def test_the_interval_of_a_share_is_wilsons():
    assert Interval.of_share(0, 10) == pytest.approx((0, 0, 0.2775), abs=1e-4)  # z^2 / (n + z^2)
    assert Interval.of_share(8, 10) == pytest.approx((0.8, 0.4902, 0.9433), abs=1e-4)
