"""Session: one repair, from a program and its tests to patches, as events that a caller reads.

    session = Session(Path("slugs.py"), Tests(files=(Path("test_slugs.py"),)), Budget(seconds=30))
    for event in session.run():
        if isinstance(event, PatchFound):
            print(event.patch.diff)

The command line and evaluation run sessions, as any other caller.
"""

import difflib
import math
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event as Flag

from threadpoolctl import threadpool_limits

from kelp.errors import KelpError
from kelp.execution.interpreter import Interpreter, own
from kelp.execution.observation import Observation, shorten
from kelp.execution.sandbox import Sandbox
from kelp.execution.suite import Limits
from kelp.files import read
from kelp.languages import registry
from kelp.repair import models
from kelp.repair.events import (
    Done,
    Event,
    FunctionsChosen,
    Located,
    ModelReady,
    PatchFound,
    Result,
    SandboxStarted,
    SitesPointed,
    StateTested,
    TestsObserved,
    TestsSetAside,
    patch_of,
)
from kelp.repair.localize import CONSTANTS_SHARE, explained, read_constants, suspects
from kelp.repair.program import Program
from kelp.repair.project import (
    FUNCTIONS,
    LATE_SECONDS,
    SUITE_SECONDS,
    TEST_SECONDS,
    Project,
    check_goals,
    check_survey,
    diagnose,
    nearer,
    passed,
    span,
)
from kelp.repair.runner import FileRunner, ProjectRunner, Runner, until_stopped, with_probes
from kelp.repair.tests import (
    Specification,
    Tests,
    check_observation,
    check_program,
    found_tests,
    run_limits,
    start_sandbox,
)
from kelp.repair.timing import Timings
from kelp.repair.trajectory import SCHEMA, UNNAMED, Candidate, Trajectory, state_of
from kelp.search.baselines import NoModel
from kelp.search.node import SearchResult
from kelp.search.policy import Policy
from kelp.search.search import INTERRUPTED, Search, Stop
from kelp.search.strategies import STRATEGIES, explore
from kelp.search.task import DAY, Budget, Target, Task
from kelp.syntax.functions import Function, constants, functions

FIRST_RUN_SECONDS = 10.0  # for the tests on the file as it is; for a command, the whole budget
PARTIAL_CHECKS = 3  # states that pass some failing tests, and run all tests of the project
LEAST_RUN_SECONDS = 2.0  # for the tests on a candidate ...
MORE_SECONDS = 3.0  # for further patches, where a test command makes each run slow
LEAST_PROJECT_SECONDS = 10.0  # ... in a project, where each test has a limit of its own
LEAST_CPU_SECONDS = 0.5  # ... and of processor time; of both, three times what the first run took if that is more


class NoSuspect(KelpError):
    """The failing tests do not show which function may hold the fault."""


