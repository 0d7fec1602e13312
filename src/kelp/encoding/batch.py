"""Examples as arrays, and batches of them in a few fixed shapes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from kelp.encoding.vocabulary import PADDING, STOP, SpecialTokens

Ids = Sequence[int] | np.ndarray

MAX_PREFIX = 1280  # tokens of an example
MAX_SUFFIX = 48  # tokens of its edits and masked spans together
MAX_SPAN = 24  # tokens of a masked span
MAX_MASKED_SHARE = 0.25  # of a program's tokens
MAX_MASKED = 32  # suffix tokens of masked spans
MASKING_ROOM = 8  # tokens by which rows are longer where spans are masked: each <mask> takes three


class SpanText(NamedTuple):
    """A text to write in place of a span: rotary positions of the span's start and end, and the text's tokens."""

    start: int
    end: int
    tokens: Ids


@dataclass(frozen=True)
class Example:
    """One state and its correct answers: every row that begins a shortest path, and the edits there that write."""

    tokens: Ids  # the prefix
    rows: Sequence[tuple[int, int, int]] | np.ndarray  # sites: first token, last token, kind; row 0 is stop
    correct: Ids  # rows
    edits: tuple[SpanText, ...] = ()  # none where the answer is stop or a deletion
    masked: tuple[SpanText, ...] = ()  # the text that each <mask> replaces

    @property
    def suffix(self) -> int:
        """Tokens of the suffix."""
        return sum(2 + len(span.tokens) for span in (*self.edits, *self.masked))


class Batch(NamedTuple):
    """B examples, padded at the right to S tokens: the prefix and, right after it, the suffix of up to T tokens.

    A suffix is one or more segments, each `<edit> <until> w1 .. wn`, which attend to the prefix and themselves. Edits
    have the segments 2, 3, ..., masked spans -1, -2, ..., padding 0.
    """

    tokens: np.ndarray  # int32 [B, S]
    positions: np.ndarray  # int32 [B, S]; rotary
    segments: np.ndarray  # int32 [B, S]; 1 = prefix, 0 = padding
    sites: np.ndarray  # int32 [B, N, 3]; kind 0 = padding
    site_target: np.ndarray  # bool [B, N]
    suffix: np.ndarray  # int32 [B, T]; places of its tokens in S
    targets: np.ndarray  # int32 [B, T]; the token after each of them; -1 = no loss here


def collate(examples: Sequence[Example], special: SpecialTokens, length: int, rows: int, size: int = 0) -> Batch:
    """Pad examples to S=length, N=rows, T=MAX_SUFFIX, and with empty examples to B=size where that is more."""
    count = max(size, len(examples))
    batch = Batch(
        tokens=np.full((count, length), special.pad, np.int32),
        positions=np.zeros((count, length), np.int32),
        segments=np.zeros((count, length), np.int32),
        sites=np.full((count, rows, 3), PADDING, np.int32),
        site_target=np.zeros((count, rows), bool),
        suffix=np.zeros((count, MAX_SUFFIX), np.int32),
        targets=np.full((count, MAX_SUFFIX), -1, np.int32),
    )
    batch.sites[len(examples) :, 0, 2] = STOP  # the one site and answer of an empty example, so that its loss is finite
    batch.site_target[len(examples) :, 0] = True
    for i, example in enumerate(examples):
        prefix = len(example.tokens)
        batch.tokens[i, :prefix] = example.tokens
        batch.positions[i, :prefix] = np.arange(prefix)
        batch.segments[i, :prefix] = 1
        batch.sites[i, : len(example.rows)] = example.rows
        batch.site_target[i, example.correct] = True
        batch.suffix[i, : example.suffix] = np.arange(prefix, prefix + example.suffix)
        edits = enumerate(example.edits, start=2)
        masked = ((-n, span) for n, span in enumerate(example.masked, start=1))
        at = prefix
        for segment, (start, end, text) in (*edits, *masked):
            here = slice(at, at + 2 + len(text))
            batch.tokens[i, here] = special.edit, special.until, *text
            batch.positions[i, here] = start, end, *range(start, start + len(text))
            batch.segments[i, here] = segment
            batch.targets[i, here.start - prefix : here.stop - prefix] = -1, *text, special.end
            at = here.stop
    return batch


def mask_spans(
    example: Example, special: SpecialTokens, replaceable: Sequence[bool], rng: np.random.Generator, room: int
) -> Example:
    """The example with one <mask> in place of each of some subtrees, whose texts the suffix restores as well.

    Span corruption (Raffel et al. 2020, arXiv 1910.10683, 3.1.4) over the nodes of the tree: a denoising loss that
    is dense where the tokens of edits are few. The span of an edit stays as it is. `replaceable[kind]` is true for a
    kind of site that may be masked. The example grows by `room` tokens at most, three for each <mask>.
    """
    rows = np.asarray(example.rows, np.int64)
    first, last, kind = rows.T
    node = np.asarray(replaceable)[kind] & (kind > STOP)
    length = last - first + 1
    taken = np.zeros(len(example.tokens) + 1, bool)
    for row in np.asarray(example.correct, np.int64):
        taken[first[row] : last[row] + 1] = True
    taken[:-1] |= np.asarray(example.tokens) == special.doc  # no edit writes it
    candidates = np.flatnonzero(node & (length <= MAX_SPAN))
    # Drawn in proportion to their length, without replacement (Efraimidis and Spirakis 2006).
    candidates = candidates[np.argsort(-(rng.random(len(candidates)) ** (1 / length[candidates])), kind="stable")]
    suffix, left = (
        min(MAX_MASKED, MAX_SUFFIX - example.suffix),
        int(MAX_MASKED_SHARE * (len(example.tokens) - first[0])),
    )
    spans: list[tuple[int, int]] = []
    for row in candidates:
        a, b, n = int(first[row]), int(last[row]), int(length[row])
        if room < 3:
            break
        if n + 2 <= suffix and n <= left and not taken[a : b + 1].any():
            # its neighbors too: sites between two masks would have no token
            taken[max(0, a - 1) : b + 2] = True
            spans.append((a, b))
            room, suffix, left = room - 3, suffix - n - 2, left - n
    if not spans:
        return example
    tokens = np.asarray(example.tokens)
    spans.sort()
    kept = np.ones(len(tokens), bool)
    inside = np.zeros(len(tokens) + 1, np.int64)  # the masked span that a token lies in, counted from 1
    for n, (a, b) in enumerate(spans, start=1):
        kept[a + 1 : b + 1] = False
        inside[a : b + 1] = n
    moved = np.cumsum([*kept, True]) - 1  # the new index of each token; of a masked one, its mask's
    shown = tokens.copy()
    shown[[a for a, _ in spans]] = special.mask
    hidden = (inside[first] > 0) & (inside[first] == inside[last])
    whole = np.isin(first, [a for a, _ in spans]) & np.isin(last, [b for _, b in spans])
    stay = ~hidden | (whole & node)
    number = np.cumsum(stay) - 1
    new_rows = np.stack([moved[first], moved[last], kind], axis=1)[stay]
    return replace(
        example,
        tokens=shown[kept],
        rows=new_rows,
        correct=number[np.asarray(example.correct, np.int64)],
        edits=tuple(
            SpanText(int(moved[start]), int(moved[end - 1]) + 1 if end > start else int(moved[start]), text)
            for start, end, text in example.edits
        ),
        masked=tuple(SpanText(int(moved[a]), int(moved[a]) + 1, tokens[a : b + 1]) for a, b in spans),
    )
