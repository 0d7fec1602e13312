"""Events are sent in batches, since every request costs."""

import json
from collections.abc import Callable
from typing import Any


class Batcher:
    """Collects events and hands them on in batches of at most `max_events` events and `max_bytes` bytes.

    The size of an event is that of its compact JSON. An event that is larger than a batch is sent alone.
    """

    def __init__(self, send: Callable[[list[Any]], object], max_events: int = 100, max_bytes: int = 64_000) -> None:
        self._send = send
        self.max_events, self.max_bytes = max_events, max_bytes
        self._waiting: list[Any] = []
        self._bytes = 0

    def accept(self, event: Any) -> None:
        """Take an event; send what is waiting if there would be too much of it."""
        size = len(json.dumps(event, separators=(",", ":")).encode())
        if self._waiting and self._bytes + size > self.max_bytes:
            self.flush()
        self._waiting.append(event)
        self._bytes += size
        if len(self._waiting) >= self.max_events:
            self.flush()

    def flush(self) -> None:
        """Send what is waiting, if anything is."""
        if not self._waiting:
            return
        batch, self._waiting = self._waiting, []
        self._send(batch)

    def __enter__(self) -> "Batcher":
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()
