"""A circuit breaker: a service that keeps failing is left alone for a while."""

import time
from collections.abc import Callable


class CircuitBreaker:
    """Opens after `threshold` failures in a row; `cooldown` seconds later it lets one trial call through.

    If the trial succeeds, it closes. If the trial fails, it opens again at once, for another cooldown.
    """

    def __init__(self, threshold: int, cooldown: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.threshold, self.cooldown, self._clock = threshold, cooldown, clock
        self.state = "closed"
        self._failures = 0
        self._opened_at = 0.0

    def allow(self) -> bool:
        """Whether a call may be made now."""
        if self.state == "open" and self._clock() - self._opened_at >= self.cooldown:
            self.state = "trial"
            return True
        # While the trial call is out, nobody else gets through.
        return self.state == "closed"

    def succeeded(self) -> None:
        """To be told after a call that went well."""
        self.state = "closed"
        self._failures = 0

    def failed(self) -> None:
        """To be told after a call that went wrong."""
        self._failures += 1
        if self.state == "closed" and self._failures >= self.threshold:
            self.state = "open"
            self._opened_at = self._clock()
            self._failures = 0
