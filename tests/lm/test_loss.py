"""The loss against references of a few lines: one block at a time, each read by the model on its own."""

import math
import os
import subprocess
import sys
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.lm.fake import END, FIRST, MASK, SIZE, FakeSource, config, objective, pack, recipe

from kelp.lm.batch import LMBatch
from kelp.lm.loss import METRICS, Schedule, draw, loss, masked_loss, states
from kelp.lm.noise import Noise
from kelp.model import masks
from kelp.model.config import TransformerConfig
from kelp.model.leaves import named_leaves
from kelp.model.transformer import Transformer
from kelp.training.optimizer import OptimizerConfig, make_optimizer
from kelp.training.step import init_state, make_train_step

pytestmark = pytest.mark.slow

SIZES = TransformerConfig(vocab_size=SIZE, dim=16, layers=2, heads=2, kv_heads=1, mlp_dim=32)
LONGEST = 8  # tokens of a document
BATCH = pack([[3, 4, 5, 6, 7, 8, END], [9, 10, END]], [[5, 3, END]], length=13)
RNG = np.random.default_rng(0)
NOISE = Noise(
    (BATCH.position > 0) & (RNG.random(BATCH.tokens.shape) < 0.7),
    RNG.uniform(0.1, 1.0, BATCH.tokens.shape).astype(np.float32),
)


@cache
def model(remat: bool = False) -> Transformer:
    """A model whose logits are far from even."""
    plain = Transformer.init(TransformerConfig(**SIZES.to_dict() | {"remat": remat}), key=jax.random.key(0))
    names = named_leaves(plain)
    return jax.tree.unflatten(jax.tree.structure(plain), [3 * a if a.ndim > 1 else a for a in names.values()])


@jax.jit
def read(tokens, mask):
    """Log-probabilities at every slot of one document under a mask."""
    hidden = model()(tokens[None], jnp.arange(LONGEST)[None], mask[None])
    return jax.nn.log_softmax(model().logits(hidden))[0]


def documents(batch):
    """(row, slots) of every document."""
    for r, row in enumerate(batch.document):
        for number in range(1, row.max() + 1):
            yield r, np.flatnonzero(row == number)


