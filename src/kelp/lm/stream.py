"""Batches of tokens from a recipe's text, each a pure function of (seed, step).

Tokens made ahead are read at any place (`Shuffled`). A streamed data set is cut into windows of `buffer` documents,
each packed and shuffled for itself (`Windows`). The place in the data set where a window begins is written down, so
that a resumed run reads on from the window of its step; where that is lost, the data set is read again from its start.
Either way an epoch holds every row once.
"""

import json
import logging
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kelp.errors import KelpError
from kelp.lm.ahead import Progress, Tokens, check_made_of, made_of, prepare
from kelp.lm.batch import LMBatch
from kelp.lm.text import DataSection, documents_of, encode, open_hub
from kelp.lm.tokenizer import Tokenizer
from kelp.training.distributed import gather, is_writer
from kelp.training.part import WHOLE, Part

logger = logging.getLogger(__name__)


class Rows:
    """The rows that some documents make, found once, since documents of one row do not see each other.

    Packed, a document longer than a row is cut into pieces, each a document of its own, so that no token is lost.
    Otherwise each row holds one document, and no more of it than fits.
    """

    def __init__(self, texts: Tokens, length: int, packed: bool, tokenizer: Tokenizer) -> None:
        self.texts, self.length, self.tokenizer = texts, length, tokenizer
        sizes, room = np.diff(texts.starts), length - 1  # with one end-of-text token, the last; beside the first
        counts = -(-sizes // room) if packed else np.ones_like(sizes)
        self.document = np.repeat(np.arange(len(sizes)), counts)  # of each piece
        self.part = np.arange(len(self.document)) - np.repeat(np.cumsum(counts) - counts, counts)
        self.lengths = 1 + np.minimum(room, sizes[self.document] - self.part * room)
        pieces = range(len(self.document))
        self.rows: Sequence[Sequence[int]] = pack(self.lengths, length) if packed else [(piece,) for piece in pieces]

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, numbers: Sequence[int], rows: int) -> LMBatch:
        """The rows of these numbers, filled up to `rows` with padding."""
        batch = LMBatch(*(np.zeros((rows, self.length), np.int32) for _ in LMBatch._fields))
        batch.tokens[:] = self.tokenizer.pad
        for row, number in enumerate(numbers):
            at = 0
            for index, piece in enumerate(self.rows[number], start=1):
                place = slice(at, at := at + int(self.lengths[piece]))
                batch.tokens[row, place] = self._piece(piece)
                batch.document[row, place] = index
                batch.position[row, place] = np.arange(self.lengths[piece])
        return batch._replace(bytes=self.tokenizer.widths[batch.tokens])

    def _piece(self, piece: int) -> np.ndarray:
        room, document = self.length - 1, self.document[piece]
        begin = self.texts.starts[document] + 1 + self.part[piece] * room
        text = self.texts.flat[begin : min(begin + room, self.texts.starts[document + 1])]
        ends = np.full(self.lengths[piece], self.tokenizer.end)  # the first, and the last where the text ends
        ends[1 : 1 + len(text)] = text
        return ends


def pack(lengths: Sequence[int] | np.ndarray, size: int) -> list[list[int]]:
    """Rows of pieces: the longest that is left, then each time the longest that still fits (arXiv 2404.10830).

    Pieces of one length are taken in random order, always the same.
    """
    waiting: dict[int, list[int]] = {}
    for piece in np.random.default_rng(0).permutation(len(lengths)):
        waiting.setdefault(int(lengths[piece]), []).append(int(piece))
    there, rows = sorted(waiting), list[list[int]]()
    while there:
        row, space = list[int](), size
        while at := bisect_right(there, space):
            length = there[at - 1]
            row.append(waiting[length].pop())
            space -= length
            if not waiting[length]:
                del there[at - 1]
        rows.append(row)
    return rows


