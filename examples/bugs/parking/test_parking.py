from datetime import datetime, timedelta

from parking import parking_fee

NOON = datetime(2024, 5, 1, 12)


def test_a_short_stop_is_free():
    assert parking_fee(NOON, NOON + timedelta(minutes=15)) == 0


def test_whole_hours():
    assert parking_fee(NOON, NOON + timedelta(hours=3)) == 750


def test_a_started_hour():
    assert parking_fee(NOON, NOON + timedelta(minutes=90)) == 500


def test_the_daily_maximum():
    assert parking_fee(NOON, NOON + timedelta(hours=20)) == 1800
