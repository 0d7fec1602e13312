"""A small cache whose entries expire."""

import time
from collections.abc import Callable, Hashable
from typing import Any


class TTLCache:
    """Keeps up to `size` entries, each for `ttl` seconds after it was last written.

    When it is full, the entry that was written longest ago makes room.
    """

    def __init__(self, size: int, ttl: float, clock: Callable[[], float] = time.monotonic) -> None:
        if size < 1:
            raise ValueError(f"size must be at least 1, got {size}")
        self.size, self.ttl, self._clock = size, ttl, clock
        self._entries: dict[Hashable, tuple[Any, float]] = {}  # in the order in which they were written

    def put(self, key: Hashable, value: Any) -> None:
        """Write an entry, new or not."""
        self._entries.pop(key, None)
        self._entries[key] = (value, self._clock() + self.ttl)
        while len(self._entries) > self.size:
            oldest = next(iter(self._entries))
            del self._entries[oldest]

    def get(self, key: Hashable, default: Any = None) -> Any:
        """The value of an entry that has not expired, else the default."""
        if key not in self._entries:
            return default
        value, expires = self._entries[key]
        if self._clock() >= expires:
            del self._entries[key]
            return default
        return value

    def __len__(self) -> int:
        return len(self._entries)