class Stream:
    """Batches to train on, and the held-out ones, the same ones for any number of processes."""

    def __init__(
        self,
        section: DataSection,
        tokenizer: Tokenizer,
        *,
        rows: int,
        seed: int = 0,
        progress: Progress = lambda *_: None,
    ) -> None:
        """Batches of `rows` rows. Tokens that are missing are made first. Raises KelpError."""
        self.section, self.tokenizer = section, tokenizer
        self.rows, self.seed = rows, seed
        meta = prepare(section, tokenizer, progress)
        self.origin = {key: meta[key] for key in ("origin", "train", "valid")}  # JSON: sources, and amounts of text
        logger.info("data: %s", json.dumps(self.origin))
        self.valid = self._rows(Tokens.read(section.folder, "valid").first(section.valid_documents))
        self._tokens = self._places = 0  # since the last report
        self._since = time.monotonic()

    @staticmethod
    def open(section: DataSection, tokenizer: Tokenizer, **options: Any) -> "Stream":
        """The stream of a recipe; `options` are the constructor's. Raises KelpError."""
        return (Windows if section.streaming else Shuffled)(section, tokenizer, **options)

    @property
    def tokenizer_files(self) -> tuple[Path, ...]:
        """The tokenizer of these tokens, with its special tokens."""
        return (self.section.folder / "tokenizer.json",)

    def batch(self, step: int, part: Part = WHOLE) -> LMBatch:
        """A part of the rows of a step, counted from 0. Raises KelpError."""
        own = part.rows(self.rows)
        batch = self._batch([step * self.rows + row for row in own if row < self.rows], len(own))
        self._tokens += int((batch.document > 0).sum())
        self._places += batch.document.size
        return batch

    def _batch(self, numbers: list[int], rows: int) -> LMBatch:
        """The rows of these numbers, which rise, filled up to `rows` with padding."""
        raise NotImplementedError

    def valid_batches(self, part: Part = WHOLE) -> Iterator[LMBatch]:
        """A part of the held-out rows, each once; the last batch is filled with padding."""
        own = part.rows(self.rows)
        for start in range(0, len(self.valid), self.rows):
            end = min(start + self.rows, len(self.valid))
            yield self.valid.batch([start + row for row in own if start + row < end and row < self.rows], len(own))

    def report(self) -> dict[str, float]:
        """Tokens a second and the share of padding since the last report, of all processes together."""
        tokens, places = map(sum, zip(*gather((self._tokens, self._places))))
        speed, padding = tokens / (time.monotonic() - self._since), 1 - tokens / max(places, 1)
        self._tokens, self._places, self._since = 0, 0, time.monotonic()
        return {"tokens_per_second": speed, "padding": padding}

    def state(self) -> dict[str, Any]:
        """JSON of the newest place that was read, with which `restore` spares reading up to it again."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Read on from a place that `state` gave, where that helps."""

    def _rows(self, texts: Tokens) -> Rows:
        return Rows(texts, self.section.length, self.section.packed, self.tokenizer)


