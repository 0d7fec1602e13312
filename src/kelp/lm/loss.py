"""Loss of a language model: cross-entropy of masked tokens, of every next token, or of both.

One loss covers masked diffusion (LLaDA, arXiv 2502.09992), block diffusion (BD3-LM, arXiv 2503.09573), autoregressive
training (blocks of one token) and diffusion beside autoregressive training. It reads two streams of a row: the clean
one, and the noisy one with masks in it. A noisy block attends to itself and to the clean blocks before it, so that one
pass predicts every block of a row.

Letters: B rows, L slots of a row, D model width.
"""

import math
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from kelp.lm import noise as noises
from kelp.lm.batch import LMBatch
from kelp.lm.config import DiffusionConfig
from kelp.lm.layout import Layout, attends, blocks
from kelp.lm.noise import Noise
from kelp.lm.recipe import LMSection
from kelp.model.attention import chunks
from kelp.model.low_rank import without_adapters
from kelp.model.placement import on_own_rows
from kelp.model.transformer import Transformer
from kelp.training.objective import Metrics, row_keys

BUCKETS = ("loss_0_25", "loss_25_50", "loss_50_75", "loss_75_100")  # nats a masked token, by mask ratio in percent
METRICS = {  # whether more is better
    "loss": False,  # nats a token of text
    "accuracy": True,  # of masked tokens
    "bits_per_byte": False,  # of text, by weights 1 / ratio: the likelihood bound, roughly, since ratios are clipped
    "ar_loss": False,  # nats a token
    "align_loss": False,  # 1 - cosine of the states of masked tokens and those of the model without its adapters
    **dict.fromkeys(BUCKETS, False),
}
OFFSET_STREAM = 2**31  # folded into the step's key; no row's number reaches it


class Schedule(NamedTuple):
    """Values that change from step to step, the same in every row."""

    ar_share: Any = None  # float32 [B]: weight of the autoregressive loss; None: no such loss
    block: Any = None  # int32 [B]: tokens of a block; None: those of the configuration


def loss(
    model: Transformer,
    batch: LMBatch,
    key: PRNGKeyArray,
    cfg: DiffusionConfig,
    lm: LMSection,
    *,
    tokens: int,
    schedule: Schedule = Schedule(),
    align: float = 0.0,
) -> tuple[Float[Array, ""], Metrics]:
    """The loss of a batch under noise drawn from `key`, and its metrics. `tokens` is a full batch's number of slots.

    The loss is a sum over tokens divided by that constant, so that the mean of micro-batches' gradients is the gradient
    of one large batch; the metrics are means over the tokens that are there. `align` is the weight of the distance
    between the states of masked tokens and those of the autoregressive model without its adapters (after REPR-ALIGN,
    arXiv 2605.06885, which aligns every block).
    """
    batch, noise = draw(batch, key, cfg, lm, schedule.block)
    return masked_loss(model, batch, noise, cfg, lm, tokens=tokens, schedule=schedule, align=align)


def draw(
    batch: LMBatch, key: PRNGKeyArray, cfg: DiffusionConfig, lm: LMSection, block: Int[Array, " B"] | None = None
) -> tuple[LMBatch, Noise]:
    """The batch, some rows shortened, and its noise: of as many rows, or of twice as many, complementary in pairs.

    `block` is the size of each row's blocks, in place of the configuration's.
    """
    keys = jax.vmap(jax.random.split)(row_keys(key, len(batch.tokens)))
    if lm.random_length_share:
        batch = batch._replace(document=noises.shorten(keys[:, 0], batch.document, lm.random_length_share))
    wanted = targets(batch, cfg, lm)
    if cfg.block == 1:
        return batch, Noise(wanted, jnp.ones(wanted.shape))
    size = cfg.block if block is None else block[:, None]
    number, (low, high) = noises.number_blocks(batch.document, blocks(batch.position, size)), lm.limits(size)
    ratio = noises.ratios(jax.random.fold_in(key, OFFSET_STREAM), number, eps=lm.eps, low=low, high=high)
    noise = noises.mask(keys[:, 1], ratio, number, wanted)
    return batch, noises.complementary(noise, wanted, low=low, high=high) if lm.complementary else noise


