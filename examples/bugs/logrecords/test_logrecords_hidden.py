from logrecords import count_levels, read_records

A = "2024-05-01 12:00:00 INFO started"
B = "2024-05-01 12:00:07 ERROR cannot save"
C = "2024-05-01 12:00:09 WARNING slow"


def texts(*lines):
    return [record.text for record in read_records(lines)]


def test_a_single_message():
    assert texts(A) == ["started"]
    assert read_records([A])[0].time == "2024-05-01 12:00:00"
    assert read_records([A])[0].level == "INFO"


def test_every_message_comes_once_and_in_order():
    assert texts(A, B, C) == ["started", "cannot save", "slow"]


def test_the_last_message_may_go_on():
    assert texts(A, B, "  at line 1", "  at line 2") == ["started", "cannot save\n  at line 1\n  at line 2"]


def test_empty_lines_inside_a_message_stay_and_those_behind_it_go():
    assert texts(B, "", "more", "", "", A) == ["cannot save\n\nmore", "started"]
    assert texts(B, "", "more", "", "") == ["cannot save\n\nmore"]
    assert texts(A, "") == ["started"]


def test_what_comes_before_the_first_message_is_dropped():
    assert texts("rest of yesterday", "", A) == ["started"]
    assert texts("rest", "") == []


def test_line_ends_do_not_matter():
    assert texts(A + "\r\n", "more \n") == ["started\nmore"]


def test_a_line_with_an_unknown_level_is_no_header():
    assert texts(A, "2024-05-01 12:00:01 TRACE x") == ["started\n2024-05-01 12:00:01 TRACE x"]


def test_levels_are_counted():
    assert count_levels([A, B, "x", A, C]) == {"INFO": 2, "ERROR": 1, "WARNING": 1}
    assert count_levels([B]) == {"ERROR": 1}
    assert count_levels([]) == {}
