"""Fault localization by spectrum: suspicious lines are executed by failing tests and not by passing ones."""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence

from kelp.encoding.condition import Condition
from kelp.execution.observation import Observation
from kelp.syntax.edits import Edit
from kelp.syntax.program import Program

CRASH_FACTOR = 4.0  # by which the line on which a failing test raises is more suspicious than others that it executes
SUSPICION_FLOOR = 0.02  # suspicion of a line that no failing test executes


def suspicion(observation: Observation) -> dict[int, float]:
    """Return the suspicion, from 0 to 1, of each line (1-based) that a failing test executed; empty for untraced runs.

    The square of Ochiai's coefficient, failed(l) / sqrt(failed * (failed(l) + passed(l))) over the tests that execute
    the line (Abreu, Zoeteweij & van Gemund, 2006): taken for probabilities, squares found the faulty line of 700
    broken training functions best (1.35 nats; 1.37 not squared, 2.54 where all lines are equal). A line on which a
    failing test raises counts `CRASH_FACTOR` times, and the worst line is at most 1. Where the file
    cannot be imported, the line of the error is the only suspicious one.
    """
    squares, factors = _squares(observation), crash_factors(observation)
    return {line: value * factors[line] for line, value in squares.items()}


def squared_ochiai(failed: int, passed: int, failing: int) -> float:
    """The square of Ochiai's coefficient, of what `failed` of the `failing` tests and `passed` passing ones do."""
    return failed**2 / (failing * (failed + passed)) if failed else 0.0


def crash_factors(observation: Observation) -> dict[int, float]:
    """The factor by which the suspicion of each line is more or less than its squared coefficient."""
    squares = _squares(observation)
    ran = [outcome for outcome in observation.outcomes if outcome.status != "skip"]
    crashes = {outcome.line for outcome in ran if outcome.status == "error"}
    factors = {line: CRASH_FACTOR if line in crashes else 1.0 for line in squares}
    scale = max([1.0, *(value * factors[line] for line, value in squares.items())])
    return {line: factor / scale for line, factor in factors.items()}


def _squares(observation: Observation) -> dict[int, float]:
    ran = [outcome for outcome in observation.outcomes if outcome.status != "skip"]
    failing = [outcome.lines for outcome in ran if outcome.status != "pass"]
    passing = [outcome.lines for outcome in ran if outcome.status == "pass"]
    if observation.error_line is not None:
        failing.append(frozenset({observation.error_line}))

    def count(line: int, tests: list[frozenset[int]]) -> int:
        return sum(line in lines for lines in tests)

    lines = frozenset[int]().union(*failing)
    return {line: squared_ochiai(count(line, failing), count(line, passing), len(failing)) for line in lines}


def moved(lines: list[int], source: bytes, edit: Edit) -> list[int]:
    """Carry a number for each line of `source` over an edit: new lines have the number of the line they stand in."""
    first = source.count(b"\n", 0, edit.start)
    removed = source.count(b"\n", edit.start, edit.end)
    return [*lines[: first + 1], *[lines[first]] * edit.text.count(b"\n"), *lines[first + 1 + removed :]]


def may_matter(program: Program, suspicion: tuple[float, ...]) -> Callable[[Edit], bool]:
    """Return a function of an edit: whether a failing test executes a line of it, as far as that is known."""
    weight = line_weights(program, suspicion)
    return lambda edit: weight(edit.start, edit.end) > math.log(SUSPICION_FLOOR)


def line_weights(program: Program, suspicion: tuple[float, ...]) -> Callable[[int, int], float]:
    """Return a function of a span: the log of the suspicion of its worst line, or 0 where no line is suspicious."""
    if not any(suspicion):
        return lambda start, end: 0.0
    worst = line_values(program, suspicion)
    return lambda start, end: math.log(max(SUSPICION_FLOOR, worst(start, end)))


def line_values(program: Program, values: Sequence[float]) -> Callable[[int, int], float]:
    """Return a function of a span: the greatest value of its lines, 0 for a line without one."""
    lines = [0, *(i + 1 for i, byte in enumerate(program.source) if byte == ord("\n"))]

    def greatest(start: int, end: int) -> float:
        first, last = bisect_right(lines, start), bisect_right(lines, max(start, end - 1))
        last += start == end  # an insertion may belong to the line after
        return max([0.0, *values[first - 1 : last]])

    return greatest


def edit_weights(program: Program, condition: Condition) -> Callable[[Edit], float]:
    """Return a function of an edit: the log of its suspicion, that of its lines where its effect is not known."""
    weight, known = line_weights(program, condition.suspicion), condition.effects
    return lambda edit: known[edit] if edit in known else weight(edit.start, edit.end)


def spread(condition: Condition) -> Callable[[Edit], float]:
    """Return a function of an edit: the part of its kind's probability that it takes, less where it may not help."""
    return lambda edit: math.exp(condition.effects.get(edit, 0.0))
