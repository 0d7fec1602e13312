"""Calls that may fail for a while."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

MAX_WAIT = 30.0


def call_with_retry(
    operation: Callable[[], T],
    attempts: int = 3,
    wait: float = 1.0,
    retry_on: tuple[type[Exception], ...] = (ConnectionError, TimeoutError),
    sleep: Callable[[float], object] = time.sleep,
) -> T:
    """What the operation returns, called up to `attempts` times.

    Between two attempts it waits: `wait` seconds first, then twice as long each time, never more than MAX_WAIT.
    The failure of the last attempt is raised at once, and so is every other kind of exception.
    """
    if attempts < 1:
        raise ValueError(f"attempts must be at least 1, got {attempts}")
    for attempt in range(1, attempts + 1):
        try:
            return operation()
        except retry_on:
            if attempt == attempts:
                raise
            sleep(min(wait, MAX_WAIT))
            wait *= 2
    raise AssertionError("unreachable")
