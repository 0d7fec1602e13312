"""The toy benchmark: tasks of a few lines, broken by one, two and three near misses, to be repaired by their tests."""

from collections.abc import Callable, Sequence
from typing import Any

from kelp.data.encoding import Encoder
from kelp.data.toy import TASKS
from kelp.evaluation.case import Case, shared_sandbox
from kelp.evaluation.corrupt import Corruption, break_all
from kelp.evaluation.metrics import summarise
from kelp.evaluation.repair import Settings, solve
from kelp.search.policy import ModelPolicy
from kelp.search.task import Budget


def programs() -> list[Case]:
    """The tasks. They have no hidden tests."""
    return [
        Case(
            id=task.name,
            source=task.source,
            visible_tests=task.asserts,
            setup=task.context or "",
            intent=task.intent,
            function=task.name,
        )
        for task in TASKS
    ]


def toy_metrics(
    encoder: Encoder,
    *,
    trials: int = 1,
    mutations: Sequence[Corruption] = (Corruption.one, Corruption.three),
    max_runs: int = 64,
    seed: int = 1,
) -> Callable[[Any, int], dict[str, float]]:
    """The `evaluate` of a training run: how a few cases fare with the weights of a step.

    They are the same at every step. The seed is not the benchmark's, whose cases must not choose a checkpoint.
    """
    cases, _ = break_all(programs(), mutations, trials, seed)
    policy = ModelPolicy(None, encoder)  # compiled once
    settings = Settings(budget=Budget(runs=max_runs, seconds=600.0, patches=1))

    def evaluate(denoiser: Any, step: int) -> dict[str, float]:
        policy.denoiser = denoiser
        with shared_sandbox() as sandbox:
            rows = [solve(case, policy, sandbox, settings) for case in cases]
        figures = summarise(rows, max_runs)
        return {f"toy_{name}": figures[name].mean for name in ("repaired", "exact_match", "pass_rate")}

    return evaluate
