"""Examples on disk, and batches from them as a pure function of (seed, step)."""

import json
import zipfile
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from kelp.data.batch import INFILL, Batch, Example, Numbers, collate, masked
from kelp.data.record import DataError

# (prefix, suffix) shapes: each is one compilation of the training step. An example takes the first that holds it.
BUCKETS = (
    (64, 16), (96, 16), (160, 16), (224, 16), (320, 16), (448, 16), (640, 16),
    (96, 48), (224, 48), (448, 48), (640, 48), (1280, 48),
)  # fmt: skip


def save_shard(examples: Sequence[Example], path: Path) -> None:
    """Write examples as flat arrays with offsets; atomic."""

    def flat(rows: Sequence[Numbers], dtype: type) -> tuple[np.ndarray, np.ndarray]:
        offsets = np.cumsum([0, *map(len, rows)])
        return np.fromiter((x for row in rows for x in row), dtype, offsets[-1]), offsets.astype(np.int64)

    tokens, token_offsets = flat([e.tokens for e in examples], np.uint16)
    correct, correct_offsets = flat([e.correct for e in examples], np.uint16)
    written, written_offsets = flat([e.written or () for e in examples], np.uint16)
    row_offsets = np.cumsum([0, *(len(e.rows) for e in examples)]).astype(np.int64)
    rows = np.concatenate([np.asarray(e.rows, np.uint16) for e in examples])
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez_compressed(
            file, tokens=tokens, token_offsets=token_offsets, correct=correct, correct_offsets=correct_offsets,
            written=written, written_offsets=written_offsets, rows=rows, row_offsets=row_offsets,
            span=np.asarray([e.span for e in examples], np.uint16),
            writes=np.asarray([e.written is not None for e in examples]),
        )  # fmt: skip
    part.replace(path)


