import math
from itertools import combinations

import pytest

from kelp.evaluation.metrics import (
    Estimate,
    area,
    estimate,
    exact_match,
    mcnemar,
    pass_at_k,
    percentile,
    solved_versus_runs,
)


def test_a_mean_has_the_interval_of_its_resampled_means() -> None:
    # Resampled means of five 1s and five 0s are binomial: 2.5 % of them are at most 0.2 and as many at least 0.8.
    assert estimate([1, 0] * 5) == Estimate(0.5, 0.2, 0.8, 10)
    assert estimate([1, 0]) == Estimate(0.5, 0.0, 1.0, 2)
    assert estimate([0.25] * 7) == Estimate(0.25, 0.25, 0.25, 7)


def test_more_cases_make_a_narrower_interval() -> None:
    few, many = estimate([1, 0, 0, 0] * 5), estimate([1, 0, 0, 0] * 50)
    assert few.mean == many.mean == 0.25
    assert few.low < many.low < 0.25 < many.high < few.high


def test_the_interval_is_the_same_every_time() -> None:
    values = [0.1, 0.4, 0.4, 0.9, 0.3]
    assert estimate(values) == estimate(values)
    assert estimate(values).low != estimate(values, seed=1).low


def test_no_cases_have_no_mean() -> None:
    with pytest.raises(ValueError, match="no cases"):
        estimate([])


def test_an_estimate_reads_as_a_share_with_its_interval() -> None:
    assert str(Estimate(0.953, 0.91, 0.987, 300)) == "95.3% [91%, 99%]"


@pytest.mark.parametrize(
    ("patch", "same"),
    [
        ("def f(x):\n    return x+1  # one more\n", True),
        ("def f(x):\n\n    return (x + 1)", True),
        ("def f(x):\n    return 1 + x\n", False),
        ("def f(y):\n    return y + 1\n", False),
        ("def f(x):\n    return x + 1.0\n", False),
        ("def f(x):\n    return x + True\n", False),
        ("def f(x):\n    pass\n    return x + 1\n", False),
        ("def f(x):\n    return x +\n", False),
    ],
)
def test_a_match_is_exact_but_for_layout_and_comments(patch: str, same: bool) -> None:
    assert exact_match(patch, "def f(x):\n    return x + 1\n") is same


def test_a_long_chain_of_elifs_is_compared_too() -> None:
    chain = "def f(x):\n    if x < 0:\n        pass\n" + "    elif x == 1:\n        return 2\n" * 400
    assert exact_match(chain, chain.replace("1:", "1:  # one"))
    assert not exact_match(chain, chain[:-2] + "3\n")


def test_percentiles_lie_between_the_values_around_them() -> None:
    assert percentile([7, 2, 3], 50) == 3
    assert percentile([2, 3], 50) == 2.5
    assert percentile([1, 2, 3, 4, 5, 6], 90) == 5.5
    assert percentile([], 50) is None


def test_solved_versus_runs_is_over_all_cases() -> None:
    assert solved_versus_runs([1, 2, 5, 20, None], most=20) == {1: 0.2, 2: 0.4, 4: 0.4, 8: 0.6, 16: 0.6, 20: 0.8}
    assert solved_versus_runs([None], most=1) == {1: 0.0}
    assert list(solved_versus_runs([3], most=64)) == [1, 2, 4, 8, 16, 32, 64]
    assert list(solved_versus_runs([3], most=3000))[-3:] == [512, 1024, 3000]


def test_the_area_is_one_where_all_is_solved_at_once_and_counts_doublings() -> None:
    assert area({1: 1.0, 2: 1.0, 4: 1.0}) == 1
    assert area({1: 0.0, 2: 0.0, 4: 1.0}) == 0.25
    assert area({1: 0.0, 4: 1.0}) == 0.5
    assert area({4: 0.3}) == 0.3
    assert area({1: 0.0, 2: 1.0, 3: 1.0}) == pytest.approx((0.5 + math.log2(1.5)) / math.log2(3))


def test_mcnemar_asks_a_fair_coin() -> None:
    assert mcnemar(0, 0) == mcnemar(3, 3) == mcnemar(1, 0) == 1
    assert mcnemar(5, 0) == mcnemar(0, 5) == 2 / 32
    assert mcnemar(1, 7) == 2 * (1 + 8) / 256


@pytest.mark.parametrize(("n", "correct"), [(6, 0), (6, 1), (6, 4), (6, 6)])
def test_pass_at_k_is_the_share_of_k_samples_with_a_correct_one(n: int, correct: int) -> None:
    for k in range(1, n + 1):
        draws = list(combinations(range(n), k))
        assert pass_at_k(n, correct, k) == pytest.approx(sum(min(draw) < correct for draw in draws) / len(draws))


def test_no_more_can_be_drawn_or_be_correct_than_there_are() -> None:
    for n, correct, k in [(5, 6, 1), (5, 2, 6), (5, 2, 0), (5, -1, 1)]:
        with pytest.raises(ValueError, match="need 0 <= correct <= n"):
            pass_at_k(n, correct, k)