class Shuffled(Stream):
    """Tokens made ahead. Each epoch has an order of its own, the same for any number of processes."""

    def __init__(self, section: DataSection, tokenizer: Tokenizer, **options: Any) -> None:
        super().__init__(section, tokenizer, **options)
        self.train, self._epoch = self._rows(Tokens.read(section.folder, "train")), 0.0
        self._order = lru_cache(2)(lambda epoch: np.random.default_rng((self.seed, epoch)).permutation(len(self.train)))

    def _batch(self, numbers: list[int], rows: int) -> LMBatch:
        if numbers:
            self._epoch = (numbers[-1] // self.rows + 1) * self.rows / len(self.train)
        places = (divmod(row, len(self.train)) for row in numbers)
        return self.train.batch([self._order(epoch)[at] for epoch, at in places], rows)

    def report(self) -> dict[str, float]:
        """The same, and the epochs so far."""
        return super().report() | {"epoch": self._epoch}


class Mark(NamedTuple):
    """Where a window of a stream begins."""

    window: int  # number of the window, from 0
    row: int  # number of its first row
    source: dict[str, Any]  # state of the data set


class Window(NamedTuple):
    """Documents that follow each other in a stream, and the order of their rows."""

    begin: Mark
    rows: Rows
    order: list[int]
    next: Mark


class Windows(Stream):
    """A streamed data set. Each process reads and tokenizes all of it: tokens made ahead suit many hosts better."""

    def __init__(self, section: DataSection, tokenizer: Tokenizer, **options: Any) -> None:
        super().__init__(section, tokenizer, **options)
        self._path = section.folder / "stream.jsonl"
        keys = {"length", "packed", "buffer"}
        wanted = made_of(section, tokenizer) | section.model_dump(mode="json", include=keys)
        text = self._path.read_text() if self._path.exists() else ""
        lines = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
        if not lines:
            lines = [json.dumps({"made_of": wanted, "revision": self.origin["origin"][0]["revision"]}) + "\n"]
        if is_writer():
            self._path.write_text("".join(lines))  # without a line that was cut short
        head, *marks = map(json.loads, lines)
        check_made_of(head["made_of"], wanted, section.folder)
        self._data = open_hub(section, section.sources[0].partition(":")[2], head["revision"])
        self._marks = [Mark(0, 0, self._data.state_dict())]
        self._window: Window | None = None
        self._reading: tuple[Mark, Iterator[Any]] | None = None  # where the data set is read on
        self._left = 1.0  # share of the window
        for mark in marks:
            self.restore(mark)

    def _batch(self, numbers: list[int], rows: int) -> LMBatch:
        parts, at = list[LMBatch](), 0
        while at < len(numbers):
            window = self._holding(numbers[at])
            chosen = [window.order[row - window.begin.row] for row in numbers[at:] if row < window.next.row]
            at += len(chosen)
            parts.append(window.rows.batch(chosen, len(chosen)))
            self._left = 1 - (numbers[at - 1] + 1 - window.begin.row) / len(window.order)
        parts.append(self.valid.batch([], rows - len(numbers)))
        return LMBatch(*map(np.concatenate, zip(*parts)))

    def _holding(self, row: int) -> Window:
        """The window that holds a row, read anew unless it is the last one read."""
        mark = self._marks[bisect_right(self._marks, row, key=lambda mark: mark.row) - 1]
        while True:
            if self._window is None or self._window.begin != mark:
                self._window = self._read(mark)
            if row < self._window.next.row:
                return self._window
            mark = self._window.next

    def _read(self, mark: Mark) -> Window:
        if self._reading is None or self._reading[0] != mark:
            self._data.load_state_dict(mark.source)
            self._reading = mark, iter(self._data)
        found = documents_of(self._reading[1], self.section.sources[0], self.section)
        train = islice((document for document in found if not document.valid), self.section.buffer)
        texts = [tokens for tokens, _ in encode(train, self.tokenizer)]
        at_end = len(texts) < self.section.buffer
        if at_end and mark.row == 0 and not texts:
            raise KelpError(f"{self.section.sources[0]} holds no text to train on")
        rows = self._rows(Tokens.of(texts, self.tokenizer.end))
        order = np.random.default_rng((self.seed, mark.window)).permutation(len(rows)).tolist()
        source = self._marks[0].source if at_end else self._data.state_dict()
        after = Mark(mark.window + 1, mark.row + len(rows), source)
        self._reading = None if at_end else (after, self._reading[1])
        if after.window > self._marks[-1].window:
            self.restore(after._asdict())
            if is_writer():
                with self._path.open("a") as file:
                    file.write(json.dumps(after._asdict()) + "\n")
        return Window(mark, rows, order, after)

    def state(self) -> dict[str, Any]:
        return self._marks[-1]._asdict()

    def restore(self, state: dict[str, Any]) -> None:
        if state and state["window"] > self._marks[-1].window:
            self._marks.append(Mark(**state))

    def report(self) -> dict[str, float]:
        """The same, the window, and the share of its rows that are left."""
        window = self._window.begin.window if self._window else 0
        return super().report() | {"window": float(window), "buffer": self._left}
