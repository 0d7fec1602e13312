"""Repair cases and judge the patches: the part that all benchmarks share."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from kelp.diffusion.diff import next_edits
from kelp.encoding.condition import Condition
from kelp.errors import KelpError
from kelp.evaluation.case import LANGUAGE, Case
from kelp.evaluation.case_runner import CaseRunner, shared_sandbox
from kelp.evaluation.metrics import exact_match
from kelp.evaluation.pass_at_k import count_correct
from kelp.evaluation.result import CaseResult
from kelp.execution.observation import Observation
from kelp.execution.sandbox import Sandbox
from kelp.execution.worker.protection import die_with_parent
from kelp.repair import Done, TestsObserved, Trajectory
from kelp.repair.trajectory import SCHEMA, State
from kelp.search.policy import Bound, Policy, Proposal, Wrapper
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
    """Settings of the repair of every case."""

    strategy: str = "best-first"
    budget: Budget = field(default_factory=lambda: Budget(runs=64, seconds=600.0))
    seed: int = 0
    samples: int = 0  # programs of each case drawn from the policy without tests, for pass@k


@dataclass
class RecordingPolicy(Wrapper):
    """A policy that records its proposals for one program the first time that it is asked for them."""

    policy: Policy
    source: bytes | None
    proposed: list[Proposal] = field(default_factory=list)
    rest: Iterator[Proposal | Bound] | None = None  # proposals that the search did not ask for

    def propose(self, program: Program, condition: Condition) -> Iterator[Proposal | Bound]:
        found = self.policy.propose(program, condition)
        if self.rest is not None or program.source != self.source:
            return found
        self.rest = found
        return self._noted(found)

    def _noted(self, found: Iterator[Proposal | Bound]) -> Iterator[Proposal | Bound]:
        for each in found:
            if isinstance(each, Proposal):
                self.proposed.append(each)
            yield each

    def all(self) -> Iterator[Proposal]:
        """Yield all proposals for that program, in order."""
        yield from self.proposed
        yield from (each for each in self.rest or () if isinstance(each, Proposal))


def solve(case: Case, policy: Policy, sandbox: Sandbox, settings: Settings = Settings()) -> CaseResult:
    """Repair one case and judge the patches. `sandbox` is that of `case_runner.shared_sandbox`."""
    truth = first_edits(case)
    recording = RecordingPolicy(policy, truth[0] if truth else None)
    with CaseRunner(case, sandbox) as runner:
        trajectory = _repair(case, runner, recording, settings)
        rank, right = located(recording, truth[1]) if truth else (None, None)
        result = judge(case, trajectory, runner, rank, right)
        if not settings.samples:
            return result
        budget = settings.budget
        good = count_correct(case, policy, runner, settings.samples, budget.edits, settings.seed)
        return replace(result, samples=settings.samples, samples_correct=good)


def _repair(case: Case, runner: CaseRunner, policy: Policy, settings: Settings) -> Trajectory:
    """Run a session. Where there is nothing to search, the trajectory holds the broken program alone."""
    session = runner.session(budget=settings.budget, model=policy, strategy=settings.strategy, seed=settings.seed)
    observation = Observation(())
    try:
        for event in session.run():
            match event:
                case TestsObserved():
                    observation = event.observation
                case Done():
                    return event.result.trajectory
    except KelpError as error:
        start = State(
            id=0, parent=None, edit=None, function="", origin="start", log_prob=0.0, run=1,
            seconds=observation.seconds, observation=observation,
        )  # fmt: skip
        return Trajectory(
            schema=SCHEMA, file="", source=case.source, model="", strategy=settings.strategy, seed=settings.seed,
            budget=settings.budget, functions=(), states=(start,), patches=(), runs=1, seconds=observation.seconds,
            made=1, valid=1, stopped=str(error), timings={},
        )  # fmt: skip
    raise AssertionError("a session ends with Done")


def judge(case: Case, trajectory: Trajectory, runner: CaseRunner, rank: int | None, right: bool | None) -> CaseResult:
    """Judge the patches of a trajectory by the hidden tests and the correct program."""
    states, start = trajectory.by_id, trajectory.states[0]
    best = states[trajectory.patches[0]] if trajectory.patches else trajectory.closest
    first = min((states[id] for id in trajectory.patches), key=lambda state: state.run or 0, default=None)
    patch = trajectory.sources[best.id].decode() if trajectory.patches else None
    first_patch = None if first is None else trajectory.sources[first.id].decode()
    good = {text: runner.passes_hidden(text) for text in {patch, first_patch} if text is not None}
    unrepaired = False if case.hidden_tests else None  # result of a case that was not repaired
    return CaseResult(
        id=case.id,
        group=case.group,
        repaired=patch is not None,
        correct=good.get(patch or "", unrepaired),
        first_correct=good.get(first_patch or "", unrepaired),
        exact=None if case.fixed is None else patch is not None and exact_match(patch, case.fixed),
        first_exact=None if case.fixed is None else first_patch is not None and exact_match(first_patch, case.fixed),
        pass_rate=_share_passed(best, start),
        first_repair=None if first is None else first.run,
        first_seconds=None if first is None else first.seconds,
        runs=trajectory.runs,
        seconds=trajectory.seconds,
        states=trajectory.made,
        valid_states=trajectory.valid,
        rejected=case.rejected,
        stopped=trajectory.stopped,
        site_rank=rank,
        site_edit=right,
        source=case.source,
        patch=patch,
        first_patch=first_patch,
        path=trajectory.path(best.id),
    )


def _share_passed(best: State, start: State) -> float:
    """Share of the tests that pass; a program that cannot be imported may not say how many tests there are."""
    known = [state.observation for state in (best, start) if state.observation is not None]
    return (known[0].passed if known else 0) / max([1, *(observation.total for observation in known)])


def first_edits(case: Case) -> tuple[bytes, list[Edit]] | None:
    """Return the function that is broken, and every edit that begins a shortest way to the correct program.

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


