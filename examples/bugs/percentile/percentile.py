"""Response times: what most users see, and what the unlucky ones do."""

from collections.abc import Sequence


def percentile(times: Sequence[float], percent: int) -> float:
    """The smallest of the times that at least so many percent of them do not exceed (nearest rank).

    The percentile 0 is the shortest time, 100 the longest.
    """
    if not times:
        raise ValueError("no times")
    if not 0 <= percent <= 100:
        raise ValueError(f"percent must be from 0 to 100, got {percent}")
    rank = -(-percent * len(times) // 100)
    return sorted(times)[max(rank, 0) - 1]


def report(times: Sequence[float], percents: Sequence[int] = (50, 95, 99)) -> str:
    """One line for the dashboard: "p50 12 ms, p95 80 ms, p99 93 ms"."""
    if not times:
        return "no requests"
    return ", ".join(f"p{percent} {percentile(times, percent):.0f} ms" for percent in percents)


def meets(times: Sequence[float], objective: dict[int, float]) -> bool:
    """Whether every percentile of the objective stays within its time; without requests it does."""
    return not times or all(percentile(times, percent) <= limit for percent, limit in objective.items())
