"""Batch of a language model: rows of tokens, with one document in each or several packed one after the other."""

from typing import Any, NamedTuple

Array = Any  # of NumPy from a source, of JAX within the loss


class LMBatch(NamedTuple):
    """B rows of L slots. Every document begins in its row, with the end-of-text token that precedes its text."""

    tokens: Array  # int32 [B, L]
    document: Array  # int32 [B, L], from 1; 0 is padding
    position: Array  # int32 [B, L]: of the token in its document, from 0
    bytes: Array | None = None  # int32 [B, L]: of text that the token stands for
    ar_share: Array | None = None  # float32 [B]: weight of the autoregressive loss beside the diffusion loss
