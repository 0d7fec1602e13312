"""Likelihood: a bound on -log p of documents, in nats and in bits per byte; exact where a block is one token.

The tokens of a block are predicted in any order. With x_M the masked and x_R the other tokens of a block of n, and c
the blocks before it, Jensen's inequality over the orders gives (Uria et al. 2014, arXiv 1310.1757; MDLM, arXiv
2406.07524; BD3-LM, arXiv 2503.09573)

    -log p(x | c) <= E over k ~ U{1..n}, then M of k tokens, of n / k * sum over i in M of -log p(x_i | x_R, c).

Exactly k tokens are masked, since a number drawn from a mask ratio only adds noise; and the samples of a document draw
k from equal strata, in another order for each block.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from kelp.lm.config import DiffusionConfig
from kelp.lm.layout import Layout, attends
from kelp.model.transformer import Transformer

BATCH_TOKENS = 2048  # predicted at once
SLOTS = 32  # documents are padded to a multiple of these, so that few shapes are compiled
NORMAL_95 = 1.959964  # standard errors each way that a 95 % interval spans


class Interval(NamedTuple):
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float

    @staticmethod
    def of(mean: float, error: float) -> "Interval":
        return Interval(mean, mean - NORMAL_95 * error, mean + NORMAL_95 * error)

    @staticmethod
    def of_share(count: int, n: int) -> "Interval":
        """The share of `count` in n independent cases, with Wilson's interval (1927)."""
        share, z2 = count / n, NORMAL_95**2
        middle = (share + z2 / (2 * n)) / (1 + z2 / n)
        reach = NORMAL_95 * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
        return Interval(share, max(middle - reach, 0.0), min(middle + reach, 1.0))

    def __str__(self) -> str:
        return f"{self.mean:.4f} [{self.low:.4f}, {self.high:.4f}]"


@dataclass(frozen=True)
class Likelihood:
    """Bounds of N documents."""

    nats: Float[np.ndarray, " N"]
    errors: Float[np.ndarray, " N"]  # Monte Carlo standard error of each, not below the true one
    sizes: Int[np.ndarray, " N"]  # bytes

    @property
    def bits_per_byte(self) -> Interval:
        """The bound of these documents; the interval is that of Monte Carlo."""
        scale = 1 / (math.log(2) * self.sizes.sum())
        return Interval.of(float(self.nats.sum() * scale), float(np.sqrt((self.errors**2).sum()) * scale))

    @property
    def over_documents(self) -> Interval:
        """The bound of the documents that these are a random sample of: a ratio estimate. NaN for a single one."""
        mean, n = self.bits_per_byte.mean, len(self.nats)
        residuals = self.nats / math.log(2) - mean * self.sizes
        error = math.sqrt(n / (n - 1) * (residuals**2).sum()) / self.sizes.sum() if n > 1 else math.nan
        return Interval.of(mean, float(error))


def text_likelihood(
    model: Transformer,
    cfg: DiffusionConfig,
    texts: Sequence[str],
    encode: Callable[[str], Sequence[int]],
    *,
    length: int,
    samples: int = 8,
    seed: int = 0,
) -> Likelihood:
    """The bounds of texts with their end-of-text token, in windows of `length` tokens that do not see each other.

    Raises ValueError where there are fewer than two samples, which have no variance.
    """
    if samples < 2 or not texts:
        raise ValueError(f"an interval needs a text and at least 2 samples, got {len(texts)} and {samples}")
    windows, owners = [], []
    for number, text in enumerate(texts):
        tokens = [*encode(text), cfg.end]
        for start in range(0, len(tokens), length):
            windows.append(tokens[start : start + length])
            owners.append(number)
    drawn = draw_nats(model, cfg, windows, samples=samples, seed=seed)
    variance = np.zeros(len(drawn)) if cfg.block == 1 else drawn.var(axis=1, ddof=1) / samples
    n = len(texts)
    return Likelihood(
        np.bincount(owners, drawn.mean(axis=1), n),
        np.sqrt(np.bincount(owners, variance, n)),
        np.array([len(text.encode()) for text in texts]),
    )


