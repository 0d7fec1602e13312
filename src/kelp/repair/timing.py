"""Timings of the phases of a command or a session."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Timings:
    """Seconds by phase, in the order in which they began; phases that run side by side overlap."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        began = time.monotonic()
        self.seconds.setdefault(phase, 0.0)
        try:
            yield
        finally:
            self.seconds[phase] += time.monotonic() - began

    @property
    def total(self) -> float:
        return time.monotonic() - self.began

    def rounded(self) -> dict[str, float]:
        return {phase: round(seconds, 4) for phase, seconds in [*self.seconds.items(), ("total", self.total)]}
