"""Session: one repair, from a program and its tests to patches, as events that a caller reads.

    session = Session(Path("slugs.py"), Tests(files=(Path("test_slugs.py"),)), Budget(seconds=30))
    for event in session.run():
        if isinstance(event, PatchFound):
            print(event.patch.diff)

The command line and evaluation run sessions, as any other caller.
"""

import difflib
import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from threading import Event as Flag
from typing import Any

from kelp.errors import KelpError
from kelp.execution.explain import need, needs_of
from kelp.execution.interpreter import Interpreter, own
from kelp.execution.observation import CallResult, Observation
from kelp.execution.sandbox import Sandbox
from kelp.execution.suite import Limits
from kelp.files import diff, read
from kelp.languages import registry
from kelp.repair import models
from kelp.repair.localize import suspects
from kelp.repair.notebook import patch_html, result_html
from kelp.repair.tests import Specification, Tests, check_program, check_ran, found_tests, run_limits, start_sandbox
from kelp.repair.timing import Timings
from kelp.repair.trajectory import SCHEMA, Candidate, State, TextEdit, Trajectory, edits_of, state_of
from kelp.search.baselines import NoModel
from kelp.search.node import Node, SearchResult
from kelp.search.policy import PointedSite, Policy
from kelp.search.search import INTERRUPTED, STRATEGIES, Search, Stop, explore
from kelp.search.task import Budget, Target, Task
from kelp.syntax.functions import Function, functions

UNNAMED = "program.py"  # in the diffs of a program that is no file
FIRST_RUN_SECONDS = 10.0  # for the tests on the file as it is; for a command, the whole budget
LEAST_RUN_SECONDS = 2.0  # for the tests on a candidate ...
_ORDER = 1  # seed of the other order in which a patch must pass too
LEAST_CPU_SECONDS = 0.5  # ... and of processor time; of both, three times what the first run took if that is more


class NoSuspect(KelpError):
    """The failing tests do not show which function may hold the fault."""


@dataclass(frozen=True)
class SandboxStarted:
    """The sandbox is ready. `missing` are the protections that this machine lacks, each in a few words."""

    missing: tuple[str, ...]


@dataclass(frozen=True)
class TestsObserved:
    """The tests have run on the program as it is."""

    __test__ = False  # pytest must not collect it

    observation: Observation


@dataclass(frozen=True)
class TestsSetAside:
    """Tests that fail for lack of a resource: what each needs, by name. A repair does not have to pass them."""

    __test__ = False  # pytest must not collect it

    needs: Mapping[str, str]


@dataclass(frozen=True)
class FunctionsChosen:
    """The functions that are searched, likeliest first."""

    functions: tuple[Candidate, ...]


@dataclass(frozen=True)
class ModelReady:
    """The model is loaded and compiled; the search begins."""


@dataclass(frozen=True)
class StateTested:
    """The tests have run on a state of the program; the first one is the program as it is."""

    state: State


@dataclass(frozen=True)
class Patch:
    """A change of the program, with the states on the way to it."""

    path: tuple[State, ...]
    source: bytes
    diff: str

    @property
    def state(self) -> State:
        return self.path[-1]

    @property
    def edits(self) -> list[TextEdit]:
        """The edits in order, the offsets of each in what the edits before it made."""
        return edits_of(self.path)

    @property
    def functions(self) -> list[str]:
        """The functions that it edits."""
        return list(dict.fromkeys(state.function for state in self.path[1:]))

    def _repr_html_(self) -> str:
        return patch_html(self)


@dataclass(frozen=True)
class SitesPointed:
    """Sites of a state where the model would edit next, as far as they are known: offsets are bytes of its source."""

    state: int  # its id
    sites: tuple[PointedSite, ...]


@dataclass(frozen=True)
class PatchFound:
    """A state passes all tests. Its rank among the patches is known at the end."""

    patch: Patch


@dataclass(frozen=True)
class Result:
    """Result of a session, as a view of its trajectory."""

    trajectory: Trajectory

    @property
    def status(self) -> str:
        """`repaired`, `not repaired` or `interrupted`."""
        return self.trajectory.status

    @property
    def functions(self) -> tuple[Candidate, ...]:
        """The functions that were searched, likeliest first."""
        return self.trajectory.functions

    @property
    def timings(self) -> dict[str, float]:
        return self.trajectory.timings

    @cached_property
    def patches(self) -> tuple[Patch, ...]:
        """The programs that pass all tests, best first."""
        return tuple(self._patch(id) for id in self.trajectory.patches)

    @cached_property
    def closest(self) -> Patch | None:
        """The program that passes the most tests; None where that is the program as it was."""
        closest = self.trajectory.closest
        return None if closest.parent is None else self._patch(closest.id)

    def _repr_html_(self) -> str:
        return result_html(self)

    def _patch(self, id: int) -> Patch:
        trajectory = self.trajectory
        source = trajectory.sources[id]
        return Patch(
            path=trajectory.path(id),
            source=source,
            diff=diff(trajectory.file or UNNAMED, trajectory.source.encode(), source),
        )