def masked_loss(
    model: Transformer,
    batch: LMBatch,
    noise: Noise,
    cfg: DiffusionConfig,
    lm: LMSection,
    *,
    tokens: int,
    schedule: Schedule = Schedule(),
    align: float = 0.0,
) -> tuple[Float[Array, ""], Metrics]:
    """The loss under given noise, of the batch's rows or of a whole number of copies of each, one after the other."""
    copies = len(noise.masked) // len(batch.tokens)
    rows: LMBatch = jax.tree.map(lambda array: jnp.repeat(array, copies, axis=0), batch)
    wanted, masked = targets(rows, cfg, lm), noise.masked
    ar_share, block = schedule
    hidden, clean = states(model, rows, masked, cfg, None if block is None else jnp.repeat(block, copies))
    nats, right = predict(model, hidden, rows.tokens)
    nats = jnp.where(masked, nats, 0.0)
    bound = nats / noise.ratio
    weighted = (bound if lm.weight == "inverse" else nats).sum()
    total, count = weighted / (copies * tokens), jnp.maximum(wanted.sum(), 1)
    text = jnp.where(wanted, rows.bytes, 0).sum()
    figures = {
        "loss": weighted / count,
        "accuracy": _mean(right, masked),
        "bits_per_byte": jnp.where(text > 0, bound.sum() / (math.log(2) * jnp.maximum(text, 1)), jnp.nan),
        "ar_loss": jnp.asarray(jnp.nan),
        "align_loss": jnp.asarray(jnp.nan),
    }
    if align:
        target = jnp.repeat(_autoregressive(without_adapters(model), batch, cfg), copies, axis=0)
        distance = jnp.where(masked, 1 - _cosine(hidden, jax.lax.stop_gradient(target)), 0.0)
        total += align * distance.sum() / (copies * tokens)
        figures["loss"] += align * distance.sum() / count
        figures["align_loss"] = _mean(distance, masked)
    if ar_share is not None:
        wanted = targets(batch, cfg, lm)
        if cfg.block <= 1 or cfg.clean == "block":  # no stream that is both clean and causal
            clean = _autoregressive(model, batch, cfg)
        nats_ar, _ = predict(model, clean[:: len(clean) // len(wanted)], batch.tokens)
        nats_ar = jnp.where(wanted, nats_ar, 0.0)
        shared = (ar_share[:, None] * nats_ar).sum()
        total += shared / tokens
        figures["loss"] += shared / jnp.maximum(wanted.sum(), 1)
        figures["ar_loss"] = _mean(nats_ar, wanted)
    bucket = jnp.ceil(len(BUCKETS) * noise.ratio) - 1
    figures |= {name: _mean(nats, masked & (bucket == i)) for i, name in enumerate(BUCKETS)}
    return total, figures


def targets(batch: LMBatch, cfg: DiffusionConfig, lm: LMSection) -> Bool[Array, "B L"]:
    """The tokens to predict: those of documents, but for the first, and for the end-of-text token if so configured."""
    text = (batch.document > 0) & (batch.position > 0)
    return text if lm.end_in_loss else text & (batch.tokens != cfg.end)


def states(
    model: Transformer,
    rows: LMBatch,
    masked: Bool[Array, "B L"],
    cfg: DiffusionConfig,
    block: Int[Array, " B"] | None = None,
) -> tuple[Float[Array, "B L D"], Float[Array, "B L D"]]:
    """The states that predict each slot's token: given the masks, and from the clean stream's slot before it.

    Blocks of one token need the clean stream alone, and one block a document the noisy stream alone; else a row has
    both, side by side, in 2 L slots. With the shift, the slot before predicts: that of the clean stream where it is of
    an earlier block.
    """
    length = rows.tokens.shape[1]
    noised = jnp.where(masked, cfg.mask, rows.tokens)
    match cfg.block:
        case 1:
            streams = [(rows.tokens, jnp.zeros_like(masked))]
        case 0:
            streams = [(noised, rows.position > 0)]
        case _:
            streams = [(noised, jnp.ones_like(masked)), (rows.tokens, jnp.zeros_like(masked))]
    tokens, noisy = (jnp.concatenate(parts, axis=1) for parts in zip(*streams))
    document, position = (jnp.tile(x, len(streams)) for x in (rows.document, rows.position))
    layout = Layout.of(document, position, noisy, cfg.block if block is None else block[:, None])
    hidden = model(tokens, position, attends(layout, layout, cfg))
    given, clean = hidden[:, :length], jnp.roll(hidden[:, -length:], 1, axis=1)
    if cfg.shift:
        number = layout.block[:, :length]
        given = jnp.where((number != jnp.roll(number, 1, axis=1))[..., None], clean, jnp.roll(given, 1, axis=1))
    return given, clean


def _autoregressive(model: Transformer, batch: LMBatch, cfg: DiffusionConfig) -> Float[Array, "B L D"]:
    """The states that predict each slot's token from the clean tokens before it."""
    nothing = jnp.zeros(batch.tokens.shape, bool)
    return states(model, batch, nothing, replace(cfg, block=1, shift=True, clean="causal"))[0]


def _cosine(x: Float[Array, "B L D"], y: Float[Array, "B L D"]) -> Float[Array, "B L"]:
    norms = jnp.linalg.norm(x, axis=-1) * jnp.linalg.norm(y, axis=-1)
    return (x * y).sum(axis=-1) / jnp.maximum(norms, 1e-6)


def predict(
    model: Transformer, hidden: Float[Array, "B L D"], tokens: Array
) -> tuple[Float[Array, "B L"], Bool[Array, "B L"]]:
    """Cross-entropy of each token in nats, and whether it is the likeliest."""

    def head(table: Array, hidden: Array, tokens: Array) -> tuple[Array, Array]:
        logits = model.logits(hidden, table)
        picked = jnp.take_along_axis(logits, tokens[..., None], axis=-1)[..., 0]
        return jax.nn.logsumexp(logits, axis=-1) - picked, logits.argmax(axis=-1) == tokens

    def by_chunk(table: Array, hidden: Array, tokens: Array) -> tuple[Array, ...]:
        found = jax.lax.map(jax.checkpoint(lambda part: head(table, *part)), (chunks(hidden), chunks(tokens)))
        return tuple(jnp.moveaxis(x, 0, 1).reshape(len(tokens), -1)[:, : tokens.shape[1]] for x in found)

    if not model.cfg.remat:
        return head(model.output_table, hidden, tokens)
    # The logits of all slots at once would take more memory than the blocks do; the backward pass recomputes a chunk's.
    nats, right = on_own_rows(by_chunk, model.output_table, hidden, tokens)
    return nats, right


def _mean(values: Array, where: Bool[Array, "B L"]) -> Float[Array, ""]:
    """Mean of the values at these places; NaN where there is none."""
    count = where.sum()
    return jnp.where(count > 0, jnp.where(where, values, 0).sum() / jnp.maximum(count, 1), jnp.nan)
