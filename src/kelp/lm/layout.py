"""Layout: the attention mask as a function of the document, block and role of every slot of a row.

A slot holds a token. Its role is clean (the token is read as it is) or noisy (it may be masked and is to be predicted).
Autoregressive models, block diffusion, full masked diffusion, packed documents and a sampler's prefix with its canvas
are all rows of such slots.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from kelp.lm.config import DiffusionConfig


class Layout(NamedTuple):
    """Document, position, block and role of every slot: B rows of S slots."""

    document: Int[Array, "B S"]  # from 1; 0 is padding
    position: Int[Array, "B S"]  # of the token in its document, from 0
    block: Int[Array, "B S"]  # number of the token's block in its document: 0 is the end-of-text token before it
    noisy: Bool[Array, "B S"]

    @staticmethod
    def of(
        document: Int[Array, "B S"],
        position: Int[Array, "B S"],
        noisy: Bool[Array, "B S"],
        size: Int[Array, "B 1"] | int,
    ) -> "Layout":
        """The layout of rows whose blocks have `size` tokens (the number 0: one block a document)."""
        return Layout(document, position, blocks(position, size), noisy)


def blocks(position: Int[Array, "*S"], size: Int[Array, "*S"] | int) -> Int[Array, "*S"]:
    """Number of each token's block: 0 for position 0, which precedes the text, then 1, 2, ... every `size` tokens."""
    return jnp.where(position == 0, 0, 1 if isinstance(size, int) and size == 0 else (position - 1) // size + 1)


def attends(query: Layout, key: Layout, cfg: DiffusionConfig) -> Bool[Array, "B Q T"]:
    """Return whether each slot of `query` attends to each slot of `key`; never across documents, never to padding.

    A noisy slot attends to the noisy slots of its own block and to the clean slots of earlier blocks. A clean slot
    attends to clean slots: those up to itself, or those up to the end of its block (`cfg.clean`).
    """

    def pair(a: Array, b: Array) -> tuple[Array, Array]:
        return a[:, :, None], b[:, None, :]

    (document_q, document_k), (block_q, block_k) = pair(query.document, key.document), pair(query.block, key.block)
    (noisy_q, noisy_k), (position_q, position_k) = pair(query.noisy, key.noisy), pair(query.position, key.position)
    up_to = position_k <= position_q if cfg.clean == "causal" else block_k <= block_q
    of_noisy = jnp.where(noisy_k, block_k == block_q, block_k < block_q)
    of_clean = ~noisy_k & up_to
    return (document_q == document_k) & (document_k != 0) & jnp.where(noisy_q, of_noisy, of_clean)
