import pytest

from shipping import billable_grams, cheapest_split, shipping_price

SMALL = (10, 10, 10)


def price(grams, zone="domestic", country="DE", size=SMALL):
    return str(shipping_price(grams, size, zone, country))


def test_brackets():
    assert price(1) == "4.90"
    assert price(1000) == "4.90"
    assert price(1001) == "7.90"
    assert price(5000) == "7.90"
    assert price(20000) == "12.90"


def test_zones():
    assert price(500, "europe", "FR") == "7.35"
    assert price(500, "world", "JP") == "12.25"
    assert price(6000, "world", "US") == "32.25"


def test_islands():
    assert price(500, "europe", "IS") == "8.82"
    assert price(500, "europe", "MT") == "8.08"
    assert price(2000, "europe", "MT") == "13.04"


def test_large_parcels_are_paid_by_volume():
    assert billable_grams(500, SMALL) == 500
    assert billable_grams(100, SMALL) == 200
    assert billable_grams(1, (1, 1, 6)) == 2
    assert price(500, size=(30, 20, 10)) == "7.90"


def test_an_unknown_zone():
    with pytest.raises(KeyError):
        price(500, "moon", "XX")


def test_too_heavy():
    with pytest.raises(ValueError, match="20001 g"):
        price(20001)
    with pytest.raises(ValueError, match="too heavy"):
        price(1, size=(100, 100, 11))


def test_splitting():
    assert cheapest_split(900, SMALL, "domestic", "DE") == 1
    assert cheapest_split(10000, SMALL, "domestic", "DE") == 1
    assert cheapest_split(2000, SMALL, "europe", "FR") == 1
