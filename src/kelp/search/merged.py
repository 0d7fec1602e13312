"""One iterator of several, in order of priority, some of which may be exchanged on the way."""

import heapq
import itertools
from collections.abc import Iterator, Sequence

from kelp.search.node import Node
from kelp.search.policy import Bound


class Merged(Iterator[Node | Bound]):
    """Merges iterators by priority, the highest first; some may be exchanged on the way."""

    def __init__(self, iterators: Sequence[Iterator[Node | Bound]]) -> None:
        self.numbers = itertools.count()
        self.heads: list[tuple[float, int, Node | Bound, Iterator[Node | Bound]]] = []
        self.last: Iterator[Node | Bound] = iter(())  # whose item was taken last: its next one is made only when asked
        for iterator in iterators:
            self._push(iterator)

    def _push(self, iterator: Iterator[Node | Bound]) -> None:
        if (item := next(iterator, None)) is not None:
            heapq.heappush(self.heads, (-item.priority, next(self.numbers), item, iterator))

    def __next__(self) -> Node | Bound:
        self._push(self.last)
        self.last = iter(())
        if not self.heads:
            raise StopIteration
        *_, item, self.last = heapq.heappop(self.heads)
        return item

    def exchange(self, old: Sequence[Iterator[Node | Bound]], new: Sequence[Iterator[Node | Bound]]) -> None:
        self.heads = [head for head in self.heads if not any(head[-1] is each for each in old)]
        heapq.heapify(self.heads)
        if any(self.last is each for each in old):
            self.last = iter(())
        for iterator in new:
            self._push(iterator)
