from datetime import date
from decimal import Decimal

import pytest

from exchange import Rates

MAY_1, MAY_3 = date(2024, 5, 1), date(2024, 5, 3)


def rates():
    made = Rates()
    made.publish("USD", MAY_1, Decimal("1.25"))
    made.publish("GBP", MAY_1, Decimal("0.80"))
    return made


def test_from_euros():
    assert rates().convert(Decimal(100), "EUR", "USD", MAY_3) == Decimal("125.00")


def test_from_dollars():
    assert rates().convert(Decimal(100), "USD", "GBP", MAY_1) == Decimal("64.00")


def test_before_the_first_rate():
    with pytest.raises(LookupError):
        rates().rate("USD", date(2024, 4, 30))
