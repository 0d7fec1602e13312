from cents import instalments, split_cents


def test_even_shares():
    assert split_cents(1000, [1, 1]) == [500, 500]


def test_shares_by_weight():
    assert split_cents(1000, [1, 3]) == [250, 750]


def test_uneven_shares():
    assert instalments(1000, 3) == [334, 333, 333]
