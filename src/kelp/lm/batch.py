"""Batch of a language model: rows of tokens, with one document in each or several packed one after the other."""

from typing import Any, NamedTuple

Array = Any  # of NumPy from a stream, of JAX within the loss


class LMBatch(NamedTuple):
    """B rows of L slots: at position 0 of each document stands the end-of-text token, and one more where it ends."""

    tokens: Array  # int32 [B, L]
    document: Array  # int32 [B, L]: number of the token's document in its row, from 1; 0 is padding
    position: Array  # int32 [B, L]: of the token in its document, from 0
    bytes: Array  # int32 [B, L]: of UTF-8 that the token stands for; 0 for special tokens
