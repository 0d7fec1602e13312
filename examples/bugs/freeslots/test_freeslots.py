from datetime import datetime, timedelta

from freeslots import free_slots

HALF_HOUR = timedelta(minutes=30)


def at(hour, minute=0):
    return datetime(2024, 5, 6, hour, minute)


def test_before_between_and_after():
    busy = [(at(12), at(13)), (at(10), at(11))]
    assert free_slots(busy, at(9), at(17), HALF_HOUR) == [(at(9), at(10)), (at(11), at(12)), (at(13), at(17))]


def test_an_appointment_during_another():
    busy = [(at(9), at(15)), (at(10), at(11))]
    assert free_slots(busy, at(9), at(17), HALF_HOUR) == [(at(15), at(17))]