def draw_nats(
    model: Transformer,
    cfg: DiffusionConfig,
    documents: Sequence[Sequence[int]],
    *,
    samples: int = 8,
    seed: int = 0,
    known: Sequence[int] | None = None,
) -> Float[np.ndarray, "N samples"]:
    """Stratified Monte Carlo draws of each document's bound; one for blocks of one token, where all are the same.

    Documents come without the end-of-text token before them; the one after is a token like others. With `known`, the
    bound is that of each document's other tokens given so many of its first ones. Raises ValueError.
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    if not all(map(len, documents)):
        raise ValueError("a document must have a token")
    samples = 1 if cfg.block == 1 else samples
    nats = np.zeros((len(documents), samples))
    by_length: dict[int, list[tuple[int, int, np.ndarray]]] = {}
    for number, document in enumerate(documents):
        rng = np.random.default_rng([seed, number])
        weights = draw_weights(rng, len(document), cfg.block, samples, known[number] if known else 0)
        jobs = by_length.setdefault(-(-len(document) // SLOTS) * SLOTS, [])
        jobs += [(number, j, weight) for j, weight in enumerate(weights)]
    for slots, jobs in by_length.items():
        rows = max(BATCH_TOKENS // slots, 1)
        for first in range(0, len(jobs), rows):
            batch = jobs[first : first + rows]
            tokens, weights = np.full((rows, slots + 1), cfg.end, np.int32), np.zeros((rows, slots))
            lengths = np.ones(rows, np.int32)
            for row, (number, _, weight) in enumerate(batch):
                document, lengths[row] = documents[number], len(documents[number]) + 1
                tokens[row, 1 : lengths[row]], weights[row, : len(weight)] = document, weight
            arrays = map(jnp.asarray, (tokens, weights > 0, lengths))
            each = np.asarray(_token_nats(model, cfg, *arrays), np.float64)
            for row, (number, j, _) in enumerate(batch):
                nats[number, j] = (each[row] * weights[row]).sum()
    return nats


def draw_weights(
    rng: np.random.Generator, length: int, block: int, samples: int, known: int = 0
) -> Float[np.ndarray, "samples length"]:
    """Weights n / k of the tokens to mask, 0 of the others; the first `known` tokens are never masked."""
    size = block or length
    count = -(-length // size)
    ends = np.minimum(size, length - size * np.arange(count))  # of each block, counted from its first token
    first = np.clip(known - size * np.arange(count), 0, ends)
    n = ends - first  # tokens of each block that may be masked
    strata = rng.permuted(np.tile(np.arange(samples), (count, 1)), axis=1).T
    k = np.minimum(1 + ((strata + rng.random((samples, count))) / samples * n).astype(int), n)
    slot = np.arange(size)
    free = (slot >= first[:, None]) & (slot < ends[:, None])
    scores = np.where(free, rng.random((samples, count, size)), np.inf)
    masked = scores.argsort(axis=2).argsort(axis=2) < k[..., None]
    return (masked * (n / np.maximum(k, 1))[..., None]).reshape(samples, -1)[:, :length]


@eqx.filter_jit
def _token_nats(
    model: Transformer,
    cfg: DiffusionConfig,
    tokens: Int[Array, "B S"],
    masked: Bool[Array, "B L"],
    lengths: Int[Array, " B"],
) -> Float[Array, "B L"]:
    """-log p of every token from position 1 on (L = S - 1), given the blocks before it and its block with the masks.

    A row of the network is the clean tokens, then the noisy ones; slots that nothing depends on are left out.
    """
    B, S = tokens.shape
    clean = 1 if cfg.block == 0 else S  # with one block a document, only position 0 is read clean
    noisy = 0 if cfg.block == 1 else S - 1  # a block of one token is predicted from the clean ones
    slots = jnp.concatenate([jnp.arange(clean), jnp.arange(1, noisy + 1)])
    position = jnp.broadcast_to(slots, (B, len(slots)))
    document = (position < lengths[:, None]).astype(jnp.int32)
    layout = Layout.of(document, position, jnp.broadcast_to(jnp.arange(len(slots)) >= clean, position.shape), cfg.block)
    seen = jnp.concatenate([tokens[:, :clean], jnp.where(masked, cfg.mask, tokens[:, 1:])[:, :noisy]], axis=1)
    states = model(seen, position, attends(layout, layout, cfg))
    token = np.arange(1, S)
    first = (token - 1) % (cfg.block or S) == 0  # of its block
    source = np.where(first, token - 1, clean + token - 2) if cfg.shift else clean + token - 1
    log_probs = jax.nn.log_softmax(model.logits(states[:, source]))
    return -jnp.take_along_axis(log_probs, tokens[:, 1:, None], axis=-1)[..., 0]
