"""What figures mean: pure functions of what happened to each case."""

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

DRAWS = 2000  # bootstrap resamples


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` cases with the 95 % interval that the cases as drawn leave it in."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.mean:.1%} [{self.low:.0%}, {self.high:.0%}]"


def estimate(values: Sequence[float], seed: int = 0) -> Estimate:
    """The mean and its percentile bootstrap interval (Efron, 1979): cases are drawn again, with replacement.

    Raises ValueError where there are no cases.
    """
    if not values:
        raise ValueError("there is no mean of no cases")
    data = np.asarray(values, float)
    drawn = np.random.default_rng(seed).integers(len(data), size=(DRAWS, len(data)))
    low, high = np.percentile(data[drawn].mean(axis=1), [2.5, 97.5])
    return Estimate(float(data.mean()), float(low), float(high), len(data))


def exact_match(patch: str, truth: str) -> bool:
    """Are they one program, but for comments and layout? Compares syntax trees. False where one does not parse."""
    try:
        return ast.dump(ast.parse(patch)) == ast.dump(ast.parse(truth))
    except (SyntaxError, ValueError):
        return False


def median_runs(first_repairs: Sequence[int | None]) -> float | None:
    """The median number of test runs to the first repair, over the cases that were repaired; None where none was."""
    repaired = [runs for runs in first_repairs if runs is not None]
    return float(median(repaired)) if repaired else None


def solved_versus_runs(first_repairs: Sequence[int | None], most: int) -> dict[int, float]:
    """Share of all cases that are repaired within 1, 2, 4, ... and `most` test runs."""
    budgets = [2**i for i in range(most.bit_length()) if 2**i < most] + [most]
    return {
        budget: sum(runs is not None and runs <= budget for runs in first_repairs) / len(first_repairs)
        for budget in budgets
    }
