"""Searches for the repair of cases, and what came of each: the part that all benchmarks share."""

import math
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from kelp.diffusion.diff import next_edits
from kelp.encoding.condition import Condition
from kelp.evaluation.case import LANGUAGE, Case, Oracle, Row, Step, shared_sandbox
from kelp.evaluation.metrics import exact_match
from kelp.evaluation.pass_at_k import count_correct
from kelp.execution.sandbox import Sandbox
from kelp.execution.worker.protection import die_with_parent
from kelp.search.policy import Bound, Policy, Proposal
from kelp.search.search import Node, Result, Search, run, solved
from kelp.search.task import Budget
from kelp.syntax.edits import Edit
from kelp.syntax.functions import functions
from kelp.syntax.program import Program
from kelp.syntax.sites import key

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue

PolicyFor = Callable[[Case], Policy]


@dataclass(frozen=True)
class Settings:
    """How every case is searched."""

    strategy: str = "best-first"
    budget: Budget = field(default_factory=lambda: Budget(runs=64, seconds=600.0))
    seed: int = 0
    samples: int = 0  # programs drawn from the policy without tests, of each case, for pass@k


@dataclass
class Watched(Policy):
    """A policy, and what it proposed for one program the first time it saw it."""

    policy: Policy
    source: bytes | None
    proposed: list[Proposal] = field(default_factory=list)
    rest: Iterator[Proposal | Bound] | None = None  # what the search did not ask for

    def propose(self, program: Program, condition: Condition) -> Iterator[Proposal | Bound]:
        found = self.policy.propose(program, condition)
        if self.rest is not None or program.source != self.source:
            return found
        self.rest = found
        return self._noted(found)

    @property
    def patience(self) -> float:
        return self.policy.patience

    def judge(self, program: Program, condition: Condition, edits: Sequence[Edit]) -> list[Proposal]:
        return self.policy.judge(program, condition, edits)

    def _noted(self, found: Iterator[Proposal | Bound]) -> Iterator[Proposal | Bound]:
        for each in found:
            if isinstance(each, Proposal):
                self.proposed.append(each)
            yield each

    def all(self) -> Iterator[Proposal]:
        yield from self.proposed
        yield from (each for each in self.rest or () if isinstance(each, Proposal))


def solve(case: Case, policy: Policy, sandbox: Sandbox, settings: Settings = Settings()) -> Row:
    """Search one case and judge what was found. `sandbox` is that of `case.shared_sandbox`."""
    truth = first_edits(case)
    watched = Watched(policy, truth[0] if truth else None)
    with Oracle(case, sandbox) as oracle:
        repaired_at: list[float] = []
        search = Search(case.task, watched, oracle, settings.budget, seed=settings.seed)
        search.watch = lambda node: repaired_at.append(time.monotonic() - search.began) if solved(node) else None
        result = run(search, settings.strategy)
        rank, right = located(watched, truth[1]) if truth else (None, None)
        row = judge(case, result, oracle, repaired_at[0] if repaired_at else None, rank, right)
        if not settings.samples:
            return row
        budget = settings.budget
        good = count_correct(case, policy, oracle, settings.samples, budget.edits, settings.seed)
        return replace(row, samples=settings.samples, samples_correct=good)


def judge(
    case: Case, result: Result, oracle: Oracle, first_seconds: float | None, rank: int | None, right: bool | None
) -> Row:
    """What a search's result is worth."""
    best = result.patches[0] if result.patches else result.closest
    first = min(result.patches, key=lambda node: node.run or 0, default=None)
    patch, first_patch = (node.source.decode() if node and result.patches else None for node in (best, first))
    good = {text: oracle.passes_hidden(text) for text in {patch, first_patch} if text is not None}
    missed = False if case.hidden_tests else None  # by a case that was not repaired
    return Row(
        id=case.id,
        group=case.group,
        repaired=patch is not None,
        correct=good.get(patch or "", missed),
        first_correct=good.get(first_patch or "", missed),
        exact=None if case.fixed is None else patch is not None and exact_match(patch, case.fixed),
        first_exact=None if case.fixed is None else first_patch is not None and exact_match(first_patch, case.fixed),
        pass_rate=_share_passed(best, result.start),
        first_repair=None if first is None else first.run,
        first_seconds=first_seconds,
        runs=result.runs,
        seconds=result.seconds,
        states=result.states,
        valid_states=result.valid_states,
        rejected=case.rejected,
        stopped=result.stopped,
        site_rank=rank,
        site_edit=right,
        source=case.source,
        patch=patch,
        first_patch=first_patch,
        path=tuple(map(_step, best.path())),
    )


