"""How long to wait before trying again."""

import random
from collections.abc import Sequence


def delays(retries: int, base: float = 0.5, cap: float = 60.0) -> list[float]:
    """The waits before each retry: `base` seconds before the first, twice as long before each one after it.

    None is longer than `cap`.
    """
    if retries < 0 or base <= 0:
        raise ValueError(f"retries must not be negative and base must be positive, got {retries} and {base}")
    return [min(cap, base * 2**retry) for retry in range(1, retries + 1)]


def jittered(waits: Sequence[float], share: float, rng: random.Random) -> list[float]:
    """The waits, each made shorter at random by up to a share of it, so that clients do not come back all at once."""
    if not 0 <= share <= 1:
        raise ValueError(f"share must be in [0, 1], got {share}")
    return [wait * (1 - share * rng.random()) for wait in waits]


def retries_within(budget: float, base: float = 0.5, cap: float = 60.0) -> int:
    """How many retries a budget of seconds allows if every wait is as long as planned."""
    retries = 0
    while sum(delays(retries + 1, base, cap)) <= budget:
        retries += 1
    return retries
