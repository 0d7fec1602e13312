from datetime import datetime

import pytest

from booking import Booking, Calendar


def at(hour):
    return datetime(2024, 5, 6, hour)


def test_double_bookings_are_refused():
    calendar = Calendar({"red": 4})
    calendar.book(Booking("red", at(9), at(11), "ann"))
    with pytest.raises(ValueError, match="taken by ann"):
        calendar.book(Booking("red", at(10), at(12)))


def test_bookings_before_one_another():
    calendar = Calendar({"red": 4})
    calendar.book(Booking("red", at(13), at(14)))
    calendar.book(Booking("red", at(9), at(10)))
    assert calendar.free_rooms(at(8), at(9)) == ["red"]


def test_one_after_another():
    calendar = Calendar({"red": 4})
    calendar.book(Booking("red", at(9), at(10)))
    calendar.book(Booking("red", at(10), at(11)))
