"""Inference in NumPy: a trained model over one program, with nothing to compile and no padding.

It computes what `kelp.model.transformer` and `kelp.model.denoiser` do, in float32 whatever `compute_dtype` is. Training
and sampling from language models go through JAX.

Letters: S tokens read, P tokens read before, T = P + S, D model width, K key/value heads, G query heads per key/value
head, H width of a head, V vocabulary, R edit sites.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from kelp.model.config import DenoiserConfig, TransformerConfig
from kelp.model.suffix_tree import SuffixTree
from kelp.model.tensors import Int8, array, release

if TYPE_CHECKING:  # it imports a lot for what only annotations need
    from jaxtyping import Bool, Float, Int

Array = np.ndarray
MASKED_SCORE = np.float32(-1e30)
ROWS = 256  # queries whose scores, and states whose logits, are in memory at a time


class KV(NamedTuple):
    """Rotated keys, and values, of the tokens that one layer has read."""

    keys: Float[Array, "K T H"]
    values: Float[Array, "K T H"]


Cache = tuple[KV, ...]  # of every layer


class Layer(NamedTuple):
    """Weights of a block, those of products with the same operand side by side."""

    attention_norm: Float[Array, " D"]
    query_key_value: Float[Array, "D KGH+2KH"]
    out: Float[Array, "KGH D"]
    mlp_norm: Float[Array, " D"]
    gate_up: Float[Array, "D 2F"]
    down: Float[Array, "F D"]


@dataclass(frozen=True)
class Transformer:
    """Weights of a transformer in float32. Immutable: any number of threads may share one."""

    cfg: TransformerConfig
    embedding: Float[Array, "V D"]
    layers: tuple[Layer, ...]
    norm: Float[Array, " D"]
    output: Float[Array, "V D"]

    @classmethod
    def of(cls, cfg: TransformerConfig, leaves: Mapping[str, Any]) -> Transformer:
        """The transformer of leaves by name: arrays, or views of stored ones."""

        def get(name: str) -> Array:
            return _weights(leaves[name])

        def layer(i: int) -> Layer:
            def matrix(*names: str, inputs: int = 1) -> Array:
                each = [get(f"blocks.{i}.{name}") for name in names]
                return np.concatenate([w.reshape(math.prod(w.shape[:inputs]), -1) for w in each], axis=1)

            return Layer(
                get(f"blocks.{i}.attention_norm.scale"),
                matrix("attention.query", "attention.key", "attention.value"),
                matrix("attention.out", inputs=3),
                get(f"blocks.{i}.mlp_norm.scale"),
                matrix("mlp.gate", "mlp.up"),
                matrix("mlp.down"),
            )

        embedding = get("embedding")
        output = embedding if cfg.tie_embeddings else get("unembedding")
        return cls(cfg, embedding, tuple(map(layer, range(cfg.layers))), get("norm.scale"), output)

    def read(
        self,
        tokens: Int[Array, " S"] | Sequence[int],
        positions: Int[Array, " S"] | Sequence[int],
        mask: Bool[Array, "S T"] | None = None,
        *,
        lower_mask: Bool[Array, "S T"] | None = None,
        past: Cache | None = None,
    ) -> tuple[Float[Array, "S D"], Cache]:
        """The states of these tokens after the last norm, and the cache with them behind `past`.

        `mask` says which of the T tokens each attends to; without it, to all. With `lower_mask`, that one counts in the
        lower two thirds of the blocks.
        """
        cfg = self.cfg
        angle = np.asarray(positions, np.float32)[:, None] * cfg.frequencies
        rotation = np.cos(angle), np.sin(angle)
        x, cache = self.embedding[np.asarray(tokens, np.intp)], []
        upper = 2 * cfg.layers // 3
        for i, layer in enumerate(self.layers):
            before = None if past is None else past[i]
            seen = mask if lower_mask is None or i >= upper else lower_mask
            y, own = _attention(_norm(x, layer.attention_norm, cfg.norm_eps), layer, cfg, rotation, seen, before)
            x = x + y
            gate, up = np.split(_norm(x, layer.mlp_norm, cfg.norm_eps) @ layer.gate_up, 2, axis=1)
            x = x + (_silu(gate) * up) @ layer.down
            cache.append(own)
        return _norm(x, self.norm, cfg.norm_eps), tuple(cache)

    def logits(self, states: Float[Array, "S D"]) -> Float[Array, "S V"]:
        """The logits of the token after each state."""
        return states @ self.output.T

    def log_probs(self, states: Float[Array, "S D"], tokens: Int[Array, " S"] | Sequence[int]) -> Float[Array, " S"]:
        """Log-probability of one token after each state."""
        found = np.empty(len(states), np.float32)
        for i in range(0, len(states), ROWS):  # all logits at once would take 4 bytes x S x V
            logits, wanted = self.logits(states[i : i + ROWS]), np.asarray(tokens[i : i + ROWS])
            found[i : i + ROWS] = np.take_along_axis(logits, wanted[:, None], axis=1)[:, 0] - log_sum_exp(logits)
        return found

    def path_log_probs(
        self, tree: SuffixTree, past: Cache, *, visible: Int[Array, " Q"] | None = None, end: int | None = None
    ) -> Float[Array, " Q"]:
        """Log-probability of what each of Q nodes' path writes after `past`, and of the token `end` after it.

        A node sees the first `visible` tokens of `past`, by default all.
        """
        tokens, positions, parents, scored, mask = tree.arrays()
        before = np.arange(past[0].keys.shape[1]) < (np.inf if visible is None else visible[:, None])
        before = np.broadcast_to(before, (len(tokens), past[0].keys.shape[1]))
        states, _ = self.read(tokens, positions, np.concatenate([before, mask], axis=1), past=past)
        logits = self.logits(states)
        total = log_sum_exp(logits)
        own = np.where(scored, logits[parents, tokens] - total[parents], 0.0)
        paths = np.where(mask, own, 0.0).sum(axis=1)
        return paths if end is None else paths + logits[:, end] - total


@dataclass(frozen=True)
class Denoiser:
    """A transformer with a pointer over a program's edit sites, as `kelp.model.denoiser` trains it."""

    cfg: DenoiserConfig
    transformer: Transformer
    first: Float[Array, "D E"]
    last: Float[Array, "D E"]
    kind: Float[Array, "kinds E"]
    score: Float[Array, " E"]

    @classmethod
    def of(cls, cfg: DenoiserConfig, leaves: Mapping[str, Any]) -> Denoiser:
        """The denoiser of leaves by name: arrays, or views of stored ones."""
        inner = {name.removeprefix("transformer."): leaf for name, leaf in leaves.items()}
        pointer = [_weights(leaves[f"pointer.{name}"]) for name in ("first", "last", "kind", "score")]
        return cls(cfg, Transformer.of(cfg.transformer, inner), *pointer)

    def encode(self, tokens: Sequence[int], sites: Int[Array, "R 3"]) -> tuple[Float[Array, " R"], Cache]:
        """Read a prefix: log-probabilities of its sites (see `SitePointer`), and the cache that all edits share."""
        places = np.arange(len(tokens))
        causal = None if self.cfg.prefix == "bidirectional" else places <= places[:, None]
        mask = causal if self.cfg.prefix == "causal" else None
        states, cache = self.transformer.read(tokens, places, mask, lower_mask=causal)
        rows = np.asarray(sites, np.intp)
        ends = (states @ self.first)[rows[:, 0]] + (states @ self.last)[rows[:, 1]]
        scores = np.where(rows[:, 2] > 0, _silu(ends + self.kind[rows[:, 2]]) @ self.score, -np.inf)
        return scores - log_sum_exp(scores), cache


