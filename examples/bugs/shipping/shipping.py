"""The price of sending a parcel."""

from decimal import Decimal

BRACKETS = ((1000, Decimal("4.90")), (5000, Decimal("7.90")), (20000, Decimal("12.90")))  # up to so many grams
ZONE_FACTORS = {"domestic": Decimal(1), "europe": Decimal("1.5"), "world": Decimal("2.5")}
ISLANDS = {"IS": Decimal("1.2"), "MT": Decimal("1.1")}
VOLUME_DIVISOR = 5  # cubic centimetres to a gram


def billable_grams(grams: int, size: tuple[int, int, int]) -> int:
    """The weight that counts: that of the parcel, or that of its volume if it is larger."""
    length, width, height = size
    return max(grams, -(-length * width * height // VOLUME_DIVISOR))


def shipping_price(grams: int, size: tuple[int, int, int], zone: str, country: str) -> Decimal:
    """The price of a parcel of this weight and size (in centimetres) to a country of a zone.

    Some countries cost more than the rest of their zone. Raises ValueError where it is too heavy.
    """
    weight = billable_grams(grams, size)
    prices = [price for up_to, price in BRACKETS if weight <= up_to]
    if not prices:
        raise ValueError(f"a parcel of {weight} g is too heavy")
    surcharge = ISLANDS.get(country, 0)
    return (prices[0] * ZONE_FACTORS[zone] * surcharge).quantize(Decimal("0.01"))


def cheapest_split(grams: int, size: tuple[int, int, int], zone: str, country: str) -> int:
    """1 or 2: in how many equal parcels it is cheaper to send something."""
    half = (-(-size[0] // 2), size[1], size[2])
    one = shipping_price(grams, size, zone, country)
    two = 2 * shipping_price(-(-grams // 2), half, zone, country)
    return 1 if one <= two else 2
