import pytest

from reorder import Item, order_quantity, purchase_list


def test_nothing_is_ordered_at_the_minimum():
    assert order_quantity(Item("a", on_hand=10, minimum=10, target=30)) == 0
    assert order_quantity(Item("a", on_hand=9, minimum=10, target=30)) == 21


def test_orders_on_their_way_are_stock():
    assert order_quantity(Item("a", on_hand=0, on_order=10, minimum=10, target=30)) == 0
    assert order_quantity(Item("a", on_hand=0, on_order=9, minimum=10, target=30)) == 21


def test_reservations_are_no_stock():
    assert order_quantity(Item("a", on_hand=15, reserved=6, minimum=10, target=30)) == 21
    assert order_quantity(Item("a", on_hand=0, reserved=5, minimum=10, target=30)) == 35


def test_both_are_counted():
    assert order_quantity(Item("a", on_hand=10, reserved=8, on_order=5, minimum=10, target=30)) == 23
    assert order_quantity(Item("a", on_hand=10, reserved=8, on_order=8, minimum=10, target=30)) == 0


def test_packs_are_whole():
    assert order_quantity(Item("a", on_hand=3, minimum=5, target=20, pack=6)) == 18
    assert order_quantity(Item("a", on_hand=2, minimum=5, target=20, pack=6)) == 18
    assert order_quantity(Item("a", on_hand=1, minimum=5, target=20, pack=6)) == 24


def test_a_target_below_what_is_there_orders_nothing():
    assert order_quantity(Item("a", on_hand=5, minimum=10, target=4)) == 0


def test_a_pack_without_pieces_is_refused():
    with pytest.raises(ValueError, match="a: a pack"):
        order_quantity(Item("a", on_hand=0, minimum=1, target=2, pack=0))


def test_the_list_holds_what_is_needed_the_largest_first():
    items = [
        Item("cups", on_hand=1, minimum=5, target=10),
        Item("lids", on_hand=50, minimum=5, target=90),
        Item("bags", on_hand=0, on_order=2, minimum=5, target=40),
        Item("caps", on_hand=1, minimum=5, target=10),
    ]
    assert list(purchase_list(items).items()) == [("bags", 38), ("caps", 9), ("cups", 9)]
    assert purchase_list([]) == {}