class Shard:
    """The examples of some shard files, in memory, by index."""

    def __init__(self, paths: Sequence[Path]) -> None:
        parts = []
        for path in paths:
            try:
                with np.load(path) as file:
                    parts.append({name: file[name] for name in file.files})
            except (OSError, ValueError, zipfile.BadZipFile) as error:
                raise DataError(f"the shard {path} cannot be read ({error}); delete it and build again") from None
        self.arrays: dict[str, np.ndarray] = {}
        for name in parts[0] if parts else ():
            if name.endswith("_offsets"):
                steps = np.concatenate([np.diff(part[name]) for part in parts])
                self.arrays[name] = np.concatenate([[0], np.cumsum(steps)])
            else:
                self.arrays[name] = np.concatenate([part[name] for part in parts])

    def __len__(self) -> int:
        return len(self.arrays["writes"]) if self.arrays else 0

    def lengths(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Prefix tokens, site rows and suffix tokens of each example."""
        a = self.arrays
        return np.diff(a["token_offsets"]), np.diff(a["row_offsets"]), np.diff(a["written_offsets"]) + 2

    def __getitem__(self, index: int) -> Example:
        def part(name: str, offsets: str) -> np.ndarray:
            start, end = self.arrays[offsets][index : index + 2]
            return self.arrays[name][start:end]

        start, end = self.arrays["span"][index]
        return Example(
            part("tokens", "token_offsets"), part("rows", "row_offsets"), part("correct", "correct_offsets"),
            (int(start), int(end)), part("written", "written_offsets") if self.arrays["writes"][index] else None,
        )  # fmt: skip


class Shards:
    """A folder of shards: train-*.npz, valid-*.npz, meta.json, tokenizer.json."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        try:
            self.meta: dict[str, Any] = json.loads((self.folder / "meta.json").read_text())
        except (OSError, ValueError) as error:
            raise DataError(f"{folder} holds no training data ({error})") from None
        self.vocab_size: int = self.meta["vocab_size"]
        self.site_kinds: int = self.meta["site_kinds"]

    @cached_property
    def train(self) -> Shard:
        return Shard(sorted(self.folder.glob("train-*.npz")))

    @cached_property
    def valid(self) -> Shard:
        return Shard(sorted(self.folder.glob("valid-*.npz")))

    @cached_property
    def _buckets(self) -> list["Bucket"]:
        return buckets(self.train)

    def batch(self, step: int, *, seed: int, tokens_per_batch: int, infill: float = 0.0) -> Batch:
        """The batch of a training step: each epoch goes once through the examples, in an order of its own.

        `infill` is the share of examples that have parts masked, which are to be filled in too.
        """
        sizes = [bucket.batch_size(tokens_per_batch) for bucket in self._buckets]
        counts = [max(1, len(b.members) // size) for b, size in zip(self._buckets, sizes)]
        epoch, at = divmod(step, sum(counts))
        order = np.random.default_rng((seed, epoch)).permutation(sum(counts))
        which, chunk = _locate(int(order[at]), counts)
        bucket, size = self._buckets[which], sizes[which]
        members = np.random.default_rng((seed, epoch, which)).permutation(bucket.members)
        chosen = np.resize(members[chunk * size : (chunk + 1) * size], size)  # a small bucket repeats itself
        examples = [self.train[int(i)] for i in chosen]
        if not infill:
            return bucket.collate(examples, size)
        rng, replaceable = np.random.default_rng((seed, step, 1)), 2 + (self.site_kinds - 2) // 3
        examples = [masked(e, replaceable, rng) if rng.random() < infill else e for e in examples]
        return bucket.collate(examples, size, INFILL)

    def epoch_steps(self, tokens_per_batch: int) -> int:
        """Batches of one pass over the data."""
        return sum(max(1, len(b.members) // b.batch_size(tokens_per_batch)) for b in self._buckets)

    def valid_batches(self, tokens_per_batch: int = 8192) -> Iterator[Batch]:
        """The held-out examples, each once; the last batch of a shape is filled up with empty ones."""
        for bucket in buckets(self.valid):
            size = bucket.batch_size(tokens_per_batch)
            for start in range(0, len(bucket.members), size):
                chosen = bucket.members[start : start + size]
                yield bucket.collate([self.valid[int(i)] for i in chosen], size)


class Bucket:
    """The examples of one shape."""

    def __init__(self, members: np.ndarray, prefix: int, rows: int, suffix: int) -> None:
        self.members, self.prefix, self.rows, self.suffix = members, prefix, rows, suffix

    def batch_size(self, tokens_per_batch: int) -> int:
        size = max(1, tokens_per_batch // (self.prefix + self.suffix))
        return size - size % 8 if size > 8 else size

    def collate(self, examples: list[Example], size: int, more: int = 0) -> Batch:
        return collate(examples, self.prefix, self.rows, self.suffix + more, size)


def buckets(shard: Shard) -> list[Bucket]:
    """Sort examples into the shapes of BUCKETS; rare shapes join the next one that holds them."""
    if not len(shard):
        return []
    prefix, rows, suffix = shard.lengths()
    shape = np.full(len(prefix), -1)
    for i, (p, t) in reversed(list(enumerate(BUCKETS))):
        shape[(prefix <= p) & (suffix <= t)] = i
    for i, (p, t) in enumerate(BUCKETS):
        if 0 < (shape == i).sum() < len(shape) * 0.02:
            larger = [j for j in range(i + 1, len(BUCKETS)) if BUCKETS[j][0] >= p and BUCKETS[j][1] >= t]
            used = [j for j in larger if (shape == j).any()]
            if used:
                shape[shape == i] = used[0]
    found = []
    for i, (p, t) in enumerate(BUCKETS):
        members = np.flatnonzero(shape == i)
        if len(members):
            widest = -(-int(rows[members].max()) // 32) * 32
            found.append(Bucket(members, p, widest, t))
    return found


def _locate(index: int, counts: list[int]) -> tuple[int, int]:
    for which, count in enumerate(counts):
        if index < count:
            return which, index
        index -= count
    raise IndexError(index)
