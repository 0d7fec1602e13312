from datetime import date
from decimal import Decimal

from bankcsv import parse_amount, parse_day, read_statement


def test_round_amounts():
    assert parse_amount("100") == 100
    assert parse_amount(" 20- ") == -20


def test_amounts_with_cents():
    assert parse_amount("1.234,56") == Decimal("1234.56")


def test_days():
    assert parse_day("03.05.2024") == date(2024, 5, 3)


def test_notes_are_skipped():
    assert read_statement("Datum;Text;Betrag\n01.01.2024;see overleaf;\n") == []
