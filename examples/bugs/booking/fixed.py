"""Meeting rooms: who has which one, and when."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Booking:
    """A room from `start` up to but not including `end`."""

    room: str
    start: datetime
    end: datetime
    who: str = ""


class Calendar:
    """The bookings of all rooms, none of which overlap."""

    def __init__(self, seats: dict[str, int]) -> None:
        self.seats = dict(seats)
        self._bookings: list[Booking] = []

    def conflicts(self, wanted: Booking) -> list[Booking]:
        """The bookings of the same room that overlap; one may begin when another ends."""
        found = []
        for booking in self._bookings:
            if booking.room != wanted.room:
                continue
            if booking.start < wanted.end and wanted.start < booking.end:
                found.append(booking)
        return found

    def book(self, wanted: Booking) -> None:
        """Take a booking in. Raises ValueError where it cannot be."""
        if wanted.room not in self.seats:
            raise ValueError(f"there is no room {wanted.room}")
        if wanted.end <= wanted.start:
            raise ValueError("a booking must end after it starts")
        if taken := self.conflicts(wanted):
            raise ValueError(f"{wanted.room} is taken by {taken[0].who or 'somebody'}")
        self._bookings.append(wanted)

    def free_rooms(self, start: datetime, end: datetime, people: int = 1) -> list[str]:
        """The rooms that are free all the time and have enough seats, the smallest first."""
        rooms: Iterable[str] = (room for room, seats in self.seats.items() if seats >= people)
        free = [room for room in rooms if not self.conflicts(Booking(room, start, end))]
        return sorted(free, key=lambda room: (self.seats[room], room))
