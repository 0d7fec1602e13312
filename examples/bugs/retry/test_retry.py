import pytest

from retry import call_with_retry


class Flaky:
    def __init__(self, failures):
        self.failures, self.calls = failures, 0

    def __call__(self):
        self.calls += 1
        if self.calls <= self.failures:
            raise ConnectionError("down")
        return "ok"


def test_it_waits_between_attempts():
    waits = []
    assert call_with_retry(Flaky(2), sleep=waits.append) == "ok"
    assert waits == [1.0, 2.0]


def test_it_gives_up():
    waits = []
    with pytest.raises(ConnectionError):
        call_with_retry(Flaky(9), sleep=waits.append)
    assert len(waits) == 2
