"""What parking costs."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Tariff:
    """Cents for a started hour, the most that 24 hours cost, and how long one may stay for nothing."""

    hourly: int = 250
    daily: int = 1800
    free: timedelta = timedelta(minutes=15)


def parking_fee(arrival: datetime, departure: datetime, tariff: Tariff = Tariff()) -> int:
    """The fee in cents. Every started hour is charged, but no 24 hours cost more than the daily maximum.

    Whoever leaves within the free time pays nothing; whoever stays longer pays from the arrival on.
    """
    if departure < arrival:
        raise ValueError("departure comes before arrival")
    stay = departure - arrival
    if stay <= tariff.free:
        return 0
    days, rest = divmod(stay, DAY)
    started = math.ceil(rest / HOUR)
    return days * tariff.daily + min(started * tariff.hourly, tariff.daily)


def lost_ticket(now: datetime, opened: datetime, tariff: Tariff = Tariff()) -> int:
    """The fee without a ticket: for the time since the car park opened, at least a day."""
    return max(parking_fee(opened, now, tariff), tariff.daily)
