"""`invoice_total` adds the discount where it should take it off: two of these tests fail."""

from decimal import Decimal

import pytest

from invoice import Line, invoice_total, overdue_fee

TEA = Line("tea", Decimal("8.00"))
KETTLE = Line("kettle", Decimal("60.00"))


def test_an_invoice_without_lines_is_zero():
    assert invoice_total([]) == Decimal("0.00")


def test_quantities_count_and_small_orders_pay_shipping():
    assert invoice_total([Line("tea", Decimal("8.00"), 2)], tax_rate=Decimal(0)) == Decimal("20.90")


def test_shipping_is_taxed_with_the_goods():
    assert invoice_total([TEA]) == Decimal("15.48")


def test_large_orders_ship_free():
    assert invoice_total([KETTLE]) == Decimal("72.00")


def test_the_discount_is_taken_off_the_goods():
    assert invoice_total([KETTLE], discount=Decimal("0.10")) == Decimal("64.80")


def test_a_discount_can_bring_an_order_below_free_shipping():
    assert invoice_total([KETTLE], discount=Decimal("0.25"), tax_rate=Decimal(0)) == Decimal("49.90")


def test_a_discount_of_everything_is_refused():
    with pytest.raises(ValueError, match="discount"):
        invoice_total([TEA], discount=Decimal(1))


def test_the_overdue_fee_is_capped():
    assert overdue_fee(Decimal("200.00"), days_late=15) == Decimal("4.00")
    assert overdue_fee(Decimal("200.00"), days_late=365) == Decimal("20.00")
