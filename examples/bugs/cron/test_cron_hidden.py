from datetime import datetime

import pytest

from cron import field_matches, is_due

# 2024-05-01 is a Wednesday.


def days(expression):
    return [day for day in range(1, 32) if is_due(expression, datetime(2024, 5, day, 9, 0))]


def test_either_day_will_do_where_both_are_given():
    assert days("0 9 1 * 1") == [1, 6, 13, 20, 27]
    assert days("0 9 1,15 * 0") == [1, 5, 12, 15, 19, 26]


def test_the_weekday_alone_restricts():
    assert days("0 9 * * 1") == [6, 13, 20, 27]


def test_the_day_alone_restricts():
    assert days("0 9 10-12 * *") == [10, 11, 12]


def test_no_day_restricts():
    assert days("0 9 * * *") == list(range(1, 32))


def test_either_day_still_needs_month_hour_and_minute():
    assert days("0 9 1 4 1") == []
    assert days("0 10 1 * 1") == []
    assert days("30 9 1 * 1") == []


def test_sunday_is_zero():
    assert is_due("0 0 * * 0", datetime(2024, 5, 5))
    assert not is_due("0 0 * * 6", datetime(2024, 5, 5))


def test_fields():
    assert [v for v in range(60) if field_matches("*/20", v, 0)] == [0, 20, 40]
    assert [v for v in range(60) if field_matches("10-40/10", v, 0)] == [10, 20, 30, 40]
    assert [v for v in range(60) if field_matches("5/25", v, 0)] == [5, 30, 55]
    assert [v for v in range(1, 13) if field_matches("*/5", v, 1)] == [1, 6, 11]
    assert [v for v in range(8) if field_matches("1,3-4", v, 0)] == [1, 3, 4]


def test_a_field_too_few():
    with pytest.raises(ValueError, match="5 fields"):
        is_due("0 9 * *", datetime(2024, 5, 1))
