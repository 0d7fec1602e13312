"""Bank statements as CSV: day first, decimal comma, debits with a minus behind or in front."""

import csv
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal


@dataclass(frozen=True)
class Transaction:
    """One booking; the amount is negative where money left the account."""

    day: date
    text: str
    amount: Decimal


def parse_amount(text: str) -> Decimal:
    """An amount such as "1.234,56" or "17,50-"."""
    plain = text.strip().replace(".", ",").replace(",", "")
    if plain.endswith("-"):
        plain = "-" + plain[:-1]
    return Decimal(plain)


def parse_day(text: str) -> date:
    """A day such as "03.05.2024" or "03.05.24"."""
    text = text.strip()
    year = "%Y" if len(text) == 10 else "%y"
    return datetime.strptime(text, f"%m.%d.{year}").date()


def read_statement(text: str) -> list[Transaction]:
    """The transactions of a statement, the earliest first. Lines without an amount are notes and are skipped."""
    transactions = []
    for row in csv.DictReader(text.splitlines(), delimiter=";"):
        if not (row["Betrag"] or "").strip():
            continue
        transactions.append(Transaction(parse_day(row["Datum"]), row["Text"].strip(), parse_amount(row["Betrag"])))
    return sorted(transactions, key=lambda transaction: transaction.day)
