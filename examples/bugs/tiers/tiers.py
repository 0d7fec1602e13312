"""Graduated prices: the first units cost one price, those beyond them another."""

from collections.abc import Sequence
from decimal import Decimal

Tier = tuple[int | None, Decimal]  # up to which unit, and the price of each; None is without end


def check_tiers(tiers: Sequence[Tier]) -> None:
    """Raise ValueError unless the bounds rise and the last tier is without end."""
    if not tiers or tiers[-1][0] is not None:
        raise ValueError("the last tier must be without end")
    bounds = [up_to for up_to, _ in tiers[:-1]]
    if None in bounds or bounds != sorted(set(bounds)):
        raise ValueError(f"bounds must rise, got {bounds}")


def graduated_price(quantity: int, tiers: Sequence[Tier]) -> Decimal:
    """What the quantity costs, each unit at the price of the tier that it falls into."""
    check_tiers(tiers)
    total = Decimal(0)
    previous = 0
    for up_to, price in tiers:
        if quantity <= previous:
            break
        if up_to is None:
            in_tier = quantity - previous
        else:
            in_tier = min(quantity, up_to - previous)
            previous = up_to
        total += in_tier * price
    return total


def unit_price(quantity: int, tiers: Sequence[Tier]) -> Decimal:
    """The average price of a unit, to the cent."""
    if quantity < 1:
        raise ValueError(f"quantity must be at least 1, got {quantity}")
    return (graduated_price(quantity, tiers) / quantity).quantize(Decimal("0.01"))
