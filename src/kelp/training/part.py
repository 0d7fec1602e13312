"""Part of a batch that one process makes; free of JAX, so that data is made without it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """Rows of a batch that one process makes: some of `parts` parts of equal size, in which empty rows fill the end.

    Each block of devices that share rows has one part. The whole batch is one part of one.
    """

    numbers: tuple[int, ...] = (0,)  # of the parts, rising
    parts: int = 1

    def rows(self, count: int) -> list[int]:
        """Numbers of these rows, in a batch of `count`; numbers from `count` on, at the end, stand for empty rows."""
        size = -(-count // self.parts)
        return [row for part in self.numbers for row in range(part * size, (part + 1) * size)]


WHOLE = Part()
