from sizes import fits, parse_size


def test_bytes():
    assert parse_size("512") == 512
    assert parse_size(" 10 kB ") == 10_000


def test_fractions():
    assert parse_size("1.5 KiB") == 1536


def test_limits():
    assert fits("1 MB", "1 MiB")
