"""Which functions may hold the fault: those that the failing tests reach, the more suspicious the likelier."""

import math
from collections.abc import Sequence

from kelp.execution.observation import Observation
from kelp.syntax.functions import Function

LIMIT = 5  # functions searched at once


def suspects(functions: Sequence[Function], observation: Observation) -> dict[str, float]:
    """Functions that failing tests reach with the log-probability (nats) of holding the fault, likeliest first.

    A line's suspiciousness is Ochiai's coefficient, failed(l) / sqrt(failed * (failed(l) + passed(l))) over the
    tests that execute it (Abreu, Zoeteweij & van Gemund, 2006); a function's is that of its worst line. Where the
    file itself cannot be imported, the function that this happens in is to blame.
    """
    ran = [outcome for outcome in observation.outcomes if outcome.status != "skip"]
    failing = [outcome.lines for outcome in ran if outcome.status != "pass"]
    passing = [outcome.lines for outcome in ran if outcome.status == "pass"]
    if observation.error_line is not None:
        failing.append(frozenset({observation.error_line}))

    def ochiai(line: int) -> float:
        failed, passed = (sum(line in lines for lines in tests) for tests in (failing, passing))
        return failed / math.sqrt(len(failing) * (failed + passed))

    suspicion = {line: ochiai(line) for line in frozenset[int]().union(*failing)}
    scores: dict[str, float] = {}
    for function in functions:
        lines = range(function.first_line, function.last_line + 1)
        score = max((suspicion[line] for line in lines if line in suspicion), default=0.0)
        scores[function.qualname] = max(score, scores.get(function.qualname, 0.0))
    worst = sorted((name for name in scores if scores[name] > 0), key=lambda name: -scores[name])[:LIMIT]
    total = sum(scores[name] for name in worst)
    return {name: math.log(scores[name] / total) for name in worst}
