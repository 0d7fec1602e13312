"""Overtime: hours beyond eight a day or forty a week."""

from collections.abc import Sequence
from dataclasses import dataclass

DAILY = 8.0
WEEKLY = 40.0


@dataclass(frozen=True)
class Week:
    """Hours of a week by how they are paid."""

    regular: float
    overtime: float

    def pay(self, rate: float, factor: float = 1.5) -> float:
        return round(self.regular * rate + self.overtime * rate * factor, 2)


def split_hours(days: Sequence[float]) -> Week:
    """Regular hours and overtime of the days of one week.

    What goes beyond DAILY on a day is overtime. Of the other hours of the week, what goes beyond WEEKLY is
    overtime as well; no hour is counted twice.
    """
    if len(days) > 7 or any(not 0 <= hours <= 24 for hours in days):
        raise ValueError(f"not a week of working hours: {list(days)}")
    regular = overtime = 0.0
    for hours in days:
        within_day = min(hours, DAILY)
        within_week = min(within_day, WEEKLY - regular)
        regular += within_week
        overtime += hours - within_week
    return Week(regular, overtime)


def monthly(weeks: Sequence[Sequence[float]]) -> Week:
    """Regular hours and overtime of several weeks, each split by itself."""
    split = [split_hours(days) for days in weeks]
    return Week(sum(week.regular for week in split), sum(week.overtime for week in split))
