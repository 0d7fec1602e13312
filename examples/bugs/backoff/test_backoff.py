from backoff import delays, retries_within


def test_waits_double():
    assert delays(3, base=1.0) == [1.0, 2.0, 4.0]


def test_no_retries_no_waits():
    assert delays(0) == []
    assert retries_within(0.1) == 0


def test_waits_are_capped():
    assert delays(8, base=10.0, cap=15.0)[-1] == 15.0
