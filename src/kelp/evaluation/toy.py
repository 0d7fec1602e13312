"""The toy benchmark: tasks of a few lines, broken by one, two and three near misses, to be repaired by their tests."""

import random
from collections.abc import Callable, Sequence
from typing import Any

from kelp.data.encoding import Encoder
from kelp.data.record import Record
from kelp.data.toy import TASKS
from kelp.diffusion.bank import Bank
from kelp.diffusion.forward import SWAPS, ForwardConfig, corrupt
from kelp.evaluation.repair import RUN_SECONDS, Case, PolicyFor, Settings, solve, summarise
from kelp.execution.sandbox import Sandbox
from kelp.execution.suite import Limits
from kelp.search.policy import ModelPolicy, NoModel
from kelp.search.task import Budget
from kelp.syntax.program import parse

MUTATIONS = (1, 2, 3)
NEAR_MISSES = ForwardConfig(weights={kind: 0.0 for kind in SWAPS})


def make_cases(trials: int = 10, seed: int = 0, mutations: Sequence[int] = MUTATIONS) -> list[Case]:
    """`trials` broken versions of every task for each number of mutations."""
    with Sandbox(limits=Limits(seconds=RUN_SECONDS), allow_weak=True) as sandbox:
        return [
            make_case(task, count, f"{task.name}/{count}/{trial}", seed, sandbox)
            for count in mutations
            for task in TASKS
            for trial in range(trials)
        ]


def make_case(task: Record, mutations: int, name: str, seed: int, sandbox: Sandbox) -> Case:
    """Break a task by near misses until a test fails: what passes all of them is no broken program.

    Deterministic, and each case by itself.
    """
    rng = random.Random(f"{seed} {name}")
    clean = parse(task.source.rstrip("\n").encode())
    rejected = 0
    while True:
        path, broken = corrupt(clean, rng, mutations, NEAR_MISSES, Bank({}))
        if len(path) == mutations:
            if not sandbox.run(broken.source, asserts=task.asserts, setup=task.context).ok:
                break
            rejected += 1
    return Case(
        id=name,
        group=str(mutations),
        source=broken.source.decode() + "\n",
        function=task.name,
        asserts=task.asserts,
        fixed=task.source,
        intent=task.intent,
        setup=task.context or "",
        rejected=rejected,
    )


def no_model(seed: int = 0, *, by_line: bool = False) -> PolicyFor:
    """The baseline, with an order of its own for every case."""
    return lambda case: NoModel(f"{seed} {case.id}", by_line=by_line)


def toy_metrics(
    encoder: Encoder, *, trials: int = 1, mutations: Sequence[int] = (1, 3), max_runs: int = 64, seed: int = 1
) -> Callable[[Any, int], dict[str, float]]:
    """The `evaluate` of a training run: how a few cases fare with the weights of a step.

    They are the same at every step. The seed is not the benchmark's, whose cases must not choose a checkpoint.
    """
    cases = make_cases(trials, seed, mutations)
    policy = ModelPolicy(None, encoder)  # compiled once
    settings = Settings(budget=Budget(runs=max_runs, seconds=600.0, patches=1))

    def evaluate(denoiser: Any, step: int) -> dict[str, float]:
        policy.denoiser = denoiser
        with Sandbox(limits=Limits(seconds=RUN_SECONDS), allow_weak=True) as sandbox:
            rows = [solve(case, policy, sandbox, settings) for case in cases]
        figures = summarise(rows, max_runs)
        return {f"toy_{name}": figures[name].mean for name in ("repaired", "exact_match", "pass_rate")}

    return evaluate
