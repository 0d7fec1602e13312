import pytest

from envfile import overridden, parse_env, parse_value


def test_empty_values_are_values():
    assert parse_env("A=") == {"A": ""}
    assert parse_env("A=''\nB=\"\"\nC=   \n") == {"A": "", "B": "", "C": ""}


def test_the_last_one_counts_even_if_it_is_empty():
    assert parse_env("A=1\nA=2") == {"A": "2"}
    assert parse_env("A=1\nA=") == {"A": ""}
    assert parse_env("A=\nA=1") == {"A": "1"}


def test_files_without_settings():
    assert parse_env("") == {}
    assert parse_env("\n  \n# A=1\n   # B=2\n") == {}


def test_values_may_hold_almost_anything():
    assert parse_env("URL=postgres://a?b=c#d") == {"URL": "postgres://a?b=c#d"}
    assert parse_env("A=0\nB=false") == {"A": "0", "B": "false"}
    assert parse_env("A='it is' # so") == {"A": "it is"}


def test_values():
    assert parse_value(' "a b" ') == "a b"
    assert parse_value("''") == ""
    assert parse_value("a#b #c") == "a#b"


def test_export_is_no_part_of_the_name():
    assert parse_env("export A=1\nexported=2") == {"A": "1", "exported": "2"}


def test_defaults_stay_where_nothing_is_said():
    assert overridden({"A": "1", "B": "2"}, "A=\nC=3") == {"A": "", "B": "2", "C": "3"}


def test_other_lines_are_refused_by_number():
    with pytest.raises(ValueError, match="line 2"):
        parse_env("A=1\nB\n")
    with pytest.raises(ValueError, match="line 1"):
        parse_env("1A=1")
