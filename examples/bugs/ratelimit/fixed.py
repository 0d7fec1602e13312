"""A limit on how often each client may call."""

import time
from collections import defaultdict, deque
from collections.abc import Callable


class RateLimiter:
    """At most `limit` calls in any `window` seconds, for each client by itself.

    Only calls that were let through count: a client that keeps trying is not locked out for longer.
    """

    def __init__(self, limit: int, window: float, clock: Callable[[], float] = time.monotonic) -> None:
        if limit < 1 or window <= 0:
            raise ValueError(f"limit and window must be positive, got {limit} and {window}")
        self.limit, self.window, self._clock = limit, window, clock
        self._calls: defaultdict[str, deque[float]] = defaultdict(deque)

    def allow(self, client: str) -> bool:
        """Whether the client may call now; if so, the call is counted."""
        now = self._clock()
        calls = self._calls[client]
        while calls and calls[0] <= now - self.window:
            calls.popleft()
        if len(calls) >= self.limit:
            return False
        calls.append(now)
        return True

    def retry_after(self, client: str) -> float:
        """Seconds until the client may call again; 0.0 if it may now."""
        now = self._clock()
        calls = [at for at in self._calls[client] if at > now - self.window]
        if len(calls) < self.limit:
            return 0.0
        return calls[-self.limit] + self.window - now
