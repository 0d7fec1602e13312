"""Grouped-query attention with rotary positions, over these tokens and over caches of earlier ones.

Letters: B batch, S sequence (queries), T keys, P cache slots, K key/value heads, G query heads per key/value head, H
width of a head.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from kelp.model.config import TransformerConfig
from kelp.model.einsum import einsum

MASKED_SCORE = -1e30  # finite, so that a query that attends to nothing gets no NaN
DENSE_SCORES = 768 * 768  # of one head; above it attention goes through the queries by chunks, which is faster there
CHUNK = 128  # queries


class Rotation(NamedTuple):
    """Cosine and sine of every position's angles."""

    cos: Float[Array, "B S half"]  # half = H / 2
    sin: Float[Array, "B S half"]

    @staticmethod
    def at(positions: Int[Array, "B S"], cfg: TransformerConfig) -> "Rotation":
        angle = positions[..., None] * cfg.frequencies
        return Rotation(jnp.cos(angle), jnp.sin(angle))

    def __call__(self, x: Float[Array, "B S *heads H"]) -> Float[Array, "B S *heads H"]:
        between = tuple(range(2, x.ndim - 1))
        cos, sin = jnp.expand_dims(self.cos, between), jnp.expand_dims(self.sin, between)
        a, b = jnp.split(x, 2, axis=-1)
        return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


class KV(NamedTuple):
    """Rotated keys, and values, of one layer."""

    keys: Float[Array, "B P K H"]
    values: Float[Array, "B P K H"]

    def write(self, new: "KV", starts: Int[Array, " B"]) -> "KV":
        """These slots with `new` from each row's start on. New tokens past the last slot are dropped."""
        rows = jnp.arange(len(starts))[:, None]
        slots = starts[:, None] + jnp.arange(new.keys.shape[1])
        return KV(*(old.at[rows, slots].set(added, mode="drop") for old, added in zip(self, new)))


class Cache(NamedTuple):
    """Keys and values of tokens already read: B rows of P slots, of which row b fills the first `lengths[b]`."""

    layers: tuple[KV, ...]
    lengths: Int[Array, " B"]

    @staticmethod
    def empty(cfg: TransformerConfig, rows: int, slots: int) -> "Cache":
        shape = (rows, slots, cfg.kv_heads, cfg.head_dim)
        layers = tuple(KV(jnp.zeros(shape), jnp.zeros(shape)) for _ in range(cfg.layers))
        return Cache(layers, jnp.zeros(rows, jnp.int32))

    @property
    def filled(self) -> Bool[Array, "B 1 P"]:
        """The slots that hold a token."""
        return (jnp.arange(self.layers[0].keys.shape[1]) < self.lengths[:, None])[:, None]

    def after_write(self, mask: Bool[Array, "#B S S"]) -> Bool[Array, "B S P"]:
        """The slots that S new tokens attend to once written: the ones filled before, and each other's by `mask`."""
        number = jnp.arange(self.layers[0].keys.shape[1]) - self.lengths[:, None]  # of a slot's new token; below 0: old
        S = mask.shape[-1]
        mask = jnp.broadcast_to(mask, (len(number), S, S))
        new = jnp.take_along_axis(mask, jnp.clip(number, 0, S - 1)[:, None], axis=-1)
        return (number < 0)[:, None] | ((number >= 0) & (number < S))[:, None] & new


def attend(
    q: Float[Array, "B S K G H"], own: KV, past: KV | None, mask: Bool[Array, "#B S T"], dtype: str
) -> Float[Array, "B S K G H"]:
    """Attention to `past`, a cache's keys and values (see `Cache`), and to the rows' `own`; `mask` has past first."""
    seen = own if past is None else KV(*(jnp.concatenate(pair, axis=1) for pair in zip(past, own)))
    length = q.shape[1]
    if length * mask.shape[-1] <= DENSE_SCORES or length <= CHUNK:
        return _dense(q, seen, mask, dtype)
    # Scores of all queries at once would take S x T floats a head; the backward pass recomputes those of a chunk.
    chunk = jax.checkpoint(lambda part: _dense(part[0], seen, part[1], dtype))
    y = jax.lax.map(chunk, (chunks(q), chunks(mask)))
    return jnp.moveaxis(y, 0, 1).reshape(q.shape[0], -1, *q.shape[2:])[:, :length]


def _dense(
    q: Float[Array, "B S K G H"], seen: KV, mask: Bool[Array, "#B S T"], dtype: str
) -> Float[Array, "B S K G H"]:
    scores = einsum("bskgh,btkh->bkgst", q, seen.keys, dtype)
    scores = jnp.where(mask[:, None, None], scores / math.sqrt(q.shape[-1]), MASKED_SCORE)
    return einsum("bkgst,btkh->bskgh", jax.nn.softmax(scores, axis=-1), seen.values, dtype)


def chunks(x: Array) -> Array:
    """Chunks of CHUNK queries, the last one padded: [B, S, ...] to [chunks, B, CHUNK, ...]."""
    padded = jnp.pad(x, ((0, 0), (0, -x.shape[1] % CHUNK), *((0, 0),) * (x.ndim - 2)))
    return jnp.moveaxis(padded.reshape(len(x), -1, CHUNK, *x.shape[2:]), 1, 0)
