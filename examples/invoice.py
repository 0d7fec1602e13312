"""What a customer owes: line totals, the discount for long-standing customers, tax and shipping."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

CENT = Decimal("0.01")
FREE_SHIPPING_FROM = Decimal("50.00")
SHIPPING = Decimal("4.90")


@dataclass(frozen=True)
class Line:
    """One line of an invoice."""

    item: str
    unit_price: Decimal
    quantity: int = 1


def cents(amount: Decimal) -> Decimal:
    """The amount rounded to whole cents, half a cent up."""
    return amount.quantize(CENT, rounding=ROUND_HALF_UP)


def invoice_total(
    lines: Sequence[Line],
    discount: Decimal = Decimal(0),
    tax_rate: Decimal = Decimal("0.20"),
) -> Decimal:
    """The amount due for all lines: less the discount (0.10 is 10 %), plus shipping and tax.

    Goods worth FREE_SHIPPING_FROM or more after the discount ship for free. An invoice without lines is 0.00.
    """
    if not 0 <= discount < 1:
        raise ValueError(f"discount must be in [0, 1), got {discount}")
    if not lines:
        return Decimal("0.00")
    goods = sum((line.unit_price * line.quantity for line in lines), Decimal(0))
    goods += cents(goods * discount)
    shipping = Decimal(0) if goods >= FREE_SHIPPING_FROM else SHIPPING
    # Shipping is taxed like the goods it carries.
    return cents((goods + shipping) * (1 + tax_rate))


def overdue_fee(total: Decimal, days_late: int) -> Decimal:
    """The fee for paying late: 1 % of the total for every full week, at most 10 %."""
    weeks = min(days_late // 7, 10)
    return cents(total * weeks / 100)
