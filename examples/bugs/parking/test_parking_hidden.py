from datetime import datetime, timedelta

import pytest

from parking import Tariff, lost_ticket, parking_fee

NOON = datetime(2024, 5, 1, 12)


def fee(tariff=Tariff(), **stay):
    return parking_fee(NOON, NOON + timedelta(**stay), tariff)


def test_free_time():
    assert fee(minutes=0) == 0
    assert fee(minutes=15) == 0
    assert fee(minutes=15, seconds=1) == 250


def test_every_started_hour_is_charged():
    assert fee(minutes=59) == 250
    assert fee(minutes=60) == 250
    assert fee(minutes=60, seconds=1) == 500
    assert fee(hours=2) == 500
    assert fee(hours=6, minutes=30) == 1750


def test_no_day_costs_more_than_the_maximum():
    assert fee(hours=7) == 1750
    assert fee(hours=7, minutes=1) == 1800
    assert fee(hours=23, minutes=59) == 1800
    assert fee(hours=24) == 1800


def test_several_days():
    assert fee(hours=24, minutes=1) == 2050
    assert fee(days=1, hours=1, seconds=1) == 2300
    assert fee(days=2) == 3600
    assert fee(days=2, hours=12) == 5400


def test_other_tariffs():
    tariff = Tariff(hourly=100, daily=500, free=timedelta(0))
    assert fee(tariff, minutes=1) == 100
    assert fee(tariff, hours=4, minutes=1) == 500
    assert fee(tariff, minutes=0) == 0


def test_lost_tickets():
    assert lost_ticket(NOON, NOON - timedelta(hours=1)) == 1800
    assert lost_ticket(NOON, NOON - timedelta(hours=25, minutes=30)) == 2300


def test_leaving_before_arriving():
    with pytest.raises(ValueError, match="before"):
        fee(minutes=-1)
