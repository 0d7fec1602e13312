"""A small ledger: money only moves, it is never made or lost."""

from collections.abc import Iterable
from dataclasses import dataclass


class Overdrawn(Exception):
    """An account has not enough money; its name and what is missing."""


@dataclass(frozen=True)
class Transfer:
    """Cents from one account to another; the fee is paid by the sender on top."""

    source: str
    target: str
    amount: int
    fee: int = 0


def book(balances: dict[str, int], transfer: Transfer, fees: str = "fees") -> dict[str, int]:
    """The balances after a transfer, its fee on the account for fees. The balances given stay as they are.

    Accounts that are not there yet are opened with nothing on them. Raises Overdrawn, and ValueError where
    the transfer makes no sense.
    """
    if transfer.amount <= 0 or transfer.fee < 0 or transfer.source == transfer.target:
        raise ValueError(f"not a transfer: {transfer}")
    due = transfer.amount + transfer.fee
    after = dict(balances)
    missing = due - after.get(transfer.source, 0)
    if missing > 0:
        raise Overdrawn(f"{transfer.source} lacks {missing}")
    after[transfer.source] -= due
    after[transfer.target] = after.get(transfer.target, 0) + transfer.amount
    if transfer.fee:
        after[fees] = after.get(fees, 0) + transfer.fee
    return after


def book_all(balances: dict[str, int], transfers: Iterable[Transfer]) -> dict[str, int]:
    """The balances after all transfers in turn; where one cannot be booked, none is."""
    for transfer in transfers:
        balances = book(balances, transfer)
    return balances
