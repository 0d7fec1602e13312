"""Daily figures of weather stations."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass
class Summary:
    """Lowest and highest reading of a station, and how many there were."""

    low: float
    high: float
    readings: int

    @property
    def spread(self) -> float:
        return self.high - self.low


def summarise(readings: Iterable[tuple[str, float | None]]) -> dict[str, Summary]:
    """The summary of each station, in the order in which they first report. None is a reading that failed.

    A station of which every reading failed is left out.
    """
    summaries: dict[str, Summary] = {}
    for station, value in readings:
        if value is None:
            continue
        if station not in summaries:
            summaries[station] = Summary(float("inf"), 0.0, 0)
        summary = summaries[station]
        summary.low = min(summary.low, value)
        summary.high = max(summary.high, value)
        summary.readings += 1
    return summaries


def frosty(readings: Iterable[tuple[str, float | None]]) -> list[str]:
    """The stations where it froze all day, by name."""
    return sorted(name for name, summary in summarise(readings).items() if summary.high < 0)
