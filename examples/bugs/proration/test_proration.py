from datetime import date
from decimal import Decimal

from proration import Period, change_of_plan, prorated

JUNE = Period(date(2024, 6, 1), date(2024, 7, 1))


def test_half_a_month():
    assert prorated(Decimal("30.00"), JUNE, date(2024, 6, 16), date(2024, 7, 1)) == Decimal("15.00")


def test_a_whole_month_has_the_whole_price():
    assert prorated(Decimal("19.99"), JUNE, date(2024, 6, 1), date(2024, 7, 1)) == Decimal("19.99")


def test_an_upgrade():
    assert change_of_plan(Decimal("30.00"), Decimal("60.00"), JUNE, date(2024, 6, 21)) == Decimal("10.00")