def _share_passed(best: Node, start: Node) -> float:
    """Of the tests that there are; a program that cannot be imported may not say how many that is."""
    seen = [node.observation for node in (best, start) if node.observation is not None]
    return (seen[0].passed if seen else 0) / max([1, *(observation.total for observation in seen)])


def _step(node: Node) -> Step:
    edit, seen = node.edit or Edit(0, 0, b""), node.observation
    return Step(
        start=edit.start,
        end=edit.end,
        old=node.parent.source[edit.start : edit.end].decode() if node.parent else "",
        new=edit.text.decode(),
        origin=node.origin,
        log_prob=node.log_prob if math.isfinite(node.log_prob) else None,
        run=node.run or 0,
        passed=seen.passed if seen else 0,
        total=seen.total if seen else 0,
        said=seen.render() if seen else "",
    )


def first_edits(case: Case) -> tuple[bytes, list[Edit]] | None:
    """The function that is broken, and every edit that begins a shortest way to the correct program.

    None where that is not known, or not one function alone.
    """
    if case.fixed is None:
        return None
    before, after = (functions(text.encode(), LANGUAGE) for text in (case.source, case.fixed))
    if [f.qualname for f in before] != [f.qualname for f in after]:
        return None
    changed = [(a, b) for a, b in zip(before, after) if a.source != b.source]
    if len(changed) != 1:
        return None
    [(broken, correct)] = changed
    return broken.source, next_edits(broken.program, correct.program)


def located(watched: Watched, right: Sequence[Edit]) -> tuple[int | None, bool | None]:
    """The place, from 1, of the first right site among those proposed, and whether the first edit there is right.

    0 and None where no right site is proposed at all; None and None where nothing was asked for.
    """
    if watched.rest is None:
        return None, None
    sites = {key(edit) for edit in right}
    seen = set()
    for proposal in watched.all():
        seen.add(key(proposal.edit))
        if key(proposal.edit) in sites:
            return len(seen), proposal.edit in right
    return 0, None


def solve_all(
    cases: Sequence[Case], policies: Callable[[], PolicyFor], settings: Settings = Settings(), *, jobs: int = 1
) -> Iterator[Row]:
    """Search all cases; rows as they are done. `policies` is called once a process; pickled where jobs > 1."""
    if jobs == 1:
        with shared_sandbox() as sandbox:
            policy_for = policies()
            for case in cases:
                yield solve(case, policy_for(case), sandbox, settings)
        return
    spawn = multiprocessing.get_context("spawn")
    shares = spawn.SimpleQueue()
    for number in range(jobs):
        shares.put((number, jobs))
    with ProcessPoolExecutor(jobs, spawn, initializer=_start, initargs=(policies, settings, shares)) as pool:
        try:
            for done in as_completed([pool.submit(_solve, case) for case in cases]):  # a kill loses none that is done
                yield done.result()
        finally:
            pool.shutdown(cancel_futures=True)


_worker: dict[str, Any] = {}  # of a process of the pool


def _start(policies: Callable[[], PolicyFor], settings: Settings, shares: "SimpleQueue[tuple[int, int]]") -> None:
    """Takes its share of the cores: matrix products on more threads than there are cores left cost a sixth more."""
    die_with_parent()  # which may be killed, and could not tell it to stop
    number, jobs = shares.get()
    if hasattr(os, "sched_setaffinity") and len(cores := sorted(os.sched_getaffinity(0))) >= jobs:
        os.sched_setaffinity(0, cores[number::jobs])
    _worker.update(policy_for=policies(), sandbox=shared_sandbox(), settings=settings)


def _solve(case: Case) -> Row:
    return solve(case, _worker["policy_for"](case), _worker["sandbox"], _worker["settings"])
