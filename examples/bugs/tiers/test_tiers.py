from decimal import Decimal

from tiers import graduated_price

TIERS = [(10, Decimal("5")), (50, Decimal("4")), (None, Decimal("3"))]


def test_the_first_tier():
    assert graduated_price(3, TIERS) == 15
    assert graduated_price(10, TIERS) == 50


def test_the_second_tier():
    assert graduated_price(12, TIERS) == 58


def test_the_last_tier():
    assert graduated_price(60, TIERS) == 240
