"""Amounts in cents that are shared without losing one."""

from collections.abc import Sequence


def split_cents(total: int, weights: Sequence[int]) -> list[int]:
    """The total shared by weight. The shares add up to it, and each is off its exact value by less than a cent.

    What rounding down leaves over goes, a cent each, to those who lost most by it; the first of them where
    they lost the same.
    """
    whole = sum(weights)
    if whole <= 0 or min(weights) < 0:
        raise ValueError(f"weights must not be negative, nor all be zero: {list(weights)}")
    shares = [total * weight // whole for weight in weights]
    left = total - sum(shares)
    shares[-1] += left
    by_loss = sorted(range(len(weights)), key=lambda i: total * weights[i] % whole, reverse=True)
    for i in by_loss[:left]:
        shares[i] += 1
    return shares


def instalments(total: int, number: int) -> list[int]:
    """The total in equal payments; the first ones are a cent higher where it has to be."""
    if number < 1:
        raise ValueError(f"number must be at least 1, got {number}")
    return split_cents(total, [1] * number)