class Session:
    """One repair of a program: `run` it once, `stop` it from any thread, and look at its `result`.

    `program` is a file, the text of a program, or a `Project`, whose tests say which files to repair. Without `tests`
    the ones that `find_tests` finds beside the file are taken; without `functions` the ones that failing tests reach
    are searched, and without an `intent` each function's docstring is. `model` is a name or folder, a loaded model,
    which sessions may share, or any policy. `python` is the interpreter of the tests, as `find_python` finds it;
    without one it is Kelp's own. `limits` bound the first run of the tests; later ones get three times the time that it
    took. `aside` are tests that need not pass, with what each needs. A `sandbox` given is not closed and serves one
    session after the other; it runs asserts alone. Raises KelpError for errors that a person can put right.
    """

    def __init__(
        self,
        program: Path | str | Project,
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
        self.project = program if isinstance(program, Project) else None
        self.path = program if isinstance(program, Path) else None
        self.name = str(program) if isinstance(program, Path) else "the program"
        self.python = python or own()
        if isinstance(program, Project):
            if tests is not None or functions or sandbox is not None:
                raise KelpError("A project names its tests and functions itself")
            self.name, tests = str(program.root), Tests(command=program.command)
            self.program = Program((), b"")  # until its tests have run
        else:
            source = read(program) if isinstance(program, Path) else program.encode()
            check_program(source, self.name, self.python)
            self.program = Program((self.path or Path(UNNAMED),), source)
        if tests is None and self.path is None:
            raise KelpError("There are no tests: the text of a program needs some")
        self.tests = found_tests(self.path) if tests is None and self.path is not None else tests or Tests()
        if self.path is None and self.project is None and (self.tests.files or self.tests.command):
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
        self.windows = [] if self.project else self._functions()
        self.named = tuple(dict.fromkeys(functions))
        self._check_names()
        self.model = model
        self.folder = models.find(str(model)) if isinstance(model, str | Path) else None
        seconds = SUITE_SECONDS if self.project else budget.seconds if self.tests.command else FIRST_RUN_SECONDS
        self.limits = limits or run_limits(self.tests, seconds)
        if self.tests.command and budget.more_seconds == DAY:
            self.budget = replace(budget, more_seconds=MORE_SECONDS)
        self.allow_weak, self.timings = allow_weak, timings or Timings()
        self.aside: dict[str, str] = {}  # once the tests have run
        self._goals = 0  # failing tests of a project
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
            runner, observation, specification = yield from self._observed(sandbox)
            limits = self._candidate_limits(sandbox.limits, observation)
            if isinstance(runner, FileRunner):
                runner = replace(runner, traced=with_probes(limits))
            task = self._task(observation, specification)
            self._candidates = tuple(self._candidate(task, target) for target in task.targets)
            yield FunctionsChosen(self._candidates)
            with timings("wait_for_model"):
                policy = self._policy(loading)
            with timings("read_file"):  # what conditions take from the whole file is kept, before the budget begins
                for target, window in task.windows(task.source):
                    task.condition(target, observation.render(window.first_line))
            yield ModelReady()
            with timings("search"), threadpool_limits(policy.threads, user_api="blas"):
                sandbox.limits = limits
                search = Search(
                    task, policy, runner, self.budget, spent=observation.seconds, seed=self.seed,
                    stopping=self._stopping,
                )  # fmt: skip
                self._search = search
                found = yield from self._events(search, observation)
                if isinstance(runner, ProjectRunner) and not found.patches and found.stopped != INTERRUPTED:
                    found = yield from self._in_part(found, runner)
            self._result = self._finished(found)
            yield Done(self._result)

    def locate(self, most: int = 10) -> Iterator[Event]:
        """Run the tests and find the functions at fault, without a search or a model: yield events, then `Located`.

        Raises KelpError.
        """
        with ExitStack() as stack:
            sandbox = self._open(stack)
            yield SandboxStarted(sandbox.missing)
            _, observation, _ = yield from self._observed(sandbox)
            self._priors(observation)  # which says why there is no suspect
            yield Located(tuple(explained(self.program, observation, most)), observation)

    def _observed(self, sandbox: Sandbox) -> Generator[Event, None, tuple[Runner, Observation, Specification]]:
        """Run the tests on the program as it is; what needs not pass is set aside. Raises KelpError."""
        if self.project is not None:
            return (yield from self._surveyed(sandbox, self.project))
        runner = FileRunner(
            sandbox, self.tests, shared=self._shared is not None, stopping=self._stopping,
            original=self.source if self.tests.files or self.tests.command else None,
        )  # fmt: skip
        with self.timings("first_tests"):
            observation = self._first_run(runner)
        yield TestsObserved(observation)
        check_observation(self.tests, self.name, observation)
        specification = self.tests.specification(self.path, self.intent)
        if needs := observation.unmet:
            self.aside = needs
            yield TestsSetAside(needs)
            observation = observation.set_aside(needs)
            specification = specification.without(needs, (outcome.name for outcome in observation.outcomes))
            runner = replace(runner, aside=needs)
        return runner, observation, specification

    def _surveyed(
        self, sandbox: Sandbox, project: Project
    ) -> Generator[Event, None, tuple[Runner, Observation, Specification]]:
        """Run all tests of a project, choose its program, and run the tests that reach that. Raises KelpError."""
        with self.timings("survey"), until_stopped(self._stopping):
            survey = sandbox.survey(project.front, enough=LATE_SECONDS, of_a_test=TEST_SECONDS)
        self._check_stopped()
        yield TestsObserved(survey.observation)
        check_survey(project, survey)
        diagnosis = diagnose(project, survey, self.language)
        needs, others = check_goals(project, diagnosis)
        self.aside = diagnosis.others
        if diagnosis.others:
            yield TestsSetAside(needs, others)
        self.program, self.windows = diagnosis.program, list(diagnosis.windows)
        for path, source in self.program.files(self.program.source).items():
            check_program(source, str(path), self.python)
        runner = ProjectRunner(sandbox, diagnosis, partial(until_stopped, self._stopping))
        with self.timings("first_tests"):
            observation = self._first_run(runner)
        if observation.error is not None or observation.first_failure is None:
            names = shorten(" and ".join(diagnosis.goals), 300)
            raise KelpError(f"The failing tests do not fail when they run without the others: {names}")
        files = dict.fromkeys(name.partition("::")[0] for name in diagnosis.goals)
        texts = [read(project.root / file).decode("utf-8", "replace") for file in files]
        self._goals = len(observation.failures)
        return runner, observation, Specification(tests=self.tests, sources=tuple(texts), intent=self.intent)

    def _in_part(self, found: SearchResult, runner: ProjectRunner) -> Generator[Event, None, SearchResult]:
        """Take for a patch a state that passes some of the failing tests and breaks none, where none passes all."""
        assert runner.start is not None
        for node, seen in nearer(runner.start, found.tried)[:PARTIAL_CHECKS]:
            checked = runner.check(node.source, seen)
            if checked.error is None and not checked.not_run and passed(checked) >= passed(seen):
                yield PatchFound(patch_of(self.program, tuple(map(state_of, node.path())), node.source))
                return replace(found, patches=(node,))
        return found

    def _check_stopped(self) -> None:
        if self._stopping.is_set():
            raise KelpError("Interrupted", status=INTERRUPTED)

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
            own = start_sandbox(
                self.tests, self.path, self.limits, allow_weak=self.allow_weak, python=self.python,
                project=self.project.root if self.project else None,
            )  # fmt: skip
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
                yield PatchFound(patch_of(self.program, tuple(map(state_of, node.path())), node.source))

    @property
    def source(self) -> bytes:
        """The program as it is; of several files, as a bundle."""
        return self.program.source

    def _functions(self) -> list[Function]:
        try:
            windows = functions(self.source, self.language)
        except SyntaxError:
            raise KelpError(f"{self.name} has syntax that Kelp's grammar does not know") from None
        if not windows:
            raise KelpError(f"{self.name} holds no function, and Kelp repairs functions")
        return windows

    @property
    def _constants(self) -> list[Function]:
        """Assignments outside of functions, of one file."""
        return [] if self.project else constants(self.source, self.language)

    def _check_names(self) -> None:
        known = [window.qualname for window in self.windows]
        for name in self.named:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=3)
                close += [other for other in known if other.endswith(f".{name}") and other not in close]
                hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(known[:10])}"
                raise KelpError(f"{self.name} has no function {name}", hint)

    def _first_run(self, runner: Runner) -> Observation:
        """Run the tests on the program as it is. Raises KelpError where the session was stopped meanwhile."""
        with suppress(Stop):
            observation = runner.run(self.source, first=None, trace=True, seconds=self.budget.seconds)
            if not self._stopping.is_set():
                return observation
        raise KelpError("Interrupted", status=INTERRUPTED)

    def _task(self, observation: Observation, specification: Specification) -> Task:
        """Return the functions to search with their specifications. Raises KelpError."""
        by_name = {
            self._label(window): window for window in reversed([*self.windows, *self._constants])
        }  # a property's getter has the docstring
        priors = self._priors(observation)
        targets = tuple(specification.target(by_name[name], prior) for name, prior in priors.items())
        setup = self.tests.setup.encode()
        return Task(self.source, targets, self.language, setup, files=self._names, goals=self._goals)

    @property
    def _names(self) -> tuple[str, ...]:
        """Names of the files of a project."""
        return tuple(os.path.relpath(path, self.project.root) for path in self.program.paths) if self.project else ()

    def _label(self, window: Function) -> str:
        """The name of a function; in a project, with its file."""
        return f"{self._names[window.file]}::{window.qualname}" if self.project else window.qualname

    def _candidate(self, task: Task, target: Target) -> Candidate:
        every = [*self.windows, *self._constants]
        windows = [w for w in every if (w.file, w.qualname) == (target.file, target.qualname)]
        return Candidate(
            name=task.label(target),
            log_prob=target.prior,
            intent=target.intent,
            start=min(window.start for window in windows),
            end=max(window.end for window in windows),
        )

    def _priors(self, observation: Observation) -> dict[str, float]:
        """Return the functions to search with their log-probabilities. Raises KelpError."""
        if self.named:
            return dict.fromkeys(self.named, -math.log(len(self.named)))
        if self.project is not None:
            chosen = self.project.is_chosen
            windows = [w for w in self.windows if chosen(w.qualname, *span(self.program, w))]
            priors = suspects(windows, observation, self._label, FUNCTIONS)
        else:
            priors = suspects(self.windows, observation)
            others = read_constants(self.source, self._constants, observation) if priors else {}
            if others:
                priors = {name: prior + math.log(1 - CONSTANTS_SHARE) for name, prior in priors.items()} | others
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
            least = LEAST_PROJECT_SECONDS if self.project else LEAST_RUN_SECONDS
            return replace(limits, seconds=max(least, 3 * max(elapsed, observation.seconds)))
        ended = all(outcome.status != "timeout" for outcome in observation.outcomes)
        loading = max(0.0, observation.seconds - elapsed) if ended else 0.0  # seconds, for a file of 3 MB
        return replace(
            limits,
            seconds=max(LEAST_RUN_SECONDS, 3 * (elapsed + loading)),
            cpu_seconds=max(LEAST_CPU_SECONDS, 3 * elapsed) + loading,
        )

    def _finished(self, found: SearchResult) -> Result:
        return Result(
            Trajectory(
                schema=SCHEMA,
                file=str(self.project.root if self.project else self.path or ""),
                files=self._names,
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
