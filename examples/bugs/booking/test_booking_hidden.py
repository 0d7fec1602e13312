from datetime import datetime

import pytest

from booking import Booking, Calendar


def at(hour, minute=0):
    return datetime(2024, 5, 6, hour, minute)


def calendar(*booked):
    made = Calendar({"red": 4, "blue": 10, "aula": 80})
    for room, start, end in booked:
        made.book(Booking(room, at(start), at(end), "ann"))
    return made


def conflict(start, end, room="red"):
    return len(calendar(("red", 10, 12)).conflicts(Booking(room, at(*start), at(*end))))


def test_overlaps():
    assert conflict((9,), (11,)) == 1
    assert conflict((11,), (13,)) == 1
    assert conflict((10, 30), (11, 30)) == 1
    assert conflict((9,), (13,)) == 1
    assert conflict((10,), (12,)) == 1
    assert conflict((11, 59), (12, 30)) == 1


def test_no_overlaps():
    assert conflict((8,), (10,)) == 0
    assert conflict((12,), (13,)) == 0
    assert conflict((14,), (15,)) == 0
    assert conflict((10,), (12,), "blue") == 0


def test_the_day_fills_up_in_any_order():
    full = calendar(("red", 9, 10), ("red", 12, 13), ("red", 10, 12), ("red", 8, 9), ("red", 13, 17))
    assert len(full.conflicts(Booking("red", at(8), at(17)))) == 5
    assert full.free_rooms(at(17), at(18)) == ["red", "blue", "aula"]
    assert full.free_rooms(at(16), at(18)) == ["blue", "aula"]


def test_a_refused_booking_is_not_taken_in():
    one = calendar(("red", 10, 12))
    with pytest.raises(ValueError, match="red is taken by ann"):
        one.book(Booking("red", at(9), at(11)))
    one.book(Booking("red", at(9), at(10)))


def test_rooms_for_many():
    assert calendar().free_rooms(at(9), at(10), people=5) == ["blue", "aula"]
    assert calendar(("aula", 9, 10)).free_rooms(at(9), at(10), people=11) == []
    assert calendar(("aula", 9, 10)).free_rooms(at(10), at(11), people=11) == ["aula"]


def test_what_makes_no_sense():
    with pytest.raises(ValueError, match="no room green"):
        calendar(("green", 9, 10))
    with pytest.raises(ValueError, match="end after"):
        calendar(("red", 10, 10))