def located(recording: RecordingPolicy, right: Sequence[Edit]) -> tuple[int | None, bool | None]:
    """Return the place, from 1, of the first right site proposed, and whether the first edit there is right.

    0 and None where no right site is proposed at all; None and None where no proposal was asked for.
    """
    if recording.rest is None:
        return None, None
    sites = {key(edit) for edit in right}
    seen = set()
    for proposal in recording.all():
        seen.add(key(proposal.edit))
        if key(proposal.edit) in sites:
            return len(seen), proposal.edit in right
    return 0, None


def solve_all(
    cases: Sequence[Case], policies: Callable[[], PolicyFor], settings: Settings = Settings(), *, jobs: int = 1
) -> Iterator[CaseResult]:
    """Repair all cases; yield results as they are done. `policies` is called once a process; pickled where jobs > 1."""
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
            for done in as_completed([pool.submit(_solve, case) for case in cases]):  # a killed run loses no result
                yield done.result()
        finally:
            pool.shutdown(cancel_futures=True)


_worker: dict[str, Any] = {}  # state of a process of the pool


def _start(policies: Callable[[], PolicyFor], settings: Settings, shares: "SimpleQueue[tuple[int, int]]") -> None:
    """Take a share of the cores: matrix products on more threads than there are cores left cost a sixth more."""
    die_with_parent()  # a parent that is killed cannot stop it
    number, jobs = shares.get()
    if hasattr(os, "sched_setaffinity") and len(cores := sorted(os.sched_getaffinity(0))) >= jobs:
        os.sched_setaffinity(0, cores[number::jobs])
    _worker.update(policy_for=policies(), sandbox=shared_sandbox(), settings=settings)


def _solve(case: Case) -> CaseResult:
    return solve(case, _worker["policy_for"](case), _worker["sandbox"], _worker["settings"])
