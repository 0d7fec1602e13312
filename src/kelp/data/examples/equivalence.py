"""Do pieces of code the same? Both are run in the sandbox on random values (`equivalence_probe.py` says how)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kelp.execution import Limits, Sandbox

PROBE = Path(__file__).with_name("equivalence_probe.py")
LIMITS = Limits(seconds=60.0)  # for a batch; the probe itself gives up a question after a second
BATCH = 64  # questions in one process
How = Literal["value", "truth", "statement"]


@dataclass(frozen=True)
class Question:
    """Which of the others do the same as the origin, in what counts?"""

    how: How
    origin: str
    others: tuple[str, ...]


def verdicts(sandbox: Sandbox, questions: Sequence[Question]) -> list[str]:
    """For each question one sign for each of its others: `=` the same, `!` something else, `?` not found out."""
    found: list[str] = []
    source = PROBE.read_bytes()
    while len(found) < len(questions):
        batch = questions[len(found) : len(found) + BATCH]
        calls = [f"verdicts({q.how!r}, {q.origin!r}, {q.others!r})" for q in batch]
        for question, result in zip(batch, sandbox.evaluate(source, calls)):
            if result.exception == "NotRun":  # after one that hung or died
                break
            told = (result.repr or "").strip("'")
            found.append(told if len(told) == len(question.others) else "?" * len(question.others))
    return found
