"""Programs written without any test, for pass@k: random walks from a stub, each step drawn from the policy."""

import math
import random
from collections.abc import Iterator
from itertools import islice

from kelp.evaluation.case import LANGUAGE, Case
from kelp.evaluation.case_runner import CaseRunner
from kelp.search.policy import Policy, Proposal, proposals
from kelp.search.task import Target, Task
from kelp.syntax.functions import Function, functions

WIDEST = 64  # likeliest edits of a state, one of which is drawn


def samples(case: Case, policy: Policy, n: int, edits: int, seed: int) -> Iterator[str]:
    """Yield `n` programs, each after 1 to `edits` edits, uniformly.

    The policy gets the intent and the program, no test and no test result.
    """
    rng, seen = random.Random(f"{seed} {case.id}"), dict[bytes, list[tuple[Function, Proposal]]]()
    for _ in range(n):
        source = case.source.encode()
        for _ in range(rng.randint(1, edits)):
            if source not in seen:
                seen[source] = list(_steps(case, source, policy))
            if not seen[source]:
                break
            weights = [math.exp(max(-50.0, proposal.log_prob)) for _, proposal in seen[source]]
            [(window, proposal)] = rng.choices(seen[source], weights)
            source = window.to_file(proposal.edit).apply(source)
        yield source.decode()


def _steps(case: Case, source: bytes, policy: Policy) -> Iterator[tuple[Function, Proposal]]:
    names = [case.function] if case.function else [f.qualname for f in functions(case.source.encode(), LANGUAGE)]
    targets = tuple(Target(name, case.intent) for name in dict.fromkeys(names))
    task = Task(case.source.encode(), targets, LANGUAGE, case.setup.encode())
    for target, window in task.windows(source):
        condition = task.condition(target, "")
        yield from ((window, proposal) for proposal in islice(proposals(policy, window.program, condition), WIDEST))


def count_correct(case: Case, policy: Policy, runner: CaseRunner, n: int, edits: int, seed: int) -> int:
    """Count the samples that pass all tests, hidden ones too; each different program is run once."""
    drawn = list(samples(case, policy, n, edits, seed))
    return sum(drawn.count(text) for text in set(drawn) if runner.passes(text))
