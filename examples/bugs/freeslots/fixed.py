"""Free time between appointments."""

from collections.abc import Iterable
from datetime import datetime, timedelta

Slot = tuple[datetime, datetime]


def free_slots(busy: Iterable[Slot], start: datetime, end: datetime, minimum: timedelta) -> list[Slot]:
    """The gaps of at least `minimum` between appointments, from start to end.

    Appointments may come in any order, may overlap, and may lie outside of these hours.
    """
    if end <= start:
        raise ValueError("the end must come after the start")
    slots = []
    free_from = start
    for begins, ends in sorted(busy):
        if ends <= start or begins >= end:
            continue
        if begins - free_from >= minimum:
            slots.append((free_from, begins))
        free_from = max(free_from, ends)
    if end - free_from >= minimum:
        slots.append((free_from, end))
    return slots


def first_meeting(busy: Iterable[Slot], start: datetime, end: datetime, length: timedelta) -> Slot | None:
    """The earliest time for a meeting of this length; None if the day is full."""
    for begins, _ in free_slots(busy, start, end, length):
        return begins, begins + length
    return None
