from datetime import date
from decimal import Decimal

import pytest

from exchange import Rates

MAY = [date(2024, 5, day) for day in range(1, 32)]


@pytest.fixture
def rates():
    made = Rates()
    made.publish("USD", MAY[5], Decimal("1.20"))
    made.publish("USD", MAY[0], Decimal("1.25"))
    made.publish("GBP", MAY[0], Decimal("0.80"))
    made.publish("JPY", MAY[2], Decimal("160"))
    return made


def converted(rates, amount, source, target, day):
    return str(rates.convert(Decimal(amount), source, target, MAY[day]))


def test_into_euros(rates):
    assert converted(rates, "100", "USD", "EUR", 0) == "80.00"
    assert converted(rates, "100", "USD", "EUR", 6) == "83.33"
    assert converted(rates, "1", "JPY", "EUR", 2) == "0.01"


def test_from_euros(rates):
    assert converted(rates, "100", "EUR", "USD", 0) == "125.00"
    assert converted(rates, "0.50", "EUR", "JPY", 4) == "80.00"


def test_between_others(rates):
    assert converted(rates, "100", "USD", "GBP", 0) == "64.00"
    assert converted(rates, "100", "GBP", "USD", 0) == "156.25"
    assert converted(rates, "1600", "JPY", "USD", 9) == "12.00"


def test_the_same_currency_is_left_alone(rates):
    assert converted(rates, "1.234", "USD", "USD", 0) == "1.234"
    assert converted(rates, "1.234", "EUR", "EUR", 0) == "1.234"


def test_there_and_back(rates):
    there = rates.convert(Decimal("1000"), "GBP", "USD", MAY[0])
    assert rates.convert(there, "USD", "GBP", MAY[0]) == Decimal("1000.00")


def test_the_last_rate_before_counts(rates):
    assert [str(rates.rate("USD", MAY[day])) for day in (0, 4, 5, 30)] == ["1.25", "1.25", "1.20", "1.20"]
    assert rates.rate("EUR", date(1999, 1, 1)) == 1


def test_rates_are_corrected(rates):
    rates.publish("USD", MAY[0], Decimal("2"))
    assert converted(rates, "100", "USD", "EUR", 3) == "50.00"


def test_without_a_rate(rates):
    with pytest.raises(LookupError, match="JPY on 2024-05-02"):
        rates.convert(Decimal(1), "EUR", "JPY", MAY[1])
    with pytest.raises(LookupError, match="XXX"):
        rates.convert(Decimal(1), "XXX", "EUR", MAY[1])


def test_what_is_no_rate(rates):
    with pytest.raises(ValueError):
        rates.publish("EUR", MAY[0], Decimal(1))
    with pytest.raises(ValueError):
        rates.publish("USD", MAY[0], Decimal(0))
