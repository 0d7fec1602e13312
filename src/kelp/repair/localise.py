"""Which functions may hold the fault: those that the failing tests reach, the more suspicious the likelier."""

import math
from collections.abc import Sequence

from kelp.execution.observation import Observation
from kelp.search.suspicion import suspicion
from kelp.syntax.functions import Function

LIMIT = 5  # functions searched at once


def suspects(functions: Sequence[Function], observation: Observation) -> dict[str, float]:
    """Functions that failing tests reach with the log-probability (nats) of holding the fault, likeliest first.

    Taken are those with the worst lines; each is as likely as all of its lines together. Where the file itself cannot
    be imported, the function that this happens in is to blame.
    """
    by_line = suspicion(observation)
    lines: dict[str, list[float]] = {}
    for function in functions:  # a name may be defined more than once: a property and its setter
        own = range(function.first_line, function.last_line + 1)
        lines.setdefault(function.qualname, []).extend(by_line[line] for line in own if line in by_line)
    worst = sorted((name for name in lines if lines[name]), key=lambda name: -max(lines[name]))[:LIMIT]
    total = sum(sum(lines[name]) for name in worst)
    return {name: math.log(sum(lines[name]) / total) for name in sorted(worst, key=lambda name: -sum(lines[name]))}
