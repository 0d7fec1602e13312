"""Examples as arrays, and batches of them in a few fixed shapes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from kelp.data.vocabulary import DOC, EDIT, END, MASK, NO_SITE, PAD, UNTIL

Numbers = Sequence[int] | np.ndarray

LONGEST_HOLE = 24  # tokens masked in one place
MASKED = 0.25  # of a program's tokens, at most
INFILL = 32  # suffix tokens that the masked places of an example may take together


@dataclass(frozen=True)
class Example:
    """One state and its correct answers: every row that begins a shortest path, and one edit written out."""

    tokens: Numbers  # the prefix
    rows: Sequence[tuple[int, int, int]] | np.ndarray  # sites: first token, last token, kind; row 0 is stop
    correct: Numbers  # rows
    span: tuple[int, int]  # rotary positions of the chosen edit's start and end
    written: Numbers | None  # its text; None where nothing is to be written (stop, delete)
    holes: tuple[tuple[int, Numbers], ...] = ()  # where a <mask> stands for some tokens, and which


class Batch(NamedTuple):
    """B examples, padded at the right. P prefix tokens, N site rows, T suffix tokens.

    A suffix holds one or more segments, each `<edit> <until> w1 .. wn`, which do not see each other: segment 1 is
    the edit, where there is one to write, and those from 2 on fill in the masked places.
    """

    prefix: np.ndarray  # int32 [B, P]; 0 = padding
    sites: np.ndarray  # int32 [B, N, 3]; kind 0 = padding
    site_target: np.ndarray  # bool [B, N]
    suffix: np.ndarray  # int32 [B, T]
    suffix_positions: np.ndarray  # int32 [B, T]
    suffix_targets: np.ndarray  # int32 [B, T]; -1 = no loss here
    suffix_segments: np.ndarray  # int32 [B, T]; 0 = padding


def collate(examples: Sequence[Example], prefix: int, rows: int, suffix: int, size: int = 0) -> Batch:
    """Pad examples to P=prefix, N=rows, T=suffix, and with empty examples to B=size where that is more."""
    count = max(size, len(examples))
    batch = Batch(
        np.full((count, prefix), PAD, np.int32), np.full((count, rows, 3), NO_SITE, np.int32),
        np.zeros((count, rows), bool), np.full((count, suffix), PAD, np.int32),
        np.zeros((count, suffix), np.int32), np.full((count, suffix), -1, np.int32),
        np.zeros((count, suffix), np.int32),
    )  # fmt: skip
    for i, example in enumerate(examples):
        batch.prefix[i, : len(example.tokens)] = example.tokens
        batch.sites[i, : len(example.rows)] = example.rows
        batch.site_target[i, example.correct] = True
        edit = [] if example.written is None else [(1, *example.span, example.written)]
        holes = [(n, start, start + 1, tokens) for n, (start, tokens) in enumerate(example.holes, start=2)]
        at = 0
        for segment, start, end, written in [*edit, *holes]:
            length = 2 + len(written)
            here = slice(at, at + length)
            batch.suffix[i, here] = EDIT, UNTIL, *written
            batch.suffix_positions[i, here] = start, end, *range(start, start + len(written))
            batch.suffix_targets[i, here] = -1, *written, END
            batch.suffix_segments[i, here] = segment
            at += length
    return batch


def masked(example: Example, replaceable: int, rng: np.random.Generator) -> Example:
    """The example with one <mask> in place of each of some subtrees, which are to be filled in as well.

    Span corruption (Raffel et al. 2020, arXiv 1910.10683, 3.1.4) over the nodes of the tree: a denoising loss that
    is dense where the tokens of edits are few. What the edit replaces stays as it is. `replaceable` is the first
    kind of site that is not replaced.
    """
    rows = np.asarray(example.rows, np.int64)
    first, last, kind = rows.T
    length = last - first + 1
    taken = np.zeros(len(example.tokens) + 1, bool)
    for row in np.asarray(example.correct, np.int64):
        taken[first[row] : last[row] + 1] = True
    start, end = example.span
    taken[start:end] = True
    taken[:-1] |= np.asarray(example.tokens) == DOC  # what no edit writes
    candidates = np.flatnonzero((kind > 1) & (kind < replaceable) & (length <= LONGEST_HOLE))
    # Drawn in proportion to their length, without replacement (Efraimidis and Spirakis 2006).
    candidates = candidates[np.argsort(-(rng.random(len(candidates)) ** (1 / length[candidates])), kind="stable")]
    room, left = INFILL, int(MASKED * (len(example.tokens) - first[0]))
    holes: list[tuple[int, int]] = []
    for row in candidates:
        a, b, n = int(first[row]), int(last[row]), int(length[row])
        if n + 2 <= room and n <= left and not taken[a : b + 1].any():
            # its neighbours are taken too: the sites between two masks would lie nowhere
            taken[max(0, a - 1) : b + 2] = True
            holes.append((a, b))
            room, left = room - n - 2, left - n
    if not holes:
        return example
    tokens = np.asarray(example.tokens)
    holes.sort()
    kept = np.ones(len(tokens), bool)
    inside = np.zeros(len(tokens) + 1, np.int64)  # the hole that a token lies in, counted from 1
    for n, (a, b) in enumerate(holes, start=1):
        kept[a + 1 : b + 1] = False
        inside[a : b + 1] = n
    moved = np.cumsum([*kept, True]) - 1  # the new index of each token; of those masked, their mask's
    shown = tokens.copy()
    shown[[a for a, _ in holes]] = MASK
    hidden = (inside[first] > 0) & (inside[first] == inside[last])
    whole = np.isin(first, [a for a, _ in holes]) & np.isin(last, [b for _, b in holes])
    stay = ~hidden | (whole & (kind < replaceable))
    number = np.cumsum(stay) - 1
    new_rows = np.stack([moved[first], moved[last], kind], axis=1)[stay]
    at = (int(moved[start]), int(moved[end - 1]) + 1 if end > start else int(moved[start]))
    return replace(
        example,
        tokens=shown[kept],
        rows=new_rows,
        correct=number[np.asarray(example.correct, np.int64)],
        span=at,
        holes=tuple((int(moved[a]), tokens[a : b + 1]) for a, b in holes),
    )
