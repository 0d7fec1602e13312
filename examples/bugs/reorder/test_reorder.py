from reorder import Item, order_quantity


def test_enough_is_enough():
    assert order_quantity(Item("tea", on_hand=12, minimum=10, target=30)) == 0


def test_reserved_pieces_are_gone():
    assert order_quantity(Item("tea", on_hand=12, reserved=4, minimum=10, target=30)) == 22


def test_what_is_on_its_way_counts():
    assert order_quantity(Item("tea", on_hand=2, on_order=20, minimum=10, target=30)) == 0
