"""Runners: they run the tests on the states of a search, those of a file or those of a project."""

import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Any

from kelp.execution.observation import CallResult, Observation
from kelp.execution.sandbox import Sandbox
from kelp.execution.suite import Limits
from kelp.files import common
from kelp.repair.project import LEAST_SECONDS, SUITE_SECONDS, TEST_SECONDS, Diagnosis
from kelp.repair.tests import Tests
from kelp.search.search import INTERRUPTED, Stop
from kelp.syntax.bundle import split

PROBED_TIMES = 5.0  # the limits of a run with probes, as a multiple of those of other candidates
TRACED_TIMES = 10.0  # the limit of a test of a project whose lines are traced, by the time that it took before
_ORDER = 1  # seed of the other order in which a patch must pass too


def with_probes(limits: Limits) -> Limits:
    """The limits of a run with probes, by those of other candidates."""
    cpu_seconds = limits.cpu_seconds and PROBED_TIMES * limits.cpu_seconds
    return replace(limits, seconds=PROBED_TIMES * limits.seconds, cpu_seconds=cpu_seconds)


@contextmanager
def until_stopped(stopping: Event) -> Iterator[None]:
    """Turn the error of a sandbox that `Session.stop` has closed into the end of the search."""
    try:
        yield
    except RuntimeError:
        if stopping.is_set():
            raise Stop(INTERRUPTED) from None
        raise


@dataclass(frozen=True)
class FileRunner:
    """Runs the tests, in the session's own sandbox or, as asserts of a bare program, in one that sessions share."""

    sandbox: Sandbox
    tests: Tests
    shared: bool
    stopping: Event
    aside: Mapping[str, str] = field(default_factory=dict)  # tests that need not pass, and what they lack
    traced: Limits | None = None  # of further traced runs: with probes, each takes longer than others
    original: bytes | None = None  # the file as it is, where test files pass only if they pass again in another order

    def run(self, source: bytes, *, first: str | None, seconds: float | None, trace: bool) -> Observation:
        """Run the tests; where they pass, once more in another order. All runs together take `seconds` at most."""
        end = math.inf if seconds is None else time.monotonic() + seconds
        limits = self.sandbox.limits
        if trace and self.traced is not None:
            self.sandbox.limits = self.traced
        try:
            observation = self._run(source, end, first=first, trace=trace)
        finally:
            self.sandbox.limits = limits
        if not observation.ok or self.original is None or source == self.original:
            return observation
        again = self._run(source, end, shuffle=_ORDER)
        if not again.ok and self._depend_on_order(end):
            again = self._run(source, end)
        return observation if again.ok else again

    def _run(self, source: bytes, end: float, **options: Any) -> Observation:
        with until_stopped(self.stopping):
            asserts, setup = (self.tests.asserts, self.tests.setup) if self.shared else (None, None)
            seconds = max(end - time.monotonic(), 0.01)
            observation = self.sandbox.run(source, asserts=asserts, setup=setup, seconds=seconds, **options)
        return observation.set_aside(self.aside) if self.aside else observation

    def _depend_on_order(self, end: float) -> bool:
        """Return whether the tests of the file as it is come out otherwise in that other order."""
        assert self.original is not None
        runs = [self._run(self.original, end, shuffle=order) for order in (None, _ORDER)]
        one, other = ({outcome.name: outcome.status for outcome in run.outcomes} for run in runs)
        return one != other

    def evaluate(self, source: bytes, calls: Sequence[str], *, seconds: float) -> list[CallResult]:
        with until_stopped(self.stopping):
            return self.sandbox.evaluate(source, calls, self.tests.setup, seconds=seconds)


