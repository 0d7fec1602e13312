from timesheet import Week, monthly, split_hours


def test_a_normal_week():
    assert split_hours([8, 8, 8, 8, 6]) == Week(38, 0)


def test_long_days():
    assert split_hours([10, 8, 8, 9, 4]) == Week(36, 3)


def test_a_long_week():
    assert split_hours([8, 8, 8, 8, 8, 5]) == Week(40, 5)


def test_a_month():
    assert monthly([[9], [8, 8]]) == Week(24, 1)
