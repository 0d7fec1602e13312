"""Decide whether pieces of code are equivalent: run them in the sandbox on random values (`equivalence_probe.py`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kelp.execution import Limits, Sandbox

PROBE = Path(__file__).with_name("equivalence_probe.py")
LIMITS = Limits(seconds=60.0)  # per batch; the probe itself abandons a question after a second
BATCH = 64  # questions in one process
How = Literal["value", "truth", "statement"]


@dataclass(frozen=True)
class Question:
    """Question of equivalence: which of `others` agree with `origin`, by value, truth or effect."""

    how: How
    origin: str
    others: tuple[str, ...]


def verdicts(sandbox: Sandbox, questions: Sequence[Question]) -> list[str]:
    """One sign per candidate of each question: `=` agrees, `!` differs, `?` unknown."""
    found: list[str] = []
    source = PROBE.read_bytes()
    while len(found) < len(questions):
        batch = questions[len(found) : len(found) + BATCH]
        calls = [f"verdicts({q.how!r}, {q.origin!r}, {q.others!r})" for q in batch]
        for question, result in zip(batch, sandbox.evaluate(source, calls)):
            if result.exception == "NotRun":  # after one that hung or died
                break
            signs = (result.repr or "").strip("'")
            found.append(signs if len(signs) == len(question.others) else "?" * len(question.others))
    return found
