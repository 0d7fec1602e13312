"""Examples as arrays, and batches of them in a few fixed shapes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from kelp.data.vocabulary import EDIT, END, NO_SITE, PAD, UNTIL

Numbers = Sequence[int] | np.ndarray


@dataclass(frozen=True)
class Example:
    """One state and its correct answers: every row that begins a shortest path, and one edit written out."""

    tokens: Numbers  # the prefix
    rows: Sequence[tuple[int, int, int]] | np.ndarray  # sites: first token, last token, kind; row 0 is stop
    correct: Numbers  # rows
    span: tuple[int, int]  # rotary positions of the chosen edit's start and end
    written: Numbers | None  # its text; None where nothing is to be written (stop, delete)


class Batch(NamedTuple):
    """B examples, padded at the right. P prefix tokens, N site rows, T suffix tokens."""

    prefix: np.ndarray  # int32 [B, P]; 0 = padding
    sites: np.ndarray  # int32 [B, N, 3]; kind 0 = padding
    site_target: np.ndarray  # bool [B, N]
    suffix: np.ndarray  # int32 [B, T]
    suffix_positions: np.ndarray  # int32 [B, T]
    suffix_targets: np.ndarray  # int32 [B, T]; -1 = no loss here


def suffix_length(example: Example) -> int:
    return 2 + len(example.written) if example.written is not None else 2


def collate(examples: Sequence[Example], prefix: int, rows: int, suffix: int, size: int = 0) -> Batch:
    """Pad examples to P=prefix, N=rows, T=suffix, and with empty examples to B=size where that is more."""
    count = max(size, len(examples))
    batch = Batch(
        np.full((count, prefix), PAD, np.int32), np.full((count, rows, 3), NO_SITE, np.int32),
        np.zeros((count, rows), bool), np.full((count, suffix), PAD, np.int32),
        np.zeros((count, suffix), np.int32), np.full((count, suffix), -1, np.int32),
    )  # fmt: skip
    for i, example in enumerate(examples):
        batch.prefix[i, : len(example.tokens)] = example.tokens
        batch.sites[i, : len(example.rows)] = example.rows
        batch.site_target[i, example.correct] = True
        if example.written is not None:
            start, end = example.span
            written, length = example.written, 2 + len(example.written)
            batch.suffix[i, :2] = EDIT, UNTIL
            batch.suffix[i, 2:length] = written
            batch.suffix_positions[i, :2] = start, end
            batch.suffix_positions[i, 2:length] = np.arange(start, start + len(written))
            batch.suffix_targets[i, 1 : length - 1] = written
            batch.suffix_targets[i, length - 1] = END
    return batch
