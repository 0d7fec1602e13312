import pytest

from kelp.evaluation.metrics import Estimate, estimate, exact_match, median_runs, solved_versus_runs


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
        ("def f(x):\n    return x +\n", False),
    ],
)
def test_a_match_is_exact_but_for_layout_and_comments(patch: str, same: bool) -> None:
    assert exact_match(patch, "def f(x):\n    return x + 1\n") is same


def test_the_median_of_runs_is_over_what_was_repaired() -> None:
    assert median_runs([7, None, 2, 3, None]) == 3
    assert median_runs([2, 3]) == 2.5
    assert median_runs([None]) is None


def test_solved_versus_runs_is_over_all_cases() -> None:
    assert solved_versus_runs([1, 2, 5, 20, None], most=20) == {1: 0.2, 2: 0.4, 4: 0.4, 8: 0.6, 16: 0.6, 20: 0.8}
    assert solved_versus_runs([None], most=1) == {1: 0.0}
    assert list(solved_versus_runs([3], most=64)) == [1, 2, 4, 8, 16, 32, 64]
