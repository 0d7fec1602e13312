"""Metrics of an evaluation: pure functions of the results of its cases."""

import ast
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from kelp.evaluation.result import CaseResult

DRAWS = 2000  # bootstrap resamples
TOP = 1, 5, 20  # of the sites proposed
PASS_AT = 1, 10, 100  # samples
MOST_RUNS = 1024  # up to which a curve doubles


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` cases with its 95 % interval, the cases being a random sample."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.mean:.1%} [{self.low:.0%}, {self.high:.0%}]"


def estimate(values: Sequence[float], seed: int = 0) -> Estimate:
    """Return the mean and its percentile bootstrap interval (Efron, 1979): cases are drawn again, with replacement.

    Raises ValueError where there are no cases.
    """
    if not values:
        raise ValueError("there is no mean of no cases")
    data = np.asarray(values, float)
    low, high = np.percentile(_drawn(data, seed).mean(axis=1), [2.5, 97.5])
    return Estimate(float(data.mean()), float(low), float(high), len(data))


def _drawn(data: np.ndarray, seed: int) -> np.ndarray:
    """Return [DRAWS, n]: the data drawn again and again, with replacement."""
    return data[np.random.default_rng(seed).integers(len(data), size=(DRAWS, len(data)))]


def exact_match(patch: str, truth: str) -> bool:
    """Return whether two programs have one syntax tree, comments and layout aside; False if one does not parse."""
    try:
        pairs: list[tuple[Any, Any]] = [(ast.parse(patch), ast.parse(truth))]
    except (SyntaxError, ValueError, MemoryError):
        return False
    while pairs:  # not by recursion, as of ast.dump: each elif of a chain is a level deeper
        a, b = pairs.pop()
        if type(a) is not type(b):
            return False
        if isinstance(a, ast.AST):
            pairs += [(getattr(a, name, None), getattr(b, name, None)) for name in a._fields]
        elif isinstance(a, list) and len(a) == len(b):
            pairs += zip(a, b)
        elif a != b:
            return False
    return True


def percentile(values: Sequence[float], percent: float) -> float | None:
    """Interpolate linearly between the two nearest values, so that 50 is the median; None for no values."""
    return float(np.percentile(values, percent)) if values else None


def percentile_interval(values: Sequence[float], percent: float, seed: int = 0) -> tuple[float, float] | None:
    """Return the bootstrap 95 % interval of a percentile; None for no values."""
    if not values:
        return None
    low, high = np.percentile(np.percentile(_drawn(np.asarray(values, float), seed), percent, axis=1), [2.5, 97.5])
    return float(low), float(high)


def solved_versus_runs(solved_at: Sequence[int | None], most: int) -> dict[int, float]:
    """Return the share of cases solved within 1, 2, 4, ... 1024 and `most` test runs; None: never solved."""
    budgets = [2**i for i in range(most.bit_length()) if 2**i < most and 2**i <= MOST_RUNS] + [most]
    return {
        budget: sum(runs is not None and runs <= budget for runs in solved_at) / len(solved_at) for budget in budgets
    }


def area(curve: Mapping[int, float]) -> float:
    """Return the mean height of a curve over the logarithm of the runs, by the trapezoidal rule; at most 1."""
    points = sorted(curve.items())
    if len(points) == 1:
        return points[0][1]
    total = sum((y + z) / 2 * math.log2(b / a) for (a, y), (b, z) in pairwise(points))
    return total / math.log2(points[-1][0] / points[0][0])


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the two-sided exact p-value of McNemar's test (1947) for the numbers of cases that only one solves."""
    n, k = only_first + only_second, min(only_first, only_second)
    return min(1.0, 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n)


def pass_at_k(n: int, correct: int, k: int) -> float:
    """Estimate, unbiased, the chance that one of k samples is correct, from n of which `correct` are.

    Chen et al. 2021, "Evaluating large language models trained on code", arXiv 2107.03374, section 2.1.
    Raises ValueError unless 0 <= correct <= n and 1 <= k <= n.
    """
    if not (0 <= correct <= n and 1 <= k <= n):
        raise ValueError(f"need 0 <= correct <= n and 1 <= k <= n, not n={n}, correct={correct}, k={k}")
    return 1 - math.comb(n - correct, k) / math.comb(n, k)


def summarize(rows: Sequence[CaseResult], most_runs: int) -> dict[str, Any]:
    """Return the metrics of some results: shares of cases with 95 % intervals, None where there is nothing to count.

    Runs and seconds up to the first repair are those of the cases that it solved, and the curve counts these cases.
    """
    solved = [row for row in rows if row.solved]
    runs = [row.first_repair for row in solved if row.first_repair is not None]
    seconds = [row.first_seconds for row in solved if row.first_seconds is not None]
    ranks = [row.site_rank for row in rows if row.site_rank is not None]
    return {
        "n": len(rows),
        "rejected": sum(row.rejected for row in rows),
        "validity": sum(row.valid_states for row in rows) / sum(row.states for row in rows),
        "repaired": estimate([row.repaired for row in rows]),
        "correct": _known([row.correct for row in rows]),
        "first_correct": _known([row.first_correct for row in rows]),
        "exact_match": _known([row.exact for row in rows]),
        "first_exact_match": _known([row.first_exact for row in rows]),
        "pass_rate": estimate([row.pass_rate for row in rows]),
        **_percentiles("runs", runs),
        **_percentiles("first_seconds", seconds),
        "median_seconds": percentile([row.seconds for row in rows], 50),
        "solved_within": solved_versus_runs([_solved_at(row) for row in rows], most_runs),
        "area": estimate([_area(row, most_runs) for row in rows]),
        **{f"site_top_{k}": _known([0 < rank <= k for rank in ranks]) for k in TOP},
        "site_edit": _known([row.site_edit for row in rows]),
        **{f"pass_at_{k}": _passed(rows, k) for k in PASS_AT},
    }


def _percentiles(name: str, values: Sequence[float]) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for word, percent in (("median", 50), ("p90", 90)):
        figures[f"{word}_{name}"] = percentile(values, percent)
        figures[f"{word}_{name}_interval"] = percentile_interval(values, percent)
    return figures


def _solved_at(row: CaseResult) -> int | None:
    return row.first_repair if row.solved else None


def _area(row: CaseResult, most_runs: int) -> float:
    """Return the area of one case: the mean over cases is the area under the curve of all."""
    return area(solved_versus_runs([_solved_at(row)], most_runs))


def _known(values: Sequence[bool | None]) -> Estimate | None:
    known = [value for value in values if value is not None]
    return estimate(known) if known else None


def _passed(rows: Sequence[CaseResult], k: int) -> Estimate | None:
    chances = [pass_at_k(row.samples, row.samples_correct, k) for row in rows if row.samples >= k]
    return estimate(chances) if chances else None


def groups_of(rows: Sequence[CaseResult]) -> dict[str, list[CaseResult]]:
    """Return the results of each group, in order of appearance, and of all."""
    groups = {group: [row for row in rows if row.group == group] for group in dict.fromkeys(row.group for row in rows)}
    return {**groups, "all": list(rows)}


def by_group(rows: Sequence[CaseResult], most_runs: int) -> dict[str, dict[str, Any]]:
    """Return the metrics of each group and of all."""
    return {group: summarize(some, most_runs) for group, some in groups_of(rows).items()}


def compare(ours: Sequence[CaseResult], theirs: Sequence[CaseResult], most_runs: int) -> dict[str, Any]:
    """Test in pairs, on the cases that both have, whether one is correct more often, or sooner.

    A case without hidden tests counts as correct where it is repaired. Raises ValueError where they share no case.
    """
    other = {row.id: row for row in theirs}
    shared = [(row, other[row.id]) for row in ours if row.id in other]
    pairs = [(_good(a), _good(b)) for a, b in shared]
    only_ours, only_theirs = pairs.count((True, False)), pairs.count((False, True))
    return {
        "difference": estimate([a - b for a, b in pairs]),
        "only_ours": only_ours,
        "only_theirs": only_theirs,
        "p": mcnemar(only_ours, only_theirs),
        "area": estimate([_area(a, most_runs) - _area(b, most_runs) for a, b in shared]),
    }


def _good(row: CaseResult) -> bool:
    return row.repaired if row.correct is None else row.correct
