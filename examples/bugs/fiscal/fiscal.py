"""Fiscal years: quarters and their bounds where the year does not begin in January."""

from datetime import date, timedelta


def fiscal_year(day: date, first_month: int) -> int:
    """The fiscal year of a day, named after the calendar year in which it ends."""
    if not 1 <= first_month <= 12:
        raise ValueError(f"first_month must be 1 to 12, got {first_month}")
    if first_month == 1 or day.month < first_month:
        return day.year
    return day.year + 1


def fiscal_quarter(day: date, first_month: int = 4) -> str:
    """The quarter of a day, as in "FY2025 Q1"."""
    year = fiscal_year(day, first_month)
    months_in = day.month - first_month
    return f"FY{year} Q{months_in // 3 + 1}"


def quarter_bounds(day: date, first_month: int = 4) -> tuple[date, date]:
    """The first and the last day of the quarter that the day belongs to."""
    months_in = (day.month - first_month) % 3
    first = day.year * 12 + day.month - 1 - months_in
    after = first + 3
    last_day = date(after // 12, after % 12 + 1, 1) - timedelta(days=1)
    return date(first // 12, first % 12 + 1, 1), last_day