@dataclass(frozen=True)
class Done:
    """The end of the session."""

    result: Result


Event = (
    SandboxStarted | TestsObserved | TestsSetAside | FunctionsChosen | ModelReady | StateTested | SitesPointed
    | PatchFound | Done
)  # fmt: skip


@dataclass(frozen=True)
class _Runner:
    """Runs the tests, in the session's own sandbox or, as asserts of a bare program, in one that sessions share."""

    sandbox: Sandbox
    tests: Tests
    shared: bool
    stopping: Flag
    aside: Mapping[str, str] = field(default_factory=dict)  # tests that need not pass, and what they lack
    original: bytes | None = None  # the file as it is, where test files pass only if they pass again in another order

    def run(self, source: bytes, *, first: str | None, seconds: float | None, trace: bool) -> Observation:
        observation = self._run(source, first=first, seconds=seconds, trace=trace)
        if not observation.ok or self.original is None or source == self.original:
            return observation
        again = self._run(source, shuffle=_ORDER)
        if not again.ok and self._depend_on_order():
            again = self._run(source)
        return observation if again.ok else again

    def _run(self, source: bytes, **options: Any) -> Observation:
        with self._until_stopped():
            asserts, setup = (self.tests.asserts, self.tests.setup) if self.shared else (None, None)
            observation = self.sandbox.run(source, asserts=asserts, setup=setup, **options)
        return observation.set_aside(self.aside) if self.aside else observation

    def _depend_on_order(self) -> bool:
        """Return whether the tests of the file as it is come out otherwise in that other order."""
        assert self.original is not None
        runs = [self._run(self.original, shuffle=order) for order in (None, _ORDER)]
        one, other = ({outcome.name: outcome.status for outcome in run.outcomes} for run in runs)
        return one != other

    def evaluate(self, source: bytes, calls: Sequence[str], *, seconds: float) -> list[CallResult]:
        with self._until_stopped():
            return self.sandbox.evaluate(source, calls, self.tests.setup, seconds=seconds)

    @contextmanager
    def _until_stopped(self) -> Iterator[None]:
        """Turn the error of a sandbox that `Session.stop` has closed into the end of the search."""
        try:
            yield
        except RuntimeError:
            if self.stopping.is_set():
                raise Stop(INTERRUPTED) from None
            raise


