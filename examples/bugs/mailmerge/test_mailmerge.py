import pytest

from mailmerge import render


def test_values_are_filled_in():
    assert render("Dear {{ name }}, {{total}} EUR", {"name": "Ann", "total": 7.5}) == "Dear Ann, 7.50 EUR"


def test_values_are_escaped():
    assert render("{{ firm }}", {"firm": "Smith & Sons"}) == "Smith &amp; Sons"


def test_a_missing_value():
    with pytest.raises(KeyError):
        render("{{ name }}", {})
