from circuit import CircuitBreaker


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_it_opens_and_tries_again():
    clock = Clock()
    breaker = CircuitBreaker(2, 30, clock)
    breaker.failed()
    assert breaker.allow()
    breaker.failed()
    assert not breaker.allow()
    clock.now = 30.0
    assert breaker.allow()
    assert not breaker.allow()


def test_a_failed_trial():
    clock = Clock()
    breaker = CircuitBreaker(2, 30, clock)
    breaker.failed()
    breaker.failed()
    clock.now = 30.0
    assert breaker.allow()
    breaker.failed()
    assert breaker.state == "open"
