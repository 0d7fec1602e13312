from decimal import Decimal

import pytest

from tiers import graduated_price, unit_price

TIERS = [(10, Decimal("5")), (50, Decimal("4")), (100, Decimal("3.50")), (None, Decimal("3"))]


def test_nothing_costs_nothing():
    assert graduated_price(0, TIERS) == 0


def test_every_unit_has_the_price_of_its_tier():
    expected = Decimal(0)
    for unit in range(1, 131):
        expected += 5 if unit <= 10 else 4 if unit <= 50 else Decimal("3.50") if unit <= 100 else 3
        assert graduated_price(unit, TIERS) == expected


def test_bounds_belong_to_the_lower_tier():
    assert graduated_price(11, TIERS) - graduated_price(10, TIERS) == 4
    assert graduated_price(50, TIERS) - graduated_price(49, TIERS) == 4
    assert graduated_price(51, TIERS) - graduated_price(50, TIERS) == Decimal("3.50")


def test_one_price_for_all():
    assert graduated_price(7, [(None, Decimal("2.50"))]) == Decimal("17.50")


def test_the_average():
    assert unit_price(10, TIERS) == Decimal("5.00")
    assert unit_price(20, TIERS) == Decimal("4.50")
    assert unit_price(75, TIERS) == Decimal("3.97")


def test_no_units_have_no_average():
    with pytest.raises(ValueError, match="quantity"):
        unit_price(0, TIERS)


def test_tiers_must_rise_and_go_on_for_ever():
    with pytest.raises(ValueError, match="last tier"):
        graduated_price(1, [(10, Decimal(1))])
    with pytest.raises(ValueError, match="rise"):
        graduated_price(1, [(10, Decimal(1)), (5, Decimal(1)), (None, Decimal(1))])
