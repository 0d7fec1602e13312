from datetime import date

import pytest

from fiscal import fiscal_quarter, quarter_bounds


def quarters(first_month):
    return [fiscal_quarter(date(2024, month, 15), first_month) for month in range(1, 13)]


def test_calendar_years():
    assert quarters(1) == [f"FY2024 Q{n}" for n in (1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4)]


def test_years_from_april():
    assert quarters(4) == ["FY2024 Q4"] * 3 + [f"FY2025 Q{n}" for n in (1, 1, 1, 2, 2, 2, 3, 3, 3)]


def test_years_from_july():
    assert quarters(7) == [f"FY2024 Q{n}" for n in (3, 3, 3, 4, 4, 4)] + [
        f"FY2025 Q{n}" for n in (1, 1, 1, 2, 2, 2)
    ]


def test_years_from_october():
    assert quarters(10) == [f"FY2024 Q{n}" for n in (2, 2, 2, 3, 3, 3, 4, 4, 4)] + ["FY2025 Q1"] * 3


def test_years_from_november():
    assert fiscal_quarter(date(2024, 1, 31), 11) == "FY2024 Q1"
    assert fiscal_quarter(date(2024, 2, 1), 11) == "FY2024 Q2"
    assert fiscal_quarter(date(2024, 10, 31), 11) == "FY2024 Q4"
    assert fiscal_quarter(date(2024, 11, 1), 11) == "FY2025 Q1"


def test_bounds():
    assert quarter_bounds(date(2024, 1, 1)) == (date(2024, 1, 1), date(2024, 3, 31))
    assert quarter_bounds(date(2024, 2, 29), 2) == (date(2024, 2, 1), date(2024, 4, 30))
    assert quarter_bounds(date(2024, 1, 31), 2) == (date(2023, 11, 1), date(2024, 1, 31))
    assert quarter_bounds(date(2024, 12, 5), 11) == (date(2024, 11, 1), date(2025, 1, 31))


def test_a_month_that_there_is_not():
    with pytest.raises(ValueError, match="first_month"):
        fiscal_quarter(date(2024, 1, 1), 13)
