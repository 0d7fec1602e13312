import pytest

from cents import instalments, split_cents


@pytest.mark.parametrize("total", [0, 1, 2, 99, 100, 101, 12345])
@pytest.mark.parametrize("weights", [[1], [1, 1, 1], [3, 0, 5], [7, 11, 13, 17], [1, 99]])
def test_no_cent_is_lost_and_each_share_is_close(total, weights):
    shares = split_cents(total, weights)
    assert sum(shares) == total
    assert all(abs(share - total * weight / sum(weights)) < 1 for share, weight in zip(shares, weights))


def test_what_is_left_goes_to_those_who_lost_most():
    assert split_cents(100, [1, 1, 4]) == [17, 17, 66]
    assert split_cents(10, [1, 2, 1]) == [3, 5, 2]
    assert split_cents(5, [3, 3, 1]) == [2, 2, 1]


def test_one_cent_among_many():
    assert split_cents(1, [1, 1, 1]) == [1, 0, 0]
    assert split_cents(2, [1, 1, 1]) == [1, 1, 0]


def test_who_has_no_weight_gets_nothing():
    assert split_cents(101, [1, 0, 1]) == [51, 0, 50]
    assert split_cents(7, [0, 0, 2]) == [0, 0, 7]


def test_refunds():
    assert split_cents(-100, [1, 1, 1]) == [-33, -33, -34]


def test_instalments():
    assert instalments(1001, 4) == [251, 250, 250, 250]
    assert instalments(1003, 4) == [251, 251, 251, 250]
    assert instalments(500, 1) == [500]


def test_what_cannot_be_split():
    with pytest.raises(ValueError, match="weights"):
        split_cents(10, [0, 0])
    with pytest.raises(ValueError, match="weights"):
        split_cents(10, [3, -1])
    with pytest.raises(ValueError, match="number"):
        instalments(10, 0)
