import pytest

from ratelimit import RateLimiter


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def answers(limiter, clock, times):
    found = []
    for at in times:
        clock.now = at
        found.append(limiter.allow("a"))
    return found


@pytest.fixture
def clock():
    return Clock()


def test_calls_within_the_limit(clock):
    assert answers(RateLimiter(3, 10, clock), clock, [0, 1, 2, 3]) == [True, True, True, False]


def test_a_call_falls_out_of_the_window_exactly_at_its_end(clock):
    assert answers(RateLimiter(1, 10, clock), clock, [0, 9.5, 10]) == [True, False, True]


def test_refused_calls_do_not_count(clock):
    assert answers(RateLimiter(1, 10, clock), clock, [0, 3, 6, 9, 10, 12, 20]) == [
        True, False, False, False, True, False, True,
    ]


def test_the_window_slides(clock):
    assert answers(RateLimiter(2, 10, clock), clock, [0, 6, 8, 10, 11, 16]) == [True, True, False, True, False, True]


def test_clients_do_not_share(clock):
    limiter = RateLimiter(1, 10, clock)
    assert limiter.allow("a")
    assert limiter.allow("b")
    assert not limiter.allow("a")


def test_retry_after_says_when(clock):
    limiter = RateLimiter(2, 10, clock)
    assert limiter.retry_after("a") == 0.0
    answers(limiter, clock, [0, 4, 5, 6])
    assert limiter.retry_after("a") == 4.0
    clock.now = 10.0
    assert limiter.retry_after("a") == 0.0


def test_asking_when_does_not_count(clock):
    limiter = RateLimiter(1, 10, clock)
    assert limiter.retry_after("a") == 0.0
    assert limiter.allow("a")


def test_a_limit_of_nothing_is_refused():
    with pytest.raises(ValueError):
        RateLimiter(0, 10)
    with pytest.raises(ValueError):
        RateLimiter(1, 0)
