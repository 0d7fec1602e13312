from datetime import datetime

from cron import is_due


def test_every_quarter_of_an_hour():
    assert is_due("*/15 * * * *", datetime(2024, 5, 1, 12, 45))
    assert not is_due("*/15 * * * *", datetime(2024, 5, 1, 12, 50))


def test_working_days_at_nine():
    assert is_due("0 9 * * 1-5", datetime(2024, 5, 3, 9, 0))
    assert not is_due("0 9 * * 1-5", datetime(2024, 5, 4, 9, 0))


def test_the_first_of_the_month_and_every_monday():
    assert is_due("0 9 1 * 1", datetime(2024, 5, 6, 9, 0))
