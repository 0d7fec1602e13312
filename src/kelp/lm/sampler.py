"""Sampler: fill the masked tokens of rows, block by block, over a cache of the clean tokens before each block.

A row is a document whose unknown tokens are the mask token: a prompt and masks after it, or a text with holes. In each
pass the network predicts every token of the block (the canvas); an accept rule says how many of the predictions are
kept, a choose rule which, and a revise rule whether earlier ones are taken back. A finished block is read once more,
clean, into the cache. Blocks of one token make this autoregressive decoding, one block a row masked diffusion.

Letters: B rows, R network rows (2 B with guidance, else B), S slots of a row, C slots of the canvas, V vocabulary,
D model width.
"""

import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from kelp.lm.config import DiffusionConfig
from kelp.lm.layout import Layout, attends
from kelp.model.attention import Cache
from kelp.model.transformer import Transformer

Accept = Literal["top-k", "threshold", "entropy"]
Choose = Literal["low-confidence", "random", "margin"]
Revise = Literal["none", "remask", "edit"]
# (row with its masks, position of the token to predict) -> the tokens that may stand there, at least one.
Allowed = Callable[[Int[Array, " S"], Int[Array, ""]], Bool[Array, " V"]]

SLOTS = 32  # rows are padded to a multiple of about as many, so that few shapes are compiled


