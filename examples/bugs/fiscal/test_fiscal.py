from datetime import date

from fiscal import fiscal_quarter, quarter_bounds


def test_the_year_begins_in_april():
    assert fiscal_quarter(date(2024, 4, 1)) == "FY2025 Q1"
    assert fiscal_quarter(date(2024, 12, 31)) == "FY2025 Q3"


def test_the_last_quarter():
    assert fiscal_quarter(date(2025, 2, 14)) == "FY2025 Q4"


def test_bounds():
    assert quarter_bounds(date(2024, 5, 17)) == (date(2024, 4, 1), date(2024, 6, 30))
