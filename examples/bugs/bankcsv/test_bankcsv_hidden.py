from datetime import date
from decimal import Decimal, InvalidOperation

import pytest

from bankcsv import Transaction, parse_amount, parse_day, read_statement


def test_amounts():
    assert parse_amount("0,05") == Decimal("0.05")
    assert parse_amount("17,50") == Decimal("17.50")
    assert parse_amount("1.000") == 1000
    assert parse_amount("1.234.567,89") == Decimal("1234567.89")


def test_debits():
    assert parse_amount("-17,50") == Decimal("-17.50")
    assert parse_amount("17,50-") == Decimal("-17.50")
    assert parse_amount(" 1.017,50- ") == Decimal("-1017.50")


def test_days():
    assert parse_day("31.12.2024") == date(2024, 12, 31)
    assert parse_day("01.02.2024") == date(2024, 2, 1)
    assert parse_day("01.02.24") == date(2024, 2, 1)
    assert parse_day(" 29.02.2024 ") == date(2024, 2, 29)


def test_what_is_no_day_or_amount():
    with pytest.raises(ValueError):
        parse_day("12.31.2024")
    with pytest.raises(InvalidOperation):
        parse_amount("zehn")


STATEMENT = """\
Datum;Text;Betrag
03.05.2024;"Rent; May";-1.200,00
02.06.2024; Refund ;19,99
;carried over;
01.06.2024;Tea;4,20-
"""


def test_a_statement_is_sorted_by_day():
    assert read_statement(STATEMENT) == [
        Transaction(date(2024, 5, 3), "Rent; May", Decimal("-1200.00")),
        Transaction(date(2024, 6, 1), "Tea", Decimal("-4.20")),
        Transaction(date(2024, 6, 2), "Refund", Decimal("19.99")),
    ]


def test_an_empty_statement():
    assert read_statement("Datum;Text;Betrag\n") == []
    assert read_statement("") == []
