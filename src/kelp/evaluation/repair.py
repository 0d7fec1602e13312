"""Broken programs, searches for their repair, and what came of each: the part that all repair benchmarks share."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from kelp.evaluation.metrics import estimate, exact_match, median_runs, solved_versus_runs
from kelp.execution.observation import CallResult, Observation
from kelp.execution.sandbox import Sandbox
from kelp.execution.suite import Limits
from kelp.search.policy import Policy
from kelp.search.search import Result, Search, run
from kelp.search.task import Budget, Target, Task

RUN_SECONDS = 1.0  # limit of one test run


@dataclass(frozen=True)
class Case:
    """A broken program with tests that say so. `fixed` is the program before it was broken; no search sees it."""

    id: str
    group: str
    source: str
    function: str  # qualname of what is to be repaired
    asserts: tuple[str, ...]
    fixed: str
    intent: str = ""
    setup: str = ""
    rejected: int = 0  # broken programs that were drawn before this one and passed every test


@dataclass(frozen=True)
class Settings:
    """How every case is searched."""

    strategy: str = "best-first"
    budget: Budget = field(default_factory=lambda: Budget(runs=64, seconds=600.0))
    seed: int = 0


@dataclass(frozen=True)
class Row:
    """What became of a case. Runs are test runs, that of the broken program included."""

    id: str
    group: str
    repaired: bool  # some state passed every test
    exact: bool  # the best patch is the program before it was broken
    pass_rate: float  # share of the tests that the best state passes
    first_repair: int | None  # runs up to the first repair
    runs: int
    seconds: float
    states: int
    valid_states: int
    rejected: int
    stopped: str
    source: str
    patch: str | None  # the best one


PolicyFor = Callable[[Case], Policy]


@dataclass(frozen=True)
class Asserts:
    """The tests of a case in a sandbox that all cases share.

    A run has the sandbox's own limit whatever time is left: figures must not depend on how fast the machine is.
    """

    sandbox: Sandbox
    case: Case

    def run(
        self, source: bytes, *, first: str | None = None, seconds: float | None = None, trace: bool = False
    ) -> Observation:
        return self.sandbox.run(source, first=first, asserts=self.case.asserts, setup=self.case.setup, trace=trace)

    def evaluate(self, source: bytes, calls: Sequence[str], *, seconds: float) -> list[CallResult]:
        return self.sandbox.evaluate(source, calls, self.case.setup)


def solve(case: Case, policy: Policy, sandbox: Sandbox, settings: Settings = Settings()) -> Row:
    """Search one case."""
    task = Task(case.source.encode(), (Target(case.function, case.intent, case.asserts),), case.setup.encode())
    search = Search(task, policy, Asserts(sandbox, case), settings.budget, seed=settings.seed)
    return judge(case, run(search, settings.strategy))


def judge(case: Case, result: Result) -> Row:
    """What a search's result is worth."""
    best = result.patches[0] if result.patches else result.closest
    patch = best.source.decode() if result.patches else None
    passed = best.observation.passed if best.observation else 0
    return Row(
        id=case.id,
        group=case.group,
        repaired=patch is not None,
        exact=patch is not None and exact_match(patch, case.fixed),
        pass_rate=passed / len(case.asserts),
        first_repair=min((node.run for node in result.patches if node.run is not None), default=None),
        runs=result.runs,
        seconds=result.seconds,
        states=result.states,
        valid_states=result.valid_states,
        rejected=case.rejected,
        stopped=result.stopped,
        source=case.source,
        patch=patch,
    )


def solve_all(
    cases: Sequence[Case], policies: Callable[[], PolicyFor], settings: Settings = Settings(), *, jobs: int = 1
) -> Iterator[Row]:
    """Search all cases; rows in their order. `policies` is called once a process; pickled where jobs > 1."""
    if jobs == 1:
        with Sandbox(limits=Limits(seconds=RUN_SECONDS), allow_weak=True) as sandbox:
            policy_for = policies()
            for case in cases:
                yield solve(case, policy_for(case), sandbox, settings)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, spawn, initializer=_start, initargs=(policies, settings)) as pool:
        try:
            yield from pool.map(_solve, cases)
        finally:
            pool.shutdown(cancel_futures=True)


_worker: dict[str, Any] = {}  # of a process of the pool


def _start(policies: Callable[[], PolicyFor], settings: Settings) -> None:
    _worker.update(
        policy_for=policies(), sandbox=Sandbox(limits=Limits(seconds=RUN_SECONDS), allow_weak=True), settings=settings
    )


def _solve(case: Case) -> Row:
    return solve(case, _worker["policy_for"](case), _worker["sandbox"], _worker["settings"])


def summarise(rows: Sequence[Row], most_runs: int) -> dict[str, Any]:
    """The figures of some rows; shares of cases with 95 % intervals."""
    first_repairs = [row.first_repair for row in rows]
    return {
        "n": len(rows),
        "rejected": sum(row.rejected for row in rows),
        "validity": sum(row.valid_states for row in rows) / sum(row.states for row in rows),
        "repaired": estimate([row.repaired for row in rows]),
        "exact_match": estimate([row.exact for row in rows]),
        "pass_rate": estimate([row.pass_rate for row in rows]),
        "median_runs": median_runs(first_repairs),
        "solved_within": solved_versus_runs(first_repairs, most_runs),
        "median_seconds": sorted(row.seconds for row in rows)[len(rows) // 2],
    }


def by_group(rows: Sequence[Row], most_runs: int) -> dict[str, dict[str, Any]]:
    """The figures of each group, in order of appearance, and of all."""
    groups = {group: [row for row in rows if row.group == group] for group in dict.fromkeys(row.group for row in rows)}
    return {group: summarise(some, most_runs) for group, some in [*groups.items(), ("all", list(rows))]}