@dataclass(frozen=True)
class SampleConfig:
    """Rules of decoding.

    Accept `top-k`: as many tokens a pass as fill a block in `steps` passes (LLaDA, arXiv 2502.09992); `threshold`: all
    whose probability is above `threshold`, at least one (Fast-dLLM, arXiv 2505.22618); `entropy`: the longest list of
    first choices whose entropies, without the largest, sum to at most `entropy` nats (EB-Sampler, arXiv 2505.24857).
    Choose `low-confidence`: the most probable predictions first, so that those of low confidence stay masked; `margin`:
    those furthest above their second-best token (arXiv 2502.06768); `random`: any.
    Revise `remask`: mask each written token again with chance `remask` in all but the last pass, or less where too few
    passes are left (ReMDM, arXiv 2503.00307); `edit`: replace a written token by another of a probability above `edit`,
    until nothing changes or the block's passes are used up.
    """

    block: int | None = None  # tokens decoded together: None as the model's, 1 autoregressive, 0 the whole row
    steps: int | None = None  # passes a block; None: as many as it has holes
    accept: Accept = "top-k"
    choose: Choose = "low-confidence"
    revise: Revise = "none"
    threshold: float = 0.9
    entropy: float = 0.1
    remask: float = 0.1
    edit: float = 0.9
    temperature: float = 0.0  # 0: the most probable token
    top_p: float = 1.0  # sample among the most probable tokens that have this share together
    guidance: float = 0.0  # logits move away from those without the prompt by this many differences
    seed: int = 0

    def __post_init__(self) -> None:
        for name, values in (("accept", Accept), ("choose", Choose), ("revise", Revise)):
            if getattr(self, name) not in get_args(values):
                raise ValueError(f"{name} must be one of {', '.join(get_args(values))}, got {getattr(self, name)!r}")
        for name in ("threshold", "remask", "edit"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, got {getattr(self, name)}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1, got {self.top_p}")
        for name in ("block", "entropy", "temperature", "guidance"):
            if not 0 <= (getattr(self, name) or 0) < np.inf:
                raise ValueError(f"{name} must be at least 0 and finite, got {getattr(self, name)}")
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")


class Samples(NamedTuple):
    """Decoded rows, on the host."""

    tokens: Int[np.ndarray, "B S"]  # from position 0; padding from the row's length on
    lengths: Int[np.ndarray, " B"]  # without the end-of-text token that was written last, if any
    passes: Int[np.ndarray, " B"]  # of the network over the row: the prefix, its blocks masked, and again clean
    written: Int[np.ndarray, " B"]  # tokens, that end-of-text token included

    @property
    def per_pass(self) -> float:
        """Mean number of tokens accepted in a pass."""
        return float(self.written.sum() / max(self.passes.sum(), 1))


def prompt_row(cfg: DiffusionConfig, prompt: Sequence[int], length: int) -> list[int]:
    """The row of a prompt that at most `length` tokens follow."""
    return [cfg.end, *prompt, *[cfg.mask] * length]


def sample(
    model: Transformer,
    cfg: DiffusionConfig,
    rows: Sequence[Sequence[int]],
    how: SampleConfig = SampleConfig(),
    allowed: Allowed | None = None,
    *,
    slots: int = 0,
) -> Samples:
    """Fill the mask tokens of rows that begin with `cfg.end`; every other token stays as it is.

    A hole that known tokens follow is filled to its length; in the last one, end-of-text ends the row. The tokens of a
    row do not depend on the other rows: its random numbers come from the seed, from the row itself and, where the
    batch repeats a row, from the number of the repetition. Tokens accepted in the same pass are chosen by `allowed`
    without knowledge of each other, so that a rule about neighbors needs one token a pass. Batches of as many rows
    that are padded to the same number of `slots` share a compiled program. Raises ValueError.
    """
    if not rows:
        raise ValueError("there are no rows to decode")
    cfg = cfg if how.block is None else replace(cfg, block=how.block)
    unread = {cfg.mask} if cfg.block == 1 else set()  # the mask of a model without one, which no pass reads
    for row in rows:
        if not len(row) or row[0] != cfg.end:
            raise ValueError(f"a row must begin with the end-of-text token {cfg.end}")
        if not all(0 <= token < model.cfg.vocab_size or token in unread for token in row):
            raise ValueError(f"a row has a token outside the vocabulary of {model.cfg.vocab_size}")
    lengths = np.array([len(row) for row in rows], np.int32)
    longest = max(int(lengths.max()), slots)
    if cfg.block >= max(longest - 1, 2):
        cfg = replace(cfg, block=0)  # the same layout in fewer slots
    size = cfg.block or SLOTS
    unit = size * -(-SLOTS // size)
    shared, slots = slots > 0, 1 + max(-(-(longest - 1) // unit), 1) * unit
    tokens = np.full((len(rows), slots), cfg.pad, np.int32)
    for line, row in zip(tokens, rows):
        line[: len(row)] = row
    hole = (tokens == cfg.mask) & (np.arange(slots) < lengths[:, None])
    first = np.where(hole.any(1), hole.argmax(1), 1)
    starts = (1 + (first - 1) // cfg.block * cfg.block if cfg.block else np.ones_like(first)).astype(np.int32)
    prefix = slots - (cfg.block or slots - 1)
    if not shared:
        prefix = min(-(-int(starts.max()) // unit) * unit, prefix)
    repeats: Counter[int] = Counter()
    keys = []
    for row in rows:
        digest = zlib.crc32(np.asarray(row, np.int32).tobytes())
        keys.append(jax.random.fold_in(jax.random.fold_in(jax.random.key(how.seed), digest), repeats[digest]))
        repeats[digest] += 1
    how = replace(how, seed=0)  # the same program for every seed
    given = jax.tree.map(jnp.asarray, _Rows(tokens, hole, lengths, starts, jnp.stack(keys)))
    final, passes = map(np.asarray, _decode(model, given, cfg, how, allowed, prefix))
    ends = hole & (final == cfg.end)
    lengths = np.where(ends.any(1), ends.argmax(1), lengths)
    inside = np.arange(slots) < lengths[:, None]
    written = (hole & inside).sum(1) + ends.any(1)
    width = max(map(len, rows))
    return Samples(np.where(inside, final, cfg.pad)[:, :width], lengths, passes, written)


class _Rows(NamedTuple):
    tokens: Any  # Int[Array, "B S"]
    hole: Any  # Bool[Array, "B S"]
    lengths: Any  # Int[Array, " B"]
    starts: Any  # Int[Array, " B"]: position of the first token of the first block with a hole
    keys: PRNGKeyArray


class _State(NamedTuple):
    tokens: Int[Array, "B S"]
    start: Int[Array, " B"]  # position of the first token of the row's block
    live: Bool[Array, " B"]
    last: Float[Array, "R D"]  # state of the clean token before the block
    cache: Cache
    passes: Int[Array, " B"]


class _Canvas(NamedTuple):
    tokens: Int[Array, "B C"]
    going: Bool[Array, " B"]
    step: Int[Array, ""]
    passes: Int[Array, " B"]


@eqx.filter_jit
def _decode(
    model: Transformer,
    rows: _Rows,
    cfg: DiffusionConfig,
    how: SampleConfig,
    allowed: Allowed | None,
    prefix: int,
) -> tuple[Int[Array, "B S"], Int[Array, " B"]]:
    """The rows, with leftover masks after an end-of-text token, and the passes over each.

    With guidance, rows without the prompt follow the others: they have the end-of-text token of position 0 alone in
    their cache, and masks for the prompt's tokens in the first block.
    """
    tokens, hole, lengths, starts, keys = rows
    (B, S), guided = tokens.shape, how.guidance > 0
    C = cfg.block or S - 1
    slots = jnp.arange(S)
    until = jnp.max(jnp.where(hole, slots + 1, 0), axis=1)
    prompt = (jnp.cumsum(hole, axis=1) == 0) & (slots > 0)
    tail = slots > jnp.max(jnp.where(hole | (slots >= lengths[:, None]), 0, slots), axis=1, keepdims=True)

    def pair(x: Array, other: Array | None = None) -> Array:
        return jnp.concatenate([x, x if other is None else other]) if guided else x

    def read(
        x: Int[Array, "B T"], hidden: Bool[Array, "B T"], layout: Layout, **caches: Any
    ) -> tuple[Float[Array, "R T D"], Cache]:
        x, position = pair(x, jnp.where(hidden, cfg.mask, x)), pair(layout.position)
        return model.with_cache(x, position, pair(attends(layout, layout, cfg)), **caches)

    def place(document: Bool[Array, "B T"], position: Int[Array, "B T"], noisy: bool) -> Layout:
        return Layout.of(document.astype(jnp.int32), position, jnp.full(position.shape, noisy), cfg.block)

    def block(state: _State) -> _State:
        position = state.start[:, None] + jnp.arange(C)
        at = partial(jnp.take_along_axis, indices=jnp.minimum(position, S - 1), axis=1)
        inside = position < lengths[:, None]
        holes, hidden, ending = at(hole) & inside, at(prompt), at(tail)
        here = jnp.arange(B)[:, None], position

        def permitted(canvas: Int[Array, "B C"]) -> Bool[Array, "B C V"]:
            token = jnp.arange(model.cfg.vocab_size)
            real = (token != cfg.mask) & ((token != cfg.pad) | (cfg.pad == cfg.end))
            fits = real & ((token != cfg.end) | ending[..., None])
            if allowed is None:
                return fits
            whole = state.tokens.at[here].set(canvas, mode="drop")
            return fits & jax.vmap(jax.vmap(allowed, (None, 0)))(whole, position)

        def logits(canvas: Int[Array, "B C"]) -> Float[Array, "B C V"]:
            states = state.last[:, None]
            if C > 1 or not cfg.shift:
                own = read(canvas, hidden, place(inside, position, True), past=state.cache)[0]
                states = jnp.concatenate([states, own[:, :-1]], axis=1) if cfg.shift else own
            y = model.logits(states)
            if guided:
                y, without = jnp.split(y, 2)
                y = y + how.guidance * (y - without)
            return jnp.where(permitted(canvas), y, -jnp.inf)

        def denoise(canvas: _Canvas) -> _Canvas:
            update = jax.vmap(partial(update_canvas, cfg, how), (0, None, 0, 0, 0, 0))
            new, more = update(keys, canvas.step, position, holes, canvas.tokens, logits(canvas.tokens))
            new = jnp.where(canvas.going[:, None], new, canvas.tokens)
            passes = canvas.passes + canvas.going * (C > 1 or not cfg.shift)
            return _Canvas(new, canvas.going & more, canvas.step + 1, passes)

        start = at(state.tokens)
        going = state.live & jax.vmap(partial(_to_write, cfg))(holes, start).any(axis=1)
        canvas = jax.lax.while_loop(
            lambda canvas: canvas.going.any(), denoise, _Canvas(start, going, jnp.array(0), state.passes)
        )
        ended = (holes & (canvas.tokens == cfg.end)).any(axis=1)
        live = state.live & ~ended & (state.start + C < until)

        def commit() -> tuple[Float[Array, "R D"], Cache]:
            states, cache = read(canvas.tokens, hidden, place(inside, position, False), into=state.cache)
            return states[:, -1], cache

        last, cache = jax.lax.cond(live.any(), commit, lambda: (state.last, state.cache))
        tokens = state.tokens.at[here].set(canvas.tokens, mode="drop")
        return _State(tokens, state.start + C, live, last, cache, canvas.passes + live)

    begin = pair(starts, jnp.ones_like(starts))
    position = jnp.broadcast_to(jnp.arange(prefix), (B, prefix))
    layout = place(position < starts[:, None], position, False)
    empty = Cache.empty(model.cfg, len(begin), S - C)
    states, cache = read(tokens[:, :prefix], prompt[:, :prefix], layout, lengths=begin, into=empty)
    last = jnp.take_along_axis(states, (begin - 1)[:, None, None], axis=1)[:, 0]
    state = _State(tokens, starts, until > 0, last, cache, jnp.ones(B, jnp.int32))
    state = jax.lax.while_loop(lambda state: state.live.any(), block, state)
    return state.tokens, state.passes


def update_canvas(
    cfg: DiffusionConfig,
    how: SampleConfig,
    key: PRNGKeyArray,
    step: Int[Array, ""],
    position: Int[Array, " C"],
    hole: Bool[Array, " C"],
    canvas: Int[Array, " C"],
    logits: Float[Array, "C V"],
) -> tuple[Int[Array, " C"], Bool[Array, ""]]:
    """One row's canvas after pass `step` of its block, and whether another pass is to follow.

    The random numbers of a slot are functions of the row's key, the pass and the slot's position.
    """
    own_keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.fold_in(key, step), i))(position)

    def draw(number: int, of: Callable[..., Array], *shape: int) -> Array:
        return jax.vmap(lambda own: of(jax.random.fold_in(own, number), shape))(own_keys)

    log_probs = jax.nn.log_softmax(logits)
    best = predicted = jnp.argmax(logits, axis=-1).astype(canvas.dtype)
    if how.temperature > 0:
        noise = draw(0, jax.random.gumbel, logits.shape[-1])
        predicted = jnp.argmax(_nucleus(logits / how.temperature, how.top_p) + noise, axis=-1).astype(canvas.dtype)
    confidence = jnp.exp(jnp.take_along_axis(log_probs, predicted[:, None], axis=-1)[:, 0])
    if how.choose == "random":
        score = draw(1, jax.random.uniform)
    elif how.choose == "margin":
        two = jnp.exp(jax.lax.top_k(log_probs, 2)[0])
        score = two[:, 0] - two[:, 1]
    else:
        score = confidence

    masked, was_written = _to_write(cfg, hole, canvas), hole & (canvas != cfg.mask)
    order = jnp.argsort(-jnp.where(masked, score, -jnp.inf))
    rank = jnp.zeros_like(order).at[order].set(jnp.arange(len(order)))
    count, steps = masked.sum(), hole.sum() if how.steps is None else how.steps
    if how.accept == "top-k":
        # A schedule that fills the block as early as it can leaves no passes to revise in.
        even = jnp.minimum(hole.sum() * jnp.maximum(steps - 1 - step, 0) // jnp.maximum(steps, 1), count)
        left = even if how.revise == "remask" else count - -(-count // jnp.maximum(steps - step, 1))
        accepted = masked & (rank < count - left)
    elif how.accept == "threshold":
        accepted = masked & ((confidence > how.threshold) | (rank == 0))
    else:
        entropy = -jnp.sum(jnp.where(log_probs > -jnp.inf, jnp.exp(log_probs) * log_probs, 0.0), axis=-1)[order]
        accepted = masked & (jnp.cumsum(entropy) - jax.lax.cummax(entropy) <= how.entropy)[rank]
    new = canvas
    if how.revise == "remask":
        left = count - accepted.sum()
        chance = jnp.minimum(how.remask, left / jnp.maximum(was_written.sum(), 1)) * (step < steps - 1)
        again = was_written & (draw(2, jax.random.uniform) < chance)
        new = jnp.where(again, cfg.mask, new)
        if how.accept == "top-k":  # as many more, so that the schedule holds
            accepted = masked & (rank < count - left + again.sum())
    elif how.revise == "edit":
        sure = jnp.exp(jnp.max(log_probs, axis=-1)) > how.edit
        new = jnp.where(was_written & sure, best, new)
    new = jnp.where(accepted, predicted, new)
    more = _to_write(cfg, hole, new).any()
    if how.revise == "edit":
        more |= (new != canvas).any() & (step + 1 < steps)
    return new, more


def _to_write(cfg: DiffusionConfig, hole: Bool[Array, " C"], canvas: Int[Array, " C"]) -> Bool[Array, " C"]:
    """The slots still masked, up to the first end-of-text token that was written."""
    return hole & (canvas == cfg.mask) & (jnp.cumsum(hole & (canvas == cfg.end)) == 0)


def _nucleus(logits: Float[Array, "C V"], share: float) -> Float[Array, "C V"]:
    """The logits of the fewest tokens that have `share` of the probability (arXiv 1904.09751), -inf elsewhere."""
    if share == 1:
        return logits
    probs = jax.nn.softmax(logits)
    down = -jnp.sort(-probs, axis=-1)
    least = jnp.min(jnp.where(jnp.cumsum(down, axis=-1) - down < share, down, jnp.inf), axis=-1, keepdims=True)
    return jnp.where(probs >= least, logits, -jnp.inf)
