"""Plans that begin, end or change in the middle of a billing period."""

from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal


@dataclass(frozen=True)
class Period:
    """A billing period: its first day, and the first day after it."""

    start: date
    end: date

    @property
    def days(self) -> int:
        return (self.end - self.start).days


def to_cents(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.01"), rounding=ROUND_HALF_EVEN)


def prorated(price: Decimal, period: Period, begin: date, end: date) -> Decimal:
    """What the days from `begin` to the day before `end` cost, as a share of the whole period's price."""
    begin, end = max(begin, period.start), min(end, period.end)
    if end <= begin:
        return Decimal("0.00")
    per_day = to_cents(price / period.days)
    return to_cents(per_day * (end - begin).days)


def change_of_plan(old: Decimal, new: Decimal, period: Period, day: date) -> Decimal:
    """What is due when a plan that is paid for is changed on a day; negative if the customer gets money back."""
    credit = prorated(old, period, day, period.end)
    charge = prorated(new, period, day, period.end)
    return charge - credit
