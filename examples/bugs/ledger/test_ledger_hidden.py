import pytest

from ledger import Overdrawn, Transfer, book, book_all


def test_all_of_the_money_may_go():
    assert book({"ann": 30}, Transfer("ann", "bob", 30)) == {"ann": 0, "bob": 30}
    assert book({"ann": 32}, Transfer("ann", "bob", 30, 2)) == {"ann": 0, "bob": 30, "fees": 2}


def test_fees_add_up():
    assert book({"ann": 9, "fees": 4}, Transfer("ann", "bob", 5, 3)) == {"ann": 1, "fees": 7, "bob": 5}


def test_fees_may_go_elsewhere():
    assert book({"ann": 9}, Transfer("ann", "bob", 5, 3), fees="bank") == {"ann": 1, "bob": 5, "bank": 3}
    assert book({"ann": 9, "bob": 1}, Transfer("ann", "bob", 5, 3), fees="bob") == {"ann": 1, "bob": 9}


def test_no_money_is_lost():
    balances = {"ann": 500, "bob": 300, "cem": 7}
    transfers = [
        Transfer("ann", "bob", 120, 3),
        Transfer("bob", "dan", 400, 1),
        Transfer("cem", "ann", 7),
        Transfer("dan", "cem", 1),
    ]
    after = book_all(balances, transfers)
    assert after == {"ann": 384, "bob": 19, "cem": 1, "dan": 399, "fees": 4}
    assert sum(after.values()) == sum(balances.values())


def test_nobody_may_be_overdrawn():
    with pytest.raises(Overdrawn, match="ann lacks 1"):
        book({"ann": 9, "bob": 99}, Transfer("ann", "bob", 10))
    with pytest.raises(Overdrawn, match="ann lacks 2"):
        book({"ann": 10}, Transfer("ann", "bob", 10, 2))


def test_balances_stay_as_they_are():
    balances = {"ann": 10}
    book(balances, Transfer("ann", "bob", 4, 1))
    assert balances == {"ann": 10}


def test_all_or_none():
    balances = {"ann": 10}
    with pytest.raises(Overdrawn):
        book_all(balances, [Transfer("ann", "bob", 8), Transfer("ann", "bob", 8)])
    assert balances == {"ann": 10}


def test_what_makes_no_sense_is_refused():
    for transfer in (Transfer("a", "a", 1), Transfer("a", "b", 0), Transfer("a", "b", -1), Transfer("a", "b", 1, -1)):
        with pytest.raises(ValueError, match="not a transfer"):
            book({"a": 9}, transfer)
