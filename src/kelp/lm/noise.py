"""Noise: which tokens of a batch are masked, and with what probability. The draws depend on (seed, step, row) alone."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt32

# Fractions of 2**32 whose multiples spread evenly, however many: the golden ratio's over rows, sqrt(2)'s over blocks.
ROW_STEP, BLOCK_STEP = 2654435769, 1779033704

Ratio = Float[Array, "B L"] | float  # one for all blocks, or one for each row


class Noise(NamedTuple):
    """The masked tokens, and each token's mask ratio: the probability with which a target of its block is masked."""

    masked: Bool[Array, "B L"]
    ratio: Float[Array, "B L"]


def number_blocks(document: Int[Array, "B L"], block: Int[Array, "B L"]) -> Int[Array, "B L"]:
    """Number of each slot's block in its row, from 0, where the blocks of each document are numbered by `block`."""

    def changes(x: Int[Array, "B L"]) -> Bool[Array, "B L"]:
        return x != jnp.concatenate([x[:, :1], x[:, :-1]], axis=1)

    return jnp.cumsum(changes(document) | changes(block), axis=1)


def ratios(key: PRNGKeyArray, number: Int[Array, "B L"], *, eps: float, low: Ratio, high: float) -> Float[Array, "B L"]:
    """Mask ratio t ~ U(eps, 1) of each block, clipped to [low, high].

    One offset for the batch and fixed steps from row to row and from block to block (a Kronecker sequence) spread the
    ratios of any number of rows evenly over the interval.
    """
    row = jnp.arange(len(number), dtype=jnp.uint32)[:, None]
    offset: UInt32[Array, ""] = jax.random.bits(key, (), jnp.uint32)
    bits = offset + row * jnp.uint32(ROW_STEP) + number.astype(jnp.uint32) * jnp.uint32(BLOCK_STEP)  # modulo 2**32
    return jnp.clip(eps + (1 - eps) * (bits >> 8).astype(jnp.float32) * 2.0**-24, low, high)


def mask(
    keys: PRNGKeyArray, ratio: Float[Array, "B L"], number: Int[Array, "B L"], targets: Bool[Array, "B L"]
) -> Noise:
    """Mask each target with its block's ratio t as probability; where that masks none of the block, mask one of them.

    So each of the n targets of a block is masked with probability t + (1 - t)^n / n, which is its ratio in the noise.
    `keys` are one for each row.
    """
    length = number.shape[1]

    def of_block(reduce: Callable[..., Array], values: Array) -> Array:
        by_block = jax.vmap(lambda row, segment: reduce(row, segment, length))(values, number)
        return jnp.take_along_axis(by_block, number, axis=1)

    draws = jnp.where(targets, jax.vmap(lambda key: jax.random.uniform(key, (length,)))(keys), 1.0)
    count = jnp.maximum(of_block(jax.ops.segment_sum, targets.astype(jnp.float32)), 1)
    masked = targets & ((draws < ratio) | (draws == of_block(jax.ops.segment_min, draws)))
    return Noise(masked, ratio + (1 - ratio) ** count / count)


def complementary(noise: Noise, targets: Bool[Array, "B L"], *, low: Ratio, high: float) -> Noise:
    """The noise of 2 B rows: each row, and after it the same one with exactly its other targets masked."""
    other = Noise(targets & ~noise.masked, jnp.clip(1 - noise.ratio, low, high))
    return Noise(*(jnp.stack(pair, axis=1).reshape(-1, targets.shape[1]) for pair in zip(noise, other)))


def shorten(keys: PRNGKeyArray, document: Int[Array, "B L"], share: float) -> Int[Array, "B L"]:
    """`document` with the end of a share of the rows made padding: their lengths are uniform in 1 to L."""
    length = document.shape[1]

    def draw(key: PRNGKeyArray) -> Int[Array, ""]:
        chosen, uniform = jax.random.split(key)
        return jnp.where(jax.random.bernoulli(chosen, share), jax.random.randint(uniform, (), 1, length + 1), length)

    return jnp.where(jnp.arange(length) < jax.vmap(draw)(keys)[:, None], document, 0)
