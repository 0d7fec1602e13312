import pytest

from sizes import factor, fits, parse_size


def test_units():
    assert [factor(unit) for unit in ("", "B", "b", "k", "kB", "KB", "MB", "gb", "T")] == [
        1, 1, 1, 1000, 1000, 1000, 10**6, 10**9, 10**12,
    ]
    assert [factor(unit) for unit in ("Ki", "KiB", "mib", "GiB", "TiB")] == [1024, 1024, 2**20, 2**30, 2**40]


def test_whole_numbers():
    assert parse_size("0") == 0
    assert parse_size("3MiB") == 3 * 2**20
    assert parse_size("20 g") == 20 * 10**9


def test_fractions_count():
    assert parse_size("0.5 kB") == 500
    assert parse_size("2.25 MiB") == 9 * 2**18
    assert parse_size("1.75GB") == 1_750_000_000
    assert parse_size("0.25 KiB") == 256


def test_parts_of_a_byte_do_not():
    assert parse_size("1.9") == 1
    assert parse_size("0.0005 KB") == 0
    assert parse_size("1.0009 kB") == 1000


def test_limits():
    assert fits("0.9 GB", "1 GB")
    assert fits("1.0 GB", "1 GB")
    assert not fits("1.1 GB", "1 GB")
    assert not fits("1 GiB", "1.05 GB")


@pytest.mark.parametrize("text", ["", "GB", "-1 kB", "1,5 kB", "1 kB/s", "1.5.2", "ten"])
def test_other_text_is_refused(text):
    with pytest.raises(ValueError, match="not a size"):
        parse_size(text)


@pytest.mark.parametrize("unit", ["i", "iB", "x", "kk", "bytes"])
def test_other_units_are_refused(unit):
    with pytest.raises(ValueError, match="unknown unit"):
        parse_size(f"1 {unit}")