@dataclass
class ProjectRunner:
    """Runs the tests of a project on states of its program, for a search."""

    sandbox: Sandbox
    diagnosis: Diagnosis
    until_stopped: Callable[[], AbstractContextManager[None]]
    start: Observation | None = None  # of the selected tests, on the project as it is
    test_seconds: float = TEST_SECONDS  # that one test may take

    def __post_init__(self) -> None:
        """Give a traced test longer than it took in the survey."""
        ended = (o.seconds for o in self.diagnosis.survey.observation.outcomes if o.status != "timeout")
        self.test_seconds = max(TEST_SECONDS, TRACED_TIMES * max(ended, default=0.0))

    def run(self, source: bytes, *, first: str | None, seconds: float | None, trace: bool) -> Observation:
        """Run the tests that reach the edited functions; where they pass, all others of the project too."""
        diagnosis = self.diagnosis
        if self.start is None:
            self.start = self._run(source, diagnosis.selected, trace, seconds)
            self.test_seconds = max(LEAST_SECONDS, 3 * max((o.seconds for o in self.start.outcomes), default=0.0))
            return self.start
        edited = self.edited(source)
        related = [name for name in diagnosis.selected if self._reaches(name, edited)]
        related.sort(key=lambda name: (name != first, name not in diagnosis.goals))
        ran = self._run_probed(source, related, seconds) if trace else self._run(source, related, False, seconds)
        observation = _with_others(ran, self.start, diagnosis.selected)
        return self.check(source, observation, related) if observation.ok else observation

    def evaluate(self, source: bytes, calls: Sequence[str], *, seconds: float) -> list[CallResult]:
        """Return NotLoaded for every call: the files of a project are not loaded by themselves."""
        return [CallResult(call, exception="NotLoaded") for call in calls]

    def edited(self, source: bytes) -> frozenset[int]:
        """Numbers of the functions that a state may have changed: all from a file's first change to its last."""
        program, found, before = self.diagnosis.program, set[int](), 0
        for old, new in zip(split(program.source), split(source), strict=True):
            lines, others = old.split(b"\n"), new.split(b"\n")
            if old != new:
                head = common(lines, others)
                tail = common(lines[head:][::-1], others[head:][::-1])
                first, last = before + head, before + len(lines) - tail + 1
                numbered = enumerate(self.diagnosis.windows)
                found |= {n for n, window in numbered if window.first_line <= last and window.last_line >= first}
            before += len(lines)
        return frozenset(found)

    def check(self, source: bytes, observation: Observation, ran: Collection[str] = ()) -> Observation:
        """Run all tests of the project but those that `ran`; add to the observation those that passed before and fail.

        Failing tests to repair that are not among the selected ones are added too.
        """
        survey, edited = self.diagnosis.survey, self.edited(source)
        before = {outcome.name: outcome for outcome in survey.observation.outcomes}
        skipped = {*ran, *self.diagnosis.others}
        left = [name for name in survey.tests if name not in skipped]
        left.sort(key=lambda name: not self._reaches(name, edited))
        found = self._run_all(source, left) if left else Observation(())
        failed = found.failures
        unknown = [o.name for o in failed if o.name not in before]  # the survey ended before them
        if unknown:
            now = self._run_all(self.diagnosis.program.source, unknown)
            before |= {outcome.name: outcome for outcome in now.outcomes}
        known = {outcome.name for outcome in observation.failures}
        worse = [
            o
            for o in failed
            if o.name not in known
            and (o.name in self.diagnosis.goals or o.name not in before or before[o.name].status == "pass")
        ]
        names = {outcome.name for outcome in worse}
        kept = (outcome for outcome in observation.outcomes if outcome.name not in names)
        return replace(observation, outcomes=(*kept, *worse), error=found.error, not_run=found.not_run)

    def _reaches(self, test: str, edited: frozenset[int]) -> bool:
        reached = self.diagnosis.reach.get(test)
        return reached is None or bool(reached & edited)  # an unknown test may reach all functions

    def _run_probed(self, source: bytes, tests: Sequence[str], seconds: float | None) -> Observation:
        with self._limited(with_probes(self.sandbox.limits), PROBED_TIMES * self.test_seconds):
            return self._run(source, tests, True, seconds)

    def _run_all(self, source: bytes, tests: Sequence[str]) -> Observation:
        """Run any number of tests, for as long as they take."""
        with self._limited(replace(self.sandbox.limits, seconds=SUITE_SECONDS), TEST_SECONDS):
            return self._run(source, tests, False, None)

    @contextmanager
    def _limited(self, limits: Limits, of_a_test: float) -> Iterator[None]:
        """Have other limits of a run, and of a test, for a while."""
        before = self.sandbox.limits, self.test_seconds
        self.sandbox.limits, self.test_seconds = limits, of_a_test
        try:
            yield
        finally:
            self.sandbox.limits, self.test_seconds = before

    def _run(self, source: bytes, tests: Sequence[str], trace: bool, seconds: float | None) -> Observation:
        files = {str(path): text for path, text in self.diagnosis.program.files(source).items()}
        with self.until_stopped():
            return self.sandbox.run_files(files, tests, trace=trace, seconds=seconds, of_a_test=self.test_seconds)


def _with_others(observation: Observation, start: Observation, selected: Sequence[str]) -> Observation:
    """Return a run of some of the selected tests with the others as they were at the start."""
    ran = {outcome.name: outcome for outcome in observation.outcomes}
    before = {o.name: replace(o, lines=frozenset()) for o in start.outcomes}  # lines of another state
    names = dict.fromkeys([*selected, *ran])
    if observation.not_run or observation.error is not None:
        return observation
    return replace(
        observation, outcomes=tuple(ran.get(name) or before[name] for name in names if name in ran or name in before)
    )


Runner = FileRunner | ProjectRunner
