import pytest

from circuit import CircuitBreaker


class Clock:
    now = 5.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def opened(clock, threshold=3):
    breaker = CircuitBreaker(threshold, 30, clock)
    for _ in range(threshold):
        breaker.failed()
    return breaker


def test_it_stays_closed_below_the_threshold(clock):
    breaker = CircuitBreaker(3, 30, clock)
    breaker.failed()
    breaker.failed()
    assert breaker.state == "closed"
    assert breaker.allow()


def test_it_opens_at_the_threshold(clock):
    breaker = opened(clock)
    assert breaker.state == "open"
    assert not breaker.allow()


def test_a_threshold_of_one(clock):
    assert not opened(clock, 1).allow()


def test_a_success_in_between_starts_the_count_again(clock):
    breaker = CircuitBreaker(2, 30, clock)
    breaker.failed()
    breaker.succeeded()
    breaker.failed()
    assert breaker.allow()
    breaker.failed()
    assert not breaker.allow()


def test_it_waits_for_the_whole_cooldown(clock):
    breaker = opened(clock)
    clock.now += 29.9
    assert not breaker.allow()
    clock.now += 0.2
    assert breaker.allow()
    assert breaker.state == "trial"


def test_a_good_trial_closes_it(clock):
    breaker = opened(clock)
    clock.now += 30
    assert breaker.allow()
    breaker.succeeded()
    breaker.failed()
    breaker.failed()
    assert breaker.allow()


def test_every_failed_trial_costs_a_cooldown(clock):
    breaker = opened(clock)
    for _ in range(3):
        clock.now += 30
        assert breaker.allow()
        breaker.failed()
        assert breaker.state == "open"
        clock.now += 10
        assert not breaker.allow()
        clock.now -= 10


def test_after_failed_trials_it_can_still_close(clock):
    breaker = opened(clock)
    clock.now += 30
    breaker.allow()
    breaker.failed()
    clock.now += 30
    assert breaker.allow()
    breaker.succeeded()
    assert breaker.state == "closed"
    breaker.failed()
    assert breaker.allow()
