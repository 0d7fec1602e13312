"""Fault localization by function: the functions that the failing tests reach, with the probability of each."""

import math
from collections.abc import Sequence

from kelp.execution.observation import Observation
from kelp.search.suspicion import suspicion
from kelp.syntax.functions import Function

SEARCHED = 5  # functions at once, at most


def suspects(functions: Sequence[Function], observation: Observation) -> dict[str, float]:
    """Return functions that failing tests reach with the log-probability (nats) of holding the fault, likeliest first.

    The functions with the worst lines are taken; each is as likely as all of its lines together. Where the file itself
    cannot be imported, the only suspect is the function in which the import fails.
    """
    by_line = suspicion(observation)
    lines: dict[str, list[float]] = {}
    for function in functions:  # a name may be defined more than once: a property and its setter
        own = range(function.first_line, function.last_line + 1)
        lines.setdefault(function.qualname, []).extend(by_line[line] for line in own if line in by_line)
    worst = sorted((name for name in lines if lines[name]), key=lambda name: -max(lines[name]))[:SEARCHED]
    total = sum(sum(lines[name]) for name in worst)
    return {name: math.log(sum(lines[name]) / total) for name in sorted(worst, key=lambda name: -sum(lines[name]))}
