from decimal import Decimal

import pytest

from shipping import shipping_price

SMALL = (10, 10, 10)


def test_a_letter_home():
    assert shipping_price(500, SMALL, "domestic", "DE") == Decimal("4.90")


def test_an_island():
    assert shipping_price(500, SMALL, "europe", "IS") == Decimal("8.82")


def test_too_heavy():
    with pytest.raises(ValueError, match="too heavy"):
        shipping_price(20001, SMALL, "domestic", "DE")
