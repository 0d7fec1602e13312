"""Examples on disk, and batches from them as a pure function of (seed, step).

A shard is an ArrayRecord file, from which Grain reads any example, with the lengths of its examples beside it.
"""

import json
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from kelp.data.record import DataError
from kelp.encoding.batch import MASKING_ROOM, Batch, Example, SpanText, collate, mask_spans
from kelp.encoding.folder import read_encoding
from kelp.encoding.vocabulary import replaceable
from kelp.files import atomic
from kelp.training.part import WHOLE, Part

NUMBERS = np.dtype("<u4")  # of a shard: wide enough for any vocabulary; recorded in meta.json
MAX_ROW_LENGTHS = 12  # each is one compilation of the training step
MAX_PADDING_SHARE = 0.1  # of a batch's tokens: no more row lengths than it takes to stay below it
EXAMPLES_PER_LENGTH = 5_000  # per row length at least: a compilation takes as long as a hundred steps
LENGTH_STEP = 8  # tokens; row lengths are multiples of it
CURRICULUM_WINDOW = 5_000  # examples shuffled among each other where they come in the order of a curriculum


def save_shard(examples: Sequence[Example], path: Path) -> None:
    """Write examples to `path`, and their lengths beside it; atomic."""
    from array_record.python.array_record_module import ArrayRecordWriter

    with atomic(path) as new:
        writer = ArrayRecordWriter(str(new), "group_size:1")  # as Grain wants it: each can be read alone
        for example in examples:
            writer.write(pack(example))
        writer.close()
        lengths = [(len(e.tokens), e.suffix, len(e.rows)) for e in examples]
        with path.with_suffix(".npy").open("wb") as file:  # first, so that a shard always has its lengths
            np.save(file, np.asarray(lengths, NUMBERS).reshape(-1, 3))


def pack(example: Example) -> bytes:
    """An example as `NUMBERS`: how many parts, how long they are, the parts. Raises DataError where one is too wide."""
    edits = [(start, end, *text) for start, end, text in example.edits]
    parts = [example.tokens, np.asarray(example.rows).ravel(), example.correct, *edits]
    header = [len(parts), *map(len, parts)]
    numbers = np.concatenate([np.asarray(part, np.int64) for part in (header, *parts)])
    if numbers.min() < 0 or numbers.max() > np.iinfo(NUMBERS).max:
        raise DataError(f"an example holds a number outside 0 to {np.iinfo(NUMBERS).max}: no shard can store it")
    return numbers.astype(NUMBERS).tobytes()


def unpack(data: bytes) -> Example:
    """The example that `pack` turned into these bytes."""
    numbers = np.frombuffer(data, NUMBERS)
    begin, count = 1 + int(numbers[0]), int(numbers[0])
    tokens, rows, correct, *edits = np.split(numbers[begin:], np.cumsum(numbers[1:begin])[: count - 1])
    return Example(
        tokens, rows.reshape(-1, 3), correct, tuple(SpanText(int(edit[0]), int(edit[1]), edit[2:]) for edit in edits)
    )


