"""Exchange rates by day: what one euro is worth in other currencies."""

from bisect import bisect_right, insort
from datetime import date
from decimal import Decimal

BASE = "EUR"


class Rates:
    """Rates as they are published; on days without one, the last one before counts."""

    def __init__(self) -> None:
        self._days: dict[str, list[date]] = {}  # sorted
        self._rates: dict[tuple[str, date], Decimal] = {}

    def publish(self, currency: str, day: date, rate: Decimal) -> None:
        """Add a rate, or correct it."""
        if currency == BASE or rate <= 0:
            raise ValueError(f"not a rate: {currency} {rate}")
        if (currency, day) not in self._rates:
            insort(self._days.setdefault(currency, []), day)
        self._rates[currency, day] = rate

    def rate(self, currency: str, day: date) -> Decimal:
        """What one euro is worth on a day. Raises LookupError before the first rate."""
        if currency == BASE:
            return Decimal(1)
        days = self._days.get(currency, [])
        known = bisect_right(days, day)
        if known == 0:
            raise LookupError(f"no rate of {currency} on {day}")
        return self._rates[currency, day]

    def convert(self, amount: Decimal, source: str, target: str, day: date) -> Decimal:
        """The amount in another currency, by way of the euro, to the cent."""
        if source == target:
            return amount
        euros = amount / self.rate(source, day)
        return (euros * self.rate(target, day)).quantize(Decimal("0.01"))