def reference_nats(cfg, batch=BATCH, masked=NOISE.masked):
    """Cross-entropy of every token after the first of its document: each block in a pass of its own."""
    nats = np.zeros(batch.tokens.shape)
    for r, slots in documents(batch):
        tokens = np.zeros(LONGEST, np.int32)
        count, size = len(slots), cfg.block or LONGEST
        for begin in range(1, count, size):
            block = range(begin, min(begin + size, count))
            tokens[:count] = batch.tokens[r, slots]
            clean_end = np.array([0] + [min(1 + ((i - 1) // size + 1) * size, count) - 1 for i in range(1, count)])
            sees = np.zeros((LONGEST, LONGEST), bool)
            for i in range(begin):
                sees[i, : (i if cfg.clean == "causal" else clean_end[i]) + 1] = True
            for i in block:
                sees[i, : block.stop] = True
                if masked[r, slots[i]]:
                    tokens[i] = cfg.mask
            logs = read(tokens, sees)
            for i in block:
                nats[r, slots[i]] = -logs[i - cfg.shift, batch.tokens[r, slots[i]]]
    return nats


def reference(cfg, lm, tokens, share=0.0):
    """The loss by its definition, and by token."""
    text = (BATCH.position > 0) & (lm.end_in_loss | (BATCH.tokens != END))
    masked, nats = NOISE.masked & text, reference_nats(cfg)
    weight = 1 / NOISE.ratio if lm.weight == "inverse" else 1.0
    total = (masked * weight * nats).sum()
    total += share * (text * reference_nats(config(block=1), masked=0 * masked)).sum()
    return total / tokens, total / text.sum()


@pytest.mark.parametrize("clean", ["causal", "block"])
@pytest.mark.parametrize("shift", [True, False])
@pytest.mark.parametrize("block", [0, 2, 3])
def test_every_order_of_prediction_is_a_pass_for_each_block(block, shift, clean):
    if block == 0 and clean == "block":
        clean = "causal"  # no stream is clean
    cfg, lm = config(block=block, shift=shift, clean=clean), recipe(block=block, shift=shift, clean=clean).lm
    total, metrics = jax.jit(lambda m: masked_loss(m, BATCH, NOISE, cfg, lm, tokens=100))(model())
    assert (float(total), float(metrics["loss"])) == pytest.approx(reference(cfg, lm, 100), rel=1e-4)
    assert metrics.keys() == METRICS.keys()


@pytest.mark.parametrize("block, clean", [(3, "causal"), (3, "block"), (0, "causal")])
@pytest.mark.parametrize("end_in_loss", [True, False])
@pytest.mark.parametrize("weight", ["inverse", "flat"])
def test_weights_the_end_of_text_and_the_autoregressive_part_are_switches(block, clean, weight, end_in_loss):
    cfg = config(block=block, clean=clean)
    lm = recipe(block=block, weight=weight, end_in_loss=end_in_loss, ar_share=0.3).lm
    share = np.full(2, 0.3, np.float32)
    noise = NOISE._replace(masked=NOISE.masked & (end_in_loss | (BATCH.tokens != END)))
    total, metrics = jax.jit(lambda m: masked_loss(m, BATCH, noise, cfg, lm, tokens=100, schedule=Schedule(share)))(
        model()
    )
    assert (float(total), float(metrics["loss"])) == pytest.approx(reference(cfg, lm, 100, 0.3), rel=1e-4)
    text = (BATCH.position > 0) & (end_in_loss | (BATCH.tokens != END))
    ar = reference_nats(config(block=1), masked=np.zeros_like(text))[text].mean()
    assert float(metrics["ar_loss"]) == pytest.approx(ar, rel=1e-4)


def test_metrics_are_means_over_the_tokens_that_are_there():
    cfg, lm = config(block=3), recipe(block=3, weight="flat").lm
    _, metrics = jax.jit(lambda m: masked_loss(m, BATCH, NOISE, cfg, lm, tokens=100))(model())
    nats = reference_nats(cfg)
    for i, name in enumerate(name for name in METRICS if name[:5] == "loss_"):
        here = NOISE.masked & (i / 4 < NOISE.ratio) & (NOISE.ratio <= (i + 1) / 4)
        assert float(metrics[name]) == pytest.approx(nats[here].mean(), rel=1e-4)
    text = (BATCH.tokens >= FIRST).sum()  # a byte each; the bound has weights 1/t whatever the loss has
    bits = (NOISE.masked * nats / NOISE.ratio).sum() / text / math.log(2)
    assert float(metrics["bits_per_byte"]) == pytest.approx(bits, rel=1e-4)
    assert math.isnan(metrics["ar_loss"]) and 0 <= metrics["accuracy"] <= 1


def test_golden_loss_of_a_model_that_knows_nothing():
    # All logits are 0, so that each token costs ln 12 nats. Of 10 + 3 + 3 slots, 7 + 3 hold tokens to predict, two of
    # them the end of text; masked are 3, 4, 9, one end of text, at 1/2, 1/2, 1/4 and 1/4.
    even = jax.tree.map(jnp.zeros_like, model())
    batch = pack([[3, 4, 5, 6, 7, END], [9, 10, 11, END]], length=14)
    masked, ratio = np.zeros((1, 14), bool), np.full((1, 14), 0.5, np.float32)
    masked[0, [1, 2, 8, 11]], ratio[0, 7:] = True, 0.25
    assert batch.tokens[0, [1, 2, 8, 11]].tolist() == [3, 4, 9, END]
    want = {("inverse", True): (12, 10), ("flat", True): (4, 10), ("inverse", False): (8, 8), ("flat", False): (3, 8)}
    cfg = config(block=4)
    for (weight, end), (units, count) in want.items():
        lm = recipe(weight=weight, end_in_loss=end).lm
        noise = Noise(masked & (end | (batch.tokens != END)), ratio)
        total, metrics = jax.jit(lambda m, n, lm=lm: masked_loss(m, batch, n, cfg, lm, tokens=28))(even, noise)
        assert float(total) == pytest.approx(units * math.log(12) / 28, rel=1e-6)
        assert float(metrics["loss"]) == pytest.approx(units * math.log(12) / count, rel=1e-6)
        assert float(metrics["bits_per_byte"]) == pytest.approx((12 if end else 8) * math.log2(12) / 8, rel=1e-6)
        _, noise = draw(batch, jax.random.key(0), cfg, lm)
        assert not noise.masked[:, batch.document[0] == 0].any()  # padding is never to be predicted
        assert noise.masked[:, batch.tokens[0] == END].any() == end


def test_blocks_of_one_token_give_the_logits_of_the_autoregressive_model():
    cfg, batch = config(block=1), pack([[3, 4, 5, 6, 7, 8, 9, 10, 11, 3]], [[5, 3, 8, 7, 9, 9, 4, 3, 3, 11]], length=11)
    hidden, _ = states(model(), batch, batch.position > 0, cfg)
    causal = model()(batch.tokens, batch.position, masks.causal(jnp.ones((2, 11), bool)))
    np.testing.assert_allclose(model().logits(hidden)[:, 1:], model().logits(causal)[:, :-1], atol=1e-5)
    total, _ = masked_loss(
        model(), batch, Noise(batch.position > 0, jnp.ones((2, 11))), cfg, recipe(block=1).lm, tokens=1
    )
    logs = jax.nn.log_softmax(model().logits(causal)[:, :-1])
    nats = -np.take_along_axis(np.asarray(logs), batch.tokens[:, 1:, None], axis=-1)
    assert float(total) == pytest.approx(nats.sum(), rel=1e-5)


def test_with_the_shift_the_first_token_of_a_block_is_predicted_autoregressively():
    batch = pack([[3, 4, 5, 6, 7, 8, 9, 10, 11, 3]], length=11)
    hidden, clean = states(model(), batch, batch.position > 0, config(block=3))
    causal = np.asarray(model()(batch.tokens, batch.position, masks.causal(jnp.ones((1, 11), bool))))
    np.testing.assert_allclose(hidden[:, [1, 4, 7, 10]], causal[:, [0, 3, 6, 9]], atol=2e-5)
    np.testing.assert_allclose(clean[:, 1:], causal[:, :-1], atol=2e-5)
    assert np.abs(hidden[:, 2] - causal[:, 1]).max() > 0.1


@pytest.mark.parametrize("block, shift", [(0, True), (0, False), (1, True), (3, True), (3, False)])
def test_nothing_sees_another_document(block, shift):
    def predicted(batch):
        return np.asarray(states(model(), batch, NOISE.masked[:1], config(block=block, shift=shift))[0])

    one = jax.tree.map(lambda array: array[:1], BATCH)
    other = one._replace(tokens=np.where(one.document == 1, (one.tokens + 5) % SIZE, one.tokens))
    padded = one._replace(tokens=np.where(one.document == 0, 7, one.tokens))
    text = one.position[0] > 0
    second = text & (one.document[0] == 2)
    np.testing.assert_array_equal(predicted(one)[0, second], predicted(other)[0, second])
    np.testing.assert_array_equal(predicted(one)[0, text], predicted(padded)[0, text])
    assert np.abs(predicted(one) - predicted(other))[0, text & ~second].max() > 0.1


def test_chunks_of_the_head_give_the_same_loss_and_gradients():
    batch, lm = FakeSource(rows=2).batch(0), recipe().lm
    batch = jax.tree.map(lambda array: np.concatenate([array] * 10, axis=1), batch)  # 160 slots, more than a chunk
    run = jax.jit(jax.value_and_grad(lambda m: loss(m, batch, jax.random.key(0), config(block=4), lm, tokens=100)[0]))
    (one, grads), (other, others) = run(model()), run(model(remat=True))
    assert float(one) == pytest.approx(float(other), rel=1e-5)
    for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(others)):
        np.testing.assert_allclose(a, b, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("lm", [{"block": 1}, {"block": 3, "ar_share": 0.5}, {"block": 0, "weight": "flat"}])
def test_micro_batches_give_the_gradient_of_one_batch_token_for_token(lm):
    settings = recipe(**lm).lm
    cfg = config(block=settings.block)
    batch = pack([[3, 4, 5, 6, 7, 8, END]], [[9]], [[5, 3, END], [6, 7]], [[]], length=10)  # of 7, 1, 5, no tokens
    share = np.full(4, 0.5, np.float32) if settings.ar_share else None
    noise = Noise(batch.position > 0, np.full(batch.tokens.shape, 0.4, np.float32))
    slots = batch.tokens.size

    @jax.jit
    def gradient(batch, noise, share, tokens):
        return jax.grad(
            lambda m: masked_loss(m, batch, noise, cfg, settings, tokens=tokens, schedule=Schedule(share))[0]
        )(model())

    whole = gradient(batch, noise, share, slots)
    parts = [gradient(*jax.tree.map(lambda a, i=i: a[i : i + 1], (batch, noise, share)), slots / 4) for i in range(4)]
    for a, *b in zip(jax.tree.leaves(whole), *map(jax.tree.leaves, parts)):
        np.testing.assert_allclose(a, sum(b) / 4, atol=1e-5, rtol=1e-4)


def test_accumulated_batches_move_the_weights_as_one_large_batch_does():
    large, weights = FakeSource(rows=6).batch(3), []
    for rows, accumulation in ((6, 1), (2, 3)):
        settings = recipe({"tokens_per_batch": 16 * rows}, block=1, random_length_share=0.0)
        goal = objective(settings)
        optimizer = OptimizerConfig(accumulation=accumulation, warmup=0, clip_norm=0.01)
        state = init_state(model(), make_optimizer(optimizer, 9, goal.no_decay), optimizer)
        step = jax.jit(make_train_step(goal, optimizer, 9, seed=0))
        for part in zip(*(np.split(array, accumulation) for array in large)):
            state, _ = step(state, (LMBatch(*part), Schedule()))
        weights.append(state.model)
    moved = jax.tree.map(lambda new, old: np.abs(new - old).max(), weights[0], model())
    assert min(jax.tree.leaves(moved)) > 0
    for a, b in zip(*map(jax.tree.leaves, weights)):
        np.testing.assert_allclose(a, b, atol=2e-5)


def test_a_pair_of_complementary_rows_reads_every_token_once():
    batch, lm, cfg = FakeSource(rows=3).batch(0), recipe(random_length_share=0.0).lm, config(block=4)
    same, noise = draw(batch, jax.random.key(0), cfg, lm)
    assert len(noise.masked) == 6 and np.array_equal(same.tokens, batch.tokens)
    halves = [Noise(noise.masked[i::2], noise.ratio[i::2]) for i in (0, 1)]
    run = jax.jit(lambda m, n: masked_loss(m, batch, n, cfg, lm, tokens=48)[0])
    pair, *single = (float(run(model(), n)) for n in (noise, *halves))
    assert pair == pytest.approx(sum(single) / 2, rel=1e-5)
    assert MASK not in batch.tokens


def test_losses_on_several_devices_are_those_of_one_and_gather_the_output_table_once():
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    command = [sys.executable, "-m", "tests.lm.sharded_loss"]
    ended = subprocess.run(command, env=os.environ | {"XLA_FLAGS": flags}, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 0, ended.stderr
