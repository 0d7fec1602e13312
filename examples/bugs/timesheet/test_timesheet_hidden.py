import pytest

from timesheet import Week, monthly, split_hours


def test_no_hours():
    assert split_hours([]) == Week(0, 0)
    assert split_hours([0] * 7) == Week(0, 0)


def test_exactly_full():
    assert split_hours([8] * 5) == Week(40, 0)
    assert split_hours([8] * 5 + [0, 0]) == Week(40, 0)


def test_hours_beyond_the_day():
    assert split_hours([9]) == Week(8, 1)
    assert split_hours([24]) == Week(8, 16)
    assert split_hours([12, 12]) == Week(16, 8)


def test_hours_beyond_the_week():
    assert split_hours([7] * 6) == Week(40, 2)
    assert split_hours([8] * 7) == Week(40, 16)
    assert split_hours([6] * 7) == Week(40, 2)


def test_beyond_both_no_hour_counts_twice():
    assert split_hours([10] * 5) == Week(40, 10)
    assert split_hours([10] * 6) == Week(40, 20)
    assert split_hours([10, 6, 6, 6, 6, 6, 6]) == Week(40, 6)
    assert split_hours([8, 8, 8, 8, 4, 9]) == Week(40, 5)


def test_all_hours_are_paid():
    for days in ([3.5, 8.25, 9], [10] * 7, [8] * 6, [1] * 7, [24] * 7):
        week = split_hours(days)
        assert week.regular + week.overtime == sum(days)
        assert week.regular <= 40


def test_pay():
    assert split_hours([8] * 6).pay(20) == 1040.0
    assert split_hours([10]).pay(10) == 110.0
    assert Week(1, 1).pay(10, factor=2) == 30.0


def test_weeks_do_not_mix():
    assert monthly([[8] * 6, [8] * 4]) == Week(72, 8)
    assert monthly([]) == Week(0, 0)


def test_what_is_no_week():
    with pytest.raises(ValueError, match="not a week"):
        split_hours([8] * 8)
    with pytest.raises(ValueError, match="not a week"):
        split_hours([25])
    with pytest.raises(ValueError, match="not a week"):
        split_hours([-1])
