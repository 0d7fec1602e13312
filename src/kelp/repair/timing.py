"""Where the seconds of a command go."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Timings:
    """Seconds by name, in the order in which they began; parts that run side by side overlap."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        self.seconds.setdefault(name, 0.0)
        try:
            yield
        finally:
            self.seconds[name] += time.monotonic() - began

    @property
    def total(self) -> float:
        return time.monotonic() - self.began

    def rounded(self) -> dict[str, float]:
        return {name: round(seconds, 4) for name, seconds in [*self.seconds.items(), ("total", self.total)]}
