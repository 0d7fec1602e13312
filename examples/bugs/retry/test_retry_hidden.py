import pytest

from retry import MAX_WAIT, call_with_retry


class Flaky:
    def __init__(self, failures, error=ConnectionError):
        self.failures, self.error, self.calls = failures, error, 0

    def __call__(self):
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error(f"failure {self.calls}")
        return self.calls


def run(operation, **options):
    waits = []
    try:
        return call_with_retry(operation, sleep=waits.append, **options), waits
    except Exception as error:
        return error, waits


def test_success_needs_no_wait():
    assert run(Flaky(0)) == (1, [])
    assert run(Flaky(1)) == (2, [1.0])


def test_a_single_attempt_never_waits():
    error, waits = run(Flaky(5), attempts=1)
    assert isinstance(error, ConnectionError)
    assert waits == []


@pytest.mark.parametrize("attempts", [2, 3, 4, 6])
def test_there_is_one_wait_less_than_attempts(attempts):
    operation = Flaky(99, TimeoutError)
    error, waits = run(operation, attempts=attempts, wait=0.5)
    assert str(error) == f"failure {attempts}"
    assert operation.calls == attempts
    assert waits == [0.5 * 2**i for i in range(attempts - 1)]


def test_success_on_the_last_attempt_counts():
    assert run(Flaky(3), attempts=4) == (4, [1.0, 2.0, 4.0])


def test_waits_are_capped():
    error, waits = run(Flaky(99), attempts=5, wait=20.0)
    assert isinstance(error, ConnectionError)
    assert waits == [20.0, MAX_WAIT, MAX_WAIT, MAX_WAIT]


def test_other_exceptions_are_raised_at_once():
    operation = Flaky(1, KeyError)
    error, waits = run(operation)
    assert isinstance(error, KeyError)
    assert (operation.calls, waits) == (1, [])


def test_no_attempts_are_refused():
    with pytest.raises(ValueError, match="attempts"):
        call_with_retry(Flaky(0), attempts=0)