def _weights(leaf: Any) -> Array:
    if not isinstance(leaf, Int8 | np.ndarray):  # an array of JAX
        return np.asarray(leaf, np.float32)
    weights = array(leaf, "float32")
    release(leaf)
    return weights


def _attention(
    x: Float[Array, "S D"],
    layer: Layer,
    cfg: TransformerConfig,
    rotation: tuple[Array, Array],
    mask: Bool[Array, "S T"] | None,
    past: KV | None,
) -> tuple[Float[Array, "S D"], KV]:
    S, K, H = len(x), cfg.kv_heads, cfg.head_dim
    G = cfg.heads // K
    q, k, v = np.split(x @ layer.query_key_value, [K * G * H, (K * G + K) * H], axis=1)
    q, k = _rotate(q.reshape(S, K * G, H), rotation), _rotate(k.reshape(S, K, H), rotation)
    own = KV(k.transpose(1, 0, 2), v.reshape(S, K, H).transpose(1, 0, 2))
    if past is not None:
        own = KV(*(np.concatenate(pair, axis=1) for pair in zip(past, own)))
    q = q.reshape(S, K, G, H).transpose(1, 2, 0, 3) * np.float32(1 / math.sqrt(H))
    y = np.empty((K, G, S, H), np.float32)
    for i in range(0, S, ROWS):
        part = q[:, :, i : i + ROWS]
        scores = (part.reshape(K, -1, H) @ own.keys.transpose(0, 2, 1)).reshape(*part.shape[:3], -1)
        if mask is not None:
            np.copyto(scores, MASKED_SCORE, where=~mask[i : i + ROWS])
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        total = scores.sum(axis=-1, keepdims=True)
        y[:, :, i : i + ROWS] = (scores.reshape(K, -1, scores.shape[-1]) @ own.values).reshape(part.shape) / total
    return y.transpose(2, 0, 1, 3).reshape(S, -1) @ layer.out, own


def _rotate(x: Float[Array, "S heads H"], rotation: tuple[Array, Array]) -> Float[Array, "S heads H"]:
    cos, sin = (angle[:, None] for angle in rotation)
    a, b = np.split(x, 2, axis=-1)
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def _norm(x: Float[Array, "S D"], scale: Float[Array, " D"], eps: float) -> Float[Array, "S D"]:
    return x / np.sqrt(np.square(x).mean(axis=-1, keepdims=True) + np.float32(eps)) * scale


def _silu(x: Array) -> Array:
    return x / (1 + np.exp(-x))


def log_sum_exp(x: Float[Array, "*N V"]) -> Float[Array, "*N"]:
    """The log of the sum of the exponentials along the last axis; -inf where all are."""
    most = np.maximum(x.max(axis=-1, keepdims=True), np.finfo(np.float32).min)
    with np.errstate(divide="ignore"):
        return np.log(np.exp(x - most).sum(axis=-1)) + most[..., 0]
