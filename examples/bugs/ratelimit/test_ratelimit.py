from ratelimit import RateLimiter


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_the_limit_holds():
    limiter = RateLimiter(2, 10, Clock())
    assert [limiter.allow("a") for _ in range(3)] == [True, True, False]
    assert limiter.allow("b")


def test_trying_on_is_not_punished():
    clock = Clock()
    limiter = RateLimiter(1, 10, clock)
    assert limiter.allow("a")
    clock.now += 6
    assert not limiter.allow("a")
    clock.now += 5
    assert limiter.allow("a")