class Shard:
    """The examples of some shard files, by index, read from disk one by one."""

    def __init__(self, paths: Sequence[Path]) -> None:
        from grain.sources import ArrayRecordDataSource

        lengths = [np.zeros((0, 3), NUMBERS)]
        self.starts = [0]  # of each file
        self.paths = paths
        for path in paths:
            try:
                lengths.append(np.load(path.with_suffix(".npy")))
            except (OSError, ValueError) as error:
                raise _damaged(path, error) from None
            self.starts.append(self.starts[-1] + len(lengths[-1]))
        self.prefixes, self.suffixes, self.rows = np.concatenate(lengths).astype(np.int64).T
        try:
            self.records = ArrayRecordDataSource([str(path) for path in paths]) if paths else []
        except RuntimeError as error:
            raise _damaged(next(filter(_unreadable, paths)), error) from None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each example, prefix and suffix."""
        return self.prefixes + self.suffixes

    def __getitem__(self, index: int) -> Example:
        try:
            return unpack(self.records[index])
        except (RuntimeError, IndexError) as error:
            raise _damaged(self.paths[int(np.searchsorted(self.starts, index, side="right")) - 1], error) from None


def _unreadable(path: Path) -> bool:
    from grain.sources import ArrayRecordDataSource

    try:
        ArrayRecordDataSource([str(path)])
        return False
    except RuntimeError:
        return True


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"the shard {path} cannot be read ({str(error).splitlines()[0]}); delete it and build again")


def read_meta(folder: Path) -> dict[str, Any]:
    """The content of meta.json. Raises DataError."""
    try:
        meta: dict[str, Any] = json.loads((folder / "meta.json").read_text())
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} holds no training data ({error})") from None
    return meta


class Shards:
    """A folder of shards: train-*.array_record, valid-*.array_record, meta.json, and the encoding's two files."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.meta = read_meta(self.folder)
        encoding = read_encoding(self.folder)
        if self.meta.get("numbers") != NUMBERS.str:
            raise DataError(
                f"{folder} stores numbers as {self.meta.get('numbers')!r}, not {NUMBERS.str!r}; make it again"
            )
        self.special, self.vocab_size, self.site_kinds = encoding.special, encoding.vocabulary, len(encoding.kinds)
        self._replaceable = replaceable(encoding.kinds)
        self._epoch = lru_cache(2)(self._plan)

    @cached_property
    def train(self) -> Shard:
        paths = sorted(self.folder.glob("train-*.array_record"))
        if not paths:
            raise DataError(f"{self.folder} holds no shards; build its data again")
        return Shard(paths)

    @cached_property
    def valid(self) -> Shard:
        return Shard(sorted(self.folder.glob("valid-*.array_record")))

    @cached_property
    def row_lengths(self) -> list[int]:
        return row_lengths(np.concatenate([self.train.lengths, self.valid.lengths]))

    @cached_property
    def buckets(self) -> list["Bucket"]:
        return buckets(self.train, self.row_lengths)

    def batch(
        self, step: int, part: Part = WHOLE, *, seed: int, tokens_per_batch: int, span_masking: float = 0.0
    ) -> Batch:
        """A part of a training step's batch: each epoch goes once through the examples, in an order of its own.

        `span_masking` is the share of examples that have spans masked, which the suffix restores too.
        """
        # Grain's own shuffling and batching know no rows of several lengths, or only as a stream whose state has to
        # be saved. Here any step's batch is known from its number; the loop has Grain map the numbers to batches.
        epoch, at = divmod(step, self.epoch_steps(tokens_per_batch))
        bucket, chosen = self._epoch(seed, epoch, tokens_per_batch)[at]
        own, length = part.rows(len(chosen)), bucket.length
        numbers = [row for row in own if row < len(chosen)]
        examples = [self.train[int(chosen[row])] for row in numbers]
        if span_masking:
            length += MASKING_ROOM
            for i, row in enumerate(numbers):
                rng = np.random.default_rng((seed, step, 1, row))
                if rng.random() < span_masking:
                    room = length - len(examples[i].tokens) - examples[i].suffix
                    examples[i] = mask_spans(examples[i], self.special, self._replaceable, rng, room)
        return collate(examples, self.special, length, bucket.rows, len(own))

    def _plan(self, seed: int, epoch: int, tokens_per_batch: int) -> list[tuple["Bucket", np.ndarray]]:
        """The batches of an epoch: which examples of which bucket."""
        turn = np.random.default_rng((seed, epoch)).random(len(self.train))
        if epoch == 0 and self.meta["config"].get("curriculum", "constant") != "constant":
            turn = np.arange(len(turn)) + CURRICULUM_WINDOW * turn
        plan: list[tuple[float, Bucket, np.ndarray]] = []
        for bucket in self.buckets:
            size = bucket.batch_size(tokens_per_batch)
            members = bucket.members[np.argsort(turn[bucket.members], kind="stable")]
            # A bucket that fills no batch repeats itself.
            chunks = np.resize(members, (max(1, len(members) // size), size))
            plan += [(float(turn[chunk].mean()), bucket, chunk) for chunk in chunks]
        plan.sort(key=lambda planned: planned[0])
        return [(bucket, chunk) for _, bucket, chunk in plan]

    def epoch_steps(self, tokens_per_batch: int) -> int:
        """Batches of one pass over the data."""
        return sum(max(1, len(b.members) // b.batch_size(tokens_per_batch)) for b in self.buckets)

    def valid_batches(self, part: Part = WHOLE, tokens_per_batch: int = 8192) -> Iterator[Batch]:
        """The held-out examples, each once; the last batch of a shape is filled up with empty ones."""
        for bucket in buckets(self.valid, self.row_lengths):
            size = bucket.batch_size(tokens_per_batch)
            for start in range(0, len(bucket.members), size):
                own = part.rows(size)
                chosen = [bucket.members[start + row] for row in own if row < min(size, len(bucket.members) - start)]
                examples = [self.valid[int(i)] for i in chosen]
                yield collate(examples, self.special, bucket.length, bucket.rows, len(own))


class Bucket:
    """The examples of one shape."""

    def __init__(self, shard: Shard, members: np.ndarray, length: int) -> None:
        self.members, self.length = members, length
        self.rows = -(-int(shard.rows[members].max()) // 32) * 32
        self.padding_share = 1 - float(shard.lengths[members].mean()) / length

    def batch_size(self, tokens_per_batch: int) -> int:
        size = max(1, tokens_per_batch // self.length)
        return size - size % 8 if size > 8 else size


def buckets(shard: Shard, row_lengths: Sequence[int]) -> list[Bucket]:
    """The examples by the shortest row that holds them."""
    shape = np.searchsorted(row_lengths, shard.lengths)
    members = [np.flatnonzero(shape == i) for i in range(len(row_lengths))]
    return [Bucket(shard, some, length) for some, length in zip(members, row_lengths) if len(some)]


def row_lengths(lengths: np.ndarray, padding_share: float = MAX_PADDING_SHARE) -> list[int]:
    """The fewest row lengths with at most this share of padding; `MAX_ROW_LENGTHS` at most, with the least padding.

    Dynamic programming: the best k lengths end with the longest example, after the best k - 1 for shorter ones.
    """
    if not len(lengths):
        return []
    counts = np.cumsum(np.bincount(-(-lengths // LENGTH_STEP)))  # of examples in so many steps
    tops = LENGTH_STEP * np.arange(len(counts))
    # tokens[i, j]: of all rows of length tops[j], which hold the examples longer than tops[i]
    tokens = np.where(tops[:, None] <= tops, (counts - counts[:, None]) * tops, np.iinfo(np.int64).max // 2)
    fewest, before = tokens[0], list[np.ndarray]()
    most = min(MAX_ROW_LENGTHS, 1 + len(lengths) // EXAMPLES_PER_LENGTH)
    while fewest[-1] * (1 - padding_share) > lengths.sum() and len(before) + 1 < most:
        more = fewest[:, None] + tokens  # with one length more, or with the same
        before.append(more.argmin(axis=0))
        fewest = more.min(axis=0)
    at, found = len(tops) - 1, [int(tops[-1])]
    for choice in reversed(before):
        at = int(choice[at])
        found.append(int(tops[at]))
    return sorted(set(found) - {0})
