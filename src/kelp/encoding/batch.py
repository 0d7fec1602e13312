"""Examples as arrays, and batches of them in a few fixed shapes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from kelp.encoding.vocabulary import DOC, EDIT, END, MASK, NO_SITE, PAD, UNTIL

Numbers = Sequence[int] | np.ndarray

LONGEST_PREFIX = 1280  # tokens of an example
SUFFIX = 48  # tokens that its edits and masked places may take together
LONGEST_HOLE = 24  # tokens masked in one place
MASKED = 0.25  # of a program's tokens, at most
INFILL = 32  # suffix tokens of masked places, at most


class Segment(NamedTuple):
    """A text to be written: rotary positions of the start and the end of its span, and its tokens."""

    start: int
    end: int
    written: Numbers


@dataclass(frozen=True)
class Example:
    """One state and its correct answers: every row that begins a shortest path, and the edits there that write."""

    tokens: Numbers  # the prefix
    rows: Sequence[tuple[int, int, int]] | np.ndarray  # sites: first token, last token, kind; row 0 is stop
    correct: Numbers  # rows
    edits: tuple[Segment, ...] = ()  # none where nothing is to be written (stop, delete)
    holes: tuple[Segment, ...] = ()  # what a <mask> stands for

    @property
    def suffix(self) -> int:
        """Tokens of the suffix."""
        return sum(2 + len(segment.written) for segment in (*self.edits, *self.holes))


class Batch(NamedTuple):
    """B examples, padded at the right to S tokens: the prefix and, right behind it, the suffix, of up to T tokens.

    A suffix is one or more segments, each `<edit> <until> w1 .. wn`, which see the prefix and themselves: those of
    edits are numbered from 2 on, those that fill in masked places from -1 down.
    """

    tokens: np.ndarray  # int32 [B, S]; 0 = padding
    positions: np.ndarray  # int32 [B, S]; rotary
    segments: np.ndarray  # int32 [B, S]; 1 = prefix, 0 = padding
    sites: np.ndarray  # int32 [B, N, 3]; kind 0 = padding
    site_target: np.ndarray  # bool [B, N]
    suffix: np.ndarray  # int32 [B, T]; where in S its tokens are
    targets: np.ndarray  # int32 [B, T]; what follows each of them; -1 = no loss here


def collate(examples: Sequence[Example], length: int, rows: int, size: int = 0) -> Batch:
    """Pad examples to S=length, N=rows, T=SUFFIX, and with empty examples to B=size where that is more."""
    count = max(size, len(examples))
    batch = Batch(
        np.full((count, length), PAD, np.int32), np.zeros((count, length), np.int32),
        np.zeros((count, length), np.int32), np.full((count, rows, 3), NO_SITE, np.int32),
        np.zeros((count, rows), bool), np.zeros((count, SUFFIX), np.int32), np.full((count, SUFFIX), -1, np.int32),
    )  # fmt: skip
    for i, example in enumerate(examples):
        prefix = len(example.tokens)
        batch.tokens[i, :prefix] = example.tokens
        batch.positions[i, :prefix] = np.arange(prefix)
        batch.segments[i, :prefix] = 1
        batch.sites[i, : len(example.rows)] = example.rows
        batch.site_target[i, example.correct] = True
        batch.suffix[i, : example.suffix] = np.arange(prefix, prefix + example.suffix)
        numbered = [*enumerate(example.edits, start=2), *((-n, hole) for n, hole in enumerate(example.holes, start=1))]
        at = prefix
        for segment, (start, end, written) in numbered:
            here = slice(at, at + 2 + len(written))
            batch.tokens[i, here] = EDIT, UNTIL, *written
            batch.positions[i, here] = start, end, *range(start, start + len(written))
            batch.segments[i, here] = segment
            batch.targets[i, here.start - prefix : here.stop - prefix] = -1, *written, END
            at = here.stop
    return batch


def masked(example: Example, replaceable: int, rng: np.random.Generator, room: int) -> Example:
    """The example with one <mask> in place of each of some subtrees, which are to be filled in as well.

    Span corruption (Raffel et al. 2020, arXiv 1910.10683, 3.1.4) over the nodes of the tree: a denoising loss that
    is dense where the tokens of edits are few. What an edit replaces stays as it is. `replaceable` is the first
    kind of site that is not replaced; the example grows by `room` tokens at most, three for each <mask>.
    """
    rows = np.asarray(example.rows, np.int64)
    first, last, kind = rows.T
    length = last - first + 1
    taken = np.zeros(len(example.tokens) + 1, bool)
    for row in np.asarray(example.correct, np.int64):
        taken[first[row] : last[row] + 1] = True
    taken[:-1] |= np.asarray(example.tokens) == DOC  # what no edit writes
    candidates = np.flatnonzero((kind > 1) & (kind < replaceable) & (length <= LONGEST_HOLE))
    # Drawn in proportion to their length, without replacement (Efraimidis and Spirakis 2006).
    candidates = candidates[np.argsort(-(rng.random(len(candidates)) ** (1 / length[candidates])), kind="stable")]
    suffix, left = min(INFILL, SUFFIX - example.suffix), int(MASKED * (len(example.tokens) - first[0]))
    holes: list[tuple[int, int]] = []
    for row in candidates:
        a, b, n = int(first[row]), int(last[row]), int(length[row])
        if room < 3:
            break
        if n + 2 <= suffix and n <= left and not taken[a : b + 1].any():
            # its neighbours are taken too: the sites between two masks would lie nowhere
            taken[max(0, a - 1) : b + 2] = True
            holes.append((a, b))
            room, suffix, left = room - 3, suffix - n - 2, left - n
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
    return replace(
        example,
        tokens=shown[kept],
        rows=new_rows,
        correct=number[np.asarray(example.correct, np.int64)],
        edits=tuple(
            Segment(int(moved[start]), int(moved[end - 1]) + 1 if end > start else int(moved[start]), written)
            for start, end, written in example.edits
        ),
        holes=tuple(Segment(int(moved[a]), int(moved[a]) + 1, tokens[a : b + 1]) for a, b in holes),
    )
