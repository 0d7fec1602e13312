from datetime import datetime, timedelta

import pytest

from freeslots import first_meeting, free_slots

HALF_HOUR = timedelta(minutes=30)


def at(hour, minute=0):
    return datetime(2024, 5, 6, hour, minute)


def free(*busy, minimum=HALF_HOUR):
    slots = free_slots([(at(a), at(b)) for a, b in busy], at(9), at(17), minimum)
    return [(a.hour, b.hour) for a, b in slots]


def test_an_empty_day_is_free():
    assert free() == [(9, 17)]


def test_a_full_day_is_not():
    assert free((8, 18)) == []
    assert free((8, 12), (12, 18)) == []


def test_overlapping_appointments():
    assert free((10, 12), (11, 13)) == [(9, 10), (13, 17)]
    assert free((10, 16), (11, 12), (13, 14)) == [(9, 10), (16, 17)]
    assert free((10, 16), (11, 12), (15, 17)) == [(9, 10)]


def test_a_long_one_that_holds_the_last_one():
    assert free((9, 17), (10, 11)) == []
    assert free((10, 18), (12, 13)) == [(9, 10)]


def test_the_same_hours_twice():
    assert free((10, 11), (10, 11)) == [(9, 10), (11, 17)]


def test_other_hours_do_not_matter():
    assert free((7, 9), (17, 19), (6, 8)) == [(9, 17)]
    assert free((7, 10), (16, 19)) == [(10, 16)]
    assert free((7, 12), (8, 10)) == [(12, 17)]


def test_gaps_must_be_long_enough():
    assert free((10, 11), (12, 13), minimum=timedelta(hours=1)) == [(9, 10), (11, 12), (13, 17)]
    assert free((10, 11), (12, 13), minimum=timedelta(hours=2)) == [(13, 17)]


def test_the_first_meeting():
    busy = [(at(9), at(12)), (at(9, 30), at(10))]
    assert first_meeting(busy, at(9), at(17), HALF_HOUR) == (at(12), at(12, 30))
    assert first_meeting([(at(9), at(17))], at(9), at(17), HALF_HOUR) is None


def test_hours_the_wrong_way_round():
    with pytest.raises(ValueError):
        free_slots([], at(17), at(9), HALF_HOUR)
