import pytest

from ledger import Overdrawn, Transfer, book, book_all


def test_an_empty_account_has_no_money_to_send():
    with pytest.raises(Overdrawn, match="ann lacks 5"):
        book({}, Transfer("ann", "bob", 5))


def test_money_moves():
    assert book({"ann": 100, "bob": 20}, Transfer("ann", "bob", 30)) == {"ann": 70, "bob": 50}


def test_the_sender_pays_the_fee():
    assert book({"ann": 100}, Transfer("ann", "bob", 30, fee=2)) == {"ann": 68, "bob": 30, "fees": 2}


def test_nothing_to_book():
    assert book_all({"ann": 1}, []) == {"ann": 1}