class Session:
    """One repair of a program: `run` it once, `stop` it from any thread, and look at its `result`.

    `program` is a file, or the text of a program. Without `tests` the ones that `find_tests` finds beside the file are
    taken; without `functions` the ones that failing tests reach are searched, and without an `intent` each function's
    docstring is. `model` is a name or folder, a loaded model, which sessions may share, or any policy. `python` is the
    interpreter of the tests, as `find_python` finds it; without one it is Kelp's own. `limits` bound the first run of
    the tests; later ones get three times the time that it took. A `sandbox` given is not closed and serves one session
    after the other; it runs asserts alone. Raises KelpError for errors that a person can put right.
    """

    def __init__(
        self,
        program: Path | str,
        tests: Tests | None = None,
        budget: Budget = Budget(),
        *,
        model: str | Path | models.AnyModel | Policy = "default",
        functions: Sequence[str] = (),
        intent: str | None = None,
        strategy: str = "best-first",
        seed: int = 0,
        python: Interpreter | None = None,
        limits: Limits | None = None,
        allow_weak: bool = False,
        sandbox: Sandbox | None = None,
        timings: Timings | None = None,
    ) -> None:
        self.path = program if isinstance(program, Path) else None
        self.name = str(program) if isinstance(program, Path) else "the program"
        self.source = read(program) if isinstance(program, Path) else program.encode()
        self.python = python or own()
        check_program(self.source, self.name, self.python)
        if tests is None and self.path is None:
            raise KelpError("There are no tests: the text of a program needs some")
        self.tests = found_tests(self.path) if tests is None and self.path is not None else tests or Tests()
        if self.path is None and (self.tests.files or self.tests.command):
            raise KelpError("Test files and commands need a program that is a file")
        if sandbox is not None and (self.path is not None or self.tests.doctest):
            raise KelpError("A shared sandbox runs the asserts of a program's text alone")
        if sandbox is not None and python is not None:
            raise KelpError("A shared sandbox has a Python already")
        if strategy not in STRATEGIES:
            raise KelpError(f"There is no strategy {strategy!r}: give {', '.join(STRATEGIES)}")
        self.budget, self.strategy, self.seed, self.intent = budget, strategy, seed, intent
        self.language = registry.by_name("python")  # a script may have no suffix
        if self.path is not None:
            self.language = registry.by_suffix(self.path) or self.language
        self.windows = self._functions()
        self.named = tuple(dict.fromkeys(functions))
        self._check_names()
        self.model = model
        self.folder = models.find(str(model)) if isinstance(model, str | Path) else None
        self.limits = limits or run_limits(self.tests, budget.seconds if self.tests.command else FIRST_RUN_SECONDS)
        self.allow_weak, self.timings = allow_weak, timings or Timings()
        self._shared, self._sandbox = sandbox, sandbox
        self._stopping = Flag()
        self._search: Search | None = None
        self._result: Result | None = None

    def run(self) -> Iterator[Event]:
        """Run the tests, find the functions at fault, search: yield what happens. Raises KelpError."""
        timings = self.timings
        loading = None if self.folder is None else models.Loading(self.folder, timings)
        with ExitStack() as stack:
            with timings("sandbox"):
                sandbox = self._open(stack)
            yield SandboxStarted(sandbox.missing)
            runner = _Runner(
                sandbox, self.tests, shared=self._shared is not None, stopping=self._stopping,
                original=self.source if self.tests.files or self.tests.command else None,
            )  # fmt: skip
            with timings("first_tests"):
                observation = self._first_run(runner)
            yield TestsObserved(observation)
            self._check(observation)
            limits = self._candidate_limits(sandbox.limits, observation)
            specification = self.tests.specification(self.path, self.intent)
            if needs := observation.unmet:
                yield TestsSetAside(needs)
                observation = observation.set_aside(needs)
                specification = specification.without(needs, (outcome.name for outcome in observation.outcomes))
                runner = replace(runner, aside=needs)
            task = self._task(observation, specification)
            self._candidates = tuple(self._candidate(target) for target in task.targets)
            yield FunctionsChosen(self._candidates)
            with timings("wait_for_model"):
                policy = self._policy(loading)
            with timings("compile"):
                shown = observation.render
                policy.warm_up(
                    (w.program, task.condition(t, shown(w.first_line))) for t, w in task.windows(task.source)
                )
            yield ModelReady()
            with timings("search"):
                sandbox.limits = limits
                search = Search(
                    task, policy, runner, self.budget, spent=observation.seconds, seed=self.seed,
                    stopping=self._stopping,
                )  # fmt: skip
                self._search = search
                found = yield from self._events(search, observation)
            self._result = self._finished(found)
            yield Done(self._result)

    def stop(self) -> None:
        """End the session soon, from any thread; `run` then yields the result so far."""
        self._stopping.set()
        sandbox = self._sandbox
        if sandbox is not None and sandbox is not self._shared:
            sandbox.close()  # which ends the current run too

    @property
    def result(self) -> Result | None:
        """The result, so far where `run` was left before its end; None before the search."""
        if self._result is None and self._search is not None and self._search.tried:
            return self._finished(self._search.result(INTERRUPTED))
        return self._result

    def _open(self, stack: ExitStack) -> Sandbox:
        if self._shared is None:
            own = start_sandbox(self.tests, self.path, self.limits, allow_weak=self.allow_weak, python=self.python)
            self._sandbox = stack.enter_context(own)
            return own
        stack.callback(setattr, self._shared, "limits", self._shared.limits)
        limits = replace(self._shared.limits, seconds=self.limits.seconds, cpu_seconds=self.limits.cpu_seconds)
        self._shared.limits = limits
        return self._shared

    def _events(self, search: Search, observation: Observation) -> Generator[Event, None, SearchResult]:
        """Search and yield each state tested, sites of it and each patch; return the result of the search."""
        exploring, told = explore(search, self.strategy, observation), dict[int, int]()
        while True:
            try:
                node = next(exploring)
            except StopIteration as end:
                result: SearchResult = end.value
                return result
            for id, sites in search.pointer.items():
                if told.get(id) != len(sites):
                    told[id] = len(sites)
                    yield SitesPointed(id, sites)
            yield StateTested(state_of(node))
            if node.solved:
                yield PatchFound(self._patch(node))

    def _patch(self, node: Node) -> Patch:
        path = tuple(map(state_of, node.path()))
        return Patch(path=path, source=node.source, diff=diff(self.path or UNNAMED, self.source, node.source))

    def _functions(self) -> list[Function]:
        try:
            windows = functions(self.source, self.language)
        except SyntaxError:
            raise KelpError(f"{self.name} has syntax that Kelp's grammar does not know") from None
        if not windows:
            raise KelpError(f"{self.name} holds no function, and Kelp repairs functions")
        return windows

    def _check_names(self) -> None:
        known = [window.qualname for window in self.windows]
        for name in self.named:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=3)
                close += [other for other in known if other.endswith(f".{name}") and other not in close]
                hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(known[:10])}"
                raise KelpError(f"{self.name} has no function {name}", hint)

    def _first_run(self, runner: _Runner) -> Observation:
        """Run the tests on the program as it is. Raises KelpError where the session was stopped meanwhile."""
        with suppress(Stop):
            observation = runner.run(self.source, first=None, trace=True, seconds=self.budget.seconds)
            if not self._stopping.is_set():
                return observation
        raise KelpError("Interrupted", status=INTERRUPTED)

    def _check(self, observation: Observation) -> None:
        """Raise KelpError where the first run leaves nothing to repair."""
        check_ran(self.tests, self.name, observation)
        if observation.error is not None and (observation.error_line is None or observation.needs is not None):
            needs = "" if observation.needs is None else f"; they need {need(observation.needs)}"
            raise KelpError(f"The tests cannot be run: {observation.error}{needs}")
        if observation.unmet and observation.set_aside(observation.unmet).first_failure is None:
            message = f"No test fails by a fault of {self.name}: {needs_of(observation.unmet)}"
            raise KelpError(message, observation=observation)
        if observation.ok:
            counts = f"{observation.passed} of {observation.total}"
            message = f"All tests of {self.name} pass already ({counts})"
            raise KelpError(message, status="passes already", observation=observation)
        if observation.error is None and observation.first_failure is None:
            raise KelpError("All tests are skipped: nothing says what to repair")

    def _task(self, observation: Observation, specification: Specification) -> Task:
        """Return the functions to search with their specifications. Raises KelpError."""
        by_name = {
            window.qualname: window for window in reversed(self.windows)
        }  # a property's getter has the docstring
        priors = self._priors(observation)
        targets = tuple(specification.target(by_name[name], prior) for name, prior in priors.items())
        return Task(self.source, targets, self.language, self.tests.setup.encode())

    def _candidate(self, target: Target) -> Candidate:
        windows = [window for window in self.windows if window.qualname == target.qualname]
        return Candidate(
            name=target.qualname,
            log_prob=target.prior,
            intent=target.intent,
            start=min(window.start for window in windows),
            end=max(window.end for window in windows),
        )

    def _priors(self, observation: Observation) -> dict[str, float]:
        """Return the functions to search with their log-probabilities. Raises KelpError."""
        if self.named:
            return dict.fromkeys(self.named, -math.log(len(self.named)))
        priors = suspects(self.windows, observation)
        if priors:
            return priors
        if observation.error is not None:
            raise KelpError(f"{self.name} cannot be imported, and not because of a function: {observation.error}")
        failure = observation.first_failure
        assert failure is not None
        message = f"The failing tests reach no function of {self.name} (the first is {failure.name})"
        if self.tests.command:
            message = f"Nothing says which function of {self.name} is at fault (no line of it is known to run in "
            message += f"{failure.name})"
        raise NoSuspect(message, "name the function")

    def _policy(self, loading: models.Loading | None) -> Policy:
        if loading is not None:
            return models.policy_of(loading.result(), self.seed)
        if isinstance(self.model, models.AnyModel):
            return models.policy_of(self.model, self.seed)
        return NoModel(self.seed, "swaps") if isinstance(self.model, str | Path) else self.model

    def _candidate_limits(self, limits: Limits, observation: Observation) -> Limits:
        """Return the limits of the tests on a candidate, by the time that they took on the program as it is.

        An endless loop ends by processor time, which a busy machine does not use up.
        """
        elapsed = sum(o.seconds for o in observation.outcomes if o.status != "timeout")
        if self.tests.command:  # its start and its other work beside the tests, in any number of processes
            return replace(limits, seconds=max(LEAST_RUN_SECONDS, 3 * max(elapsed, observation.seconds)))
        return replace(
            limits, seconds=max(LEAST_RUN_SECONDS, 3 * elapsed), cpu_seconds=max(LEAST_CPU_SECONDS, 3 * elapsed)
        )

    def _finished(self, found: SearchResult) -> Result:
        return Result(
            Trajectory(
                schema=SCHEMA,
                file="" if self.path is None else str(self.path),
                source=self.source.decode(),
                model=str(self.model) if isinstance(self.model, str | Path) else type(self.model).__name__,
                strategy=self.strategy,
                seed=self.seed,
                budget=self.budget,
                functions=self._candidates,
                states=tuple(map(state_of, found.tried)),
                pointer={} if self._search is None else dict(self._search.pointer),
                patches=tuple(node.id for node in found.patches),
                runs=found.runs,
                seconds=found.seconds,
                made=found.states,
                valid=found.valid_states,
                stopped=found.stopped,
                timings=self.timings.rounded(),
            )
        )
