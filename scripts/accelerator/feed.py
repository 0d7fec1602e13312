"""Batches for the accelerator, made by processes that each hold a share of the carried shards. NumPy alone."""

import itertools
import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from travel import load_examples

from kelp.encoding.batch import MASKING_ROOM, Batch, Example, collate, mask_spans
from kelp.encoding.folder import read_encoding
from kelp.encoding.vocabulary import replaceable

AHEAD = 4  # batches that each process makes ahead
TIMEOUT_SECONDS = 120  # for a batch: its process has ended


@dataclass(frozen=True)
class Batching:
    """The shapes of batches: each (length, sites) of `shapes` is one compilation of the training step."""

    folder: Path  # the carried one
    shapes: tuple[tuple[int, int], ...]
    tokens_per_batch: int
    span_masking: float
    seed: int

    def rows(self, length: int) -> int:
        """Examples of a batch; a multiple of 8 where there are more."""
        rows = max(1, self.tokens_per_batch // length)
        return rows - rows % 8 if rows > 8 else rows

    def sort(self, examples: list[Example]) -> list[np.ndarray]:
        """The numbers of the examples of each shape: the shortest that holds them."""
        lengths = [len(example.tokens) + example.suffix for example in examples]
        shape = np.searchsorted([length for length, _ in self.shapes], lengths)
        return [np.flatnonzero(shape == number) for number in range(len(self.shapes))]

    def batches(self, part: str, files: slice, *, forever: bool) -> Iterator[Batch]:
        """Batches of some files' examples in a random order; forever, with new orders and masks in every pass."""
        paths = sorted(self.folder.glob(f"{part}-*.xz"))[files]
        examples = [example for path in paths for example in load_examples(path)]
        encoding = read_encoding(self.folder)
        may_mask, members = replaceable(encoding.kinds), self.sort(examples)
        for epoch in itertools.count() if forever else range(1):
            rng = np.random.default_rng((self.seed, files.start or 0, epoch))
            chunks = []
            for (length, sites), some in zip(self.shapes, members):
                rows, some = self.rows(length), rng.permutation(some)
                if len(some):  # a shape with too few examples for a batch repeats them
                    some = np.resize(some, (max(1, len(some) // rows), rows))
                    chunks += [(length + MASKING_ROOM, sites, chunk) for chunk in some]
            for number in rng.permutation(len(chunks)):
                length, sites, chunk = chunks[number]
                picked = [examples[i] for i in chunk]
                for i, example in enumerate(picked):
                    if forever and rng.random() < self.span_masking:
                        room = length - len(example.tokens) - example.suffix
                        picked[i] = mask_spans(example, encoding.special, may_mask, rng, room)
                yield collate(picked, encoding.special, length, sites)


def feed(batching: Batching, processes: int) -> Iterator[Batch]:
    """Training batches, from each process in turn. The processes end with this one."""
    context = multiprocessing.get_context("spawn")
    processes = min(processes, len(list(batching.folder.glob("train-*.xz"))))
    queues: list[Any] = [context.Queue(AHEAD) for _ in range(processes)]
    for number, queue in enumerate(queues):
        share = slice(number, None, processes)
        context.Process(target=_fill, args=(batching, share, queue), daemon=True).start()
    return (queue.get(timeout=TIMEOUT_SECONDS) for queue in itertools.cycle(queues))


def _fill(batching: Batching, share: slice, queue: Any) -> None:
    for batch in batching.batches("train", share, forever=True):
        queue.put(batch)
