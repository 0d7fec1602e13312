from datetime import date, timedelta
from decimal import Decimal

from proration import Period, change_of_plan, prorated

JUNE = Period(date(2024, 6, 1), date(2024, 7, 1))
MAY = Period(date(2024, 5, 1), date(2024, 6, 1))
YEAR = Period(date(2024, 1, 1), date(2025, 1, 1))


def days(price, period, number):
    return str(prorated(Decimal(price), period, period.start, period.start + timedelta(days=number)))


def test_the_whole_period_has_the_whole_price():
    assert days("19.99", JUNE, 30) == "19.99"
    assert days("9.99", MAY, 31) == "9.99"
    assert days("99.00", YEAR, 366) == "99.00"


def test_part_of_the_period_is_rounded_once():
    assert days("10.00", MAY, 1) == "0.32"
    assert days("10.00", MAY, 3) == "0.97"
    assert days("10.00", MAY, 16) == "5.16"
    assert days("99.00", YEAR, 100) == "27.05"


def test_half_a_cent_goes_to_the_even_one():
    assert days("0.15", JUNE, 1) == "0.00"
    assert days("0.45", JUNE, 1) == "0.02"


def test_days_outside_of_the_period_are_free():
    assert prorated(Decimal("30.00"), JUNE, date(2024, 5, 1), date(2024, 6, 3)) == Decimal("2.00")
    assert prorated(Decimal("30.00"), JUNE, date(2024, 6, 29), date(2024, 8, 1)) == Decimal("2.00")
    assert str(prorated(Decimal("30.00"), JUNE, date(2024, 7, 1), date(2024, 8, 1))) == "0.00"
    assert str(prorated(Decimal("30.00"), JUNE, date(2024, 6, 9), date(2024, 6, 9))) == "0.00"


def test_changes_of_plan():
    assert change_of_plan(Decimal("10.00"), Decimal("25.00"), MAY, date(2024, 5, 11)) == Decimal("10.17")
    assert change_of_plan(Decimal("25.00"), Decimal("10.00"), MAY, date(2024, 5, 11)) == Decimal("-10.17")
    assert change_of_plan(Decimal("10.00"), Decimal("25.00"), MAY, date(2024, 5, 1)) == Decimal("15.00")
    assert change_of_plan(Decimal("10.00"), Decimal("25.00"), MAY, date(2024, 6, 1)) == 0
