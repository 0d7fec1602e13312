"""Which functions may hold the fault: those that the failing tests reach, the more suspicious the likelier."""

import math
from collections.abc import Sequence

from kelp.execution.observation import Observation
from kelp.search.suspicion import suspicion
from kelp.syntax.functions import Function

LIMIT = 5  # functions searched at once


def suspects(functions: Sequence[Function], observation: Observation) -> dict[str, float]:
    """Functions that failing tests reach with the log-probability (nats) of holding the fault, likeliest first.

    A function is as suspicious as all of its lines together. Where the file itself cannot be imported, the function
    that this happens in is to blame.
    """
    by_line = suspicion(observation)
    scores: dict[str, float] = {}
    for function in functions:
        lines = range(function.first_line, function.last_line + 1)
        scores[function.qualname] = scores.get(function.qualname, 0.0) + sum(by_line.get(line, 0.0) for line in lines)
    worst = sorted((name for name in scores if scores[name] > 0), key=lambda name: -scores[name])[:LIMIT]
    total = sum(scores[name] for name in worst)
    return {name: math.log(scores[name] / total) for name in worst}
