"""Project: a folder whose failing tests show which of its functions to repair.

All tests run once, in a copy of the folder, and each reports the functions that it calls (a survey). Functions that
failing tests call and passing ones do not are suspicious. The files of the most suspicious ones are the program of the
search, and a few tests that reach them are its tests. A candidate runs the tests that reach the functions it edits; one
that passes runs all others of the project before it counts as a patch.
"""

import json
import os
import subprocess
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path

from kelp.errors import KelpError
from kelp.execution.observation import CallResult, Observation, TestOutcome
from kelp.execution.sandbox import Sandbox
from kelp.execution.survey import Place, Survey
from kelp.files import read
from kelp.repair.program import Program
from kelp.search.suspicion import CRASH_FACTOR
from kelp.syntax.bundle import join, split
from kelp.syntax.functions import Function, functions
from kelp.syntax.program import Language

FUNCTIONS = 10  # most suspicious functions that are searched
FILES = 5  # files of these functions, at most
GOALS = 20  # failing tests that candidates run, at most
PASSING = 8  # quickest passing tests for each of the functions
LATE_SECONDS = 3.0  # time after which a survey ends at a failing test
TEST_SECONDS = 10.0  # limit of one test on the project as it is
LEAST_SECONDS = 1.0  # limit of one test on a candidate, or three times the slowest test on the project if that is more
SUITE_SECONDS = 3600.0  # limit of all tests together


@dataclass(frozen=True)
class Project:
    """A folder, the command that tests it, and the parts that may be edited.

    `exclude` are patterns of paths, relative to the folder, that are never edited. `only` narrows the search to files
    or folders, `functions` to functions by name, `line` to the one at a line, and `tests` to failing tests (node ids,
    files or folders).
    """

    root: Path
    command: tuple[str, ...] = ("pytest",)
    exclude: tuple[str, ...] = ()
    only: tuple[Path, ...] = ()
    functions: tuple[str, ...] = ()
    line: int | None = None
    tests: tuple[str, ...] = ()

    @cached_property
    def listed(self) -> frozenset[str] | None:
        """Python files that git tracks or does not ignore, relative to the folder; None outside of a repository."""
        command = ["git", "-c", "core.fsmonitor=false", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        try:
            done = subprocess.run(
                [*command, "--", "*.py"], cwd=self.root, stdin=subprocess.DEVNULL, capture_output=True, timeout=60
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return frozenset(os.fsdecode(done.stdout).split("\0")) if done.returncode == 0 else None

    def may_edit(self, path: str, tests: Collection[str] = ()) -> bool:
        """Return whether a file may be edited: one of the project that is no test (`tests` are), nor excluded."""
        inside = os.path.relpath(path, self.root)
        if inside.startswith(os.pardir) or not inside.endswith(".py") or is_test(inside) or path in tests:
            return False
        if self.listed is None and any(part.startswith(".") for part in Path(inside).parts):
            return False
        if self.listed is not None and inside not in self.listed:
            return False
        if any(fnmatch(inside, pattern) or _is_below(inside, pattern) for pattern in self.exclude):
            return False
        return not self.only or any(_is_below(path, str(place)) for place in self.only)

    def is_chosen(self, name: str, first: int, last: int) -> bool:
        """Return whether a function with these lines of its file may be searched."""
        named = not self.functions or name in self.functions
        return named and (self.line is None or first <= self.line <= last)

    def is_goal(self, test: str) -> bool:
        """Return whether a failing test is one to repair."""
        return not self.tests or any(_names(test, given) for given in self.tests)

    @property
    def front(self) -> list[str]:
        """Tests to run first: tests named, and tests that failed in the last run of pytest by the user."""
        failed: list[str] = []
        with suppress(OSError, ValueError):
            text = (self.root / ".pytest_cache/v/cache/lastfailed").read_text("utf-8")
            failed = [name for name in json.loads(text) if isinstance(name, str)]
        return [*self.tests, *failed]


def is_test(path: str) -> bool:
    """Return whether a path, relative to its project, is that of a test file."""
    *folders, name = Path(path).parts
    named = name.startswith("test_") or name.removesuffix(".py").endswith("_test") or name == "conftest.py"
    return named or bool({"tests", "test"} & set(folders))


def _is_below(path: str, place: str) -> bool:
    place = place.rstrip("/")
    return path == place or path.startswith(place + "/")


def _names(test: str, given: str) -> bool:
    """Return whether a node id is the one given, or of the file, folder, class or function given."""
    return test == given or any(test.startswith(given.rstrip("/") + sign) for sign in ("::", "[", "/"))


@dataclass(frozen=True)
class _Suspect:
    function: Function  # of its file alone
    path: str
    score: float


@dataclass(frozen=True)
class Diagnosis:
    """The program and its tests, as a survey shows them.

    `goals` are the failing tests to repair, `others` failing tests that are set aside, with the reason; `selected` are
    the tests that candidates run, and `reach` the functions that each test of the project reaches, as numbers in
    `windows`.
    """

    survey: Survey
    program: Program
    windows: tuple[Function, ...]
    goals: tuple[str, ...]
    others: dict[str, str]
    selected: tuple[str, ...]
    reach: dict[str, frozenset[int]]


def diagnose(project: Project, survey: Survey, language: Language) -> Diagnosis:
    """Find the files and tests of a search. Raises KelpError where nothing can be repaired."""
    outcomes = {outcome.name: outcome for outcome in survey.observation.outcomes}
    failing = [name for name, outcome in outcomes.items() if outcome.status not in ("pass", "skip")]
    named = [name for name in failing if project.is_goal(name)]
    if project.tests and not named:
        found = [name for name in outcomes if project.is_goal(name)]
        if not found:
            raise KelpError(f"There is no test {' or '.join(project.tests)} in {project.root}")
        observation = replace(survey.observation, outcomes=tuple(outcomes[name] for name in found), not_run=0)
        message = f"{' and '.join(project.tests)} passes already ({observation.passed} of {observation.total})"
        raise KelpError(message, status="passes already", observation=observation)
    files = {os.path.join(project.root, name.partition("::")[0]) for name in outcomes}
    sources = _Files(project, files, language)
    calls = {name: sources.windows_at(places) for name, places in survey.reached.items()}
    for name in failing:  # for a file that cannot be imported, only the traceback is known
        calls[name] = calls.get(name, frozenset()) | sources.windows_at(survey.frames.get(name, ()))
    unmet = {name: outcomes[name].needs for name in failing if outcomes[name].needs is not None}
    imported = sources.windows_at(survey.imported)
    goals = [name for name in named if name not in unmet and calls[name]]
    goals = goals or [name for name in named if name not in unmet and imported]
    others = {name: str(unmet.get(name) or "") for name in failing if name not in goals}
    if not goals:
        return Diagnosis(survey, Program((), b""), (), (), others, (), {})
    passing = [name for name, outcome in outcomes.items() if outcome.status == "pass"]
    calls = {name: keys | imported for name, keys in calls.items()}
    ranked = _ranked(sources, survey, calls, goals, passing)
    ranked = [
        each
        for each in ranked
        if project.is_chosen(each.function.qualname, each.function.first_line, each.function.last_line)
    ][:FUNCTIONS]
    if not ranked:
        what = " or ".join([*project.functions, *([] if project.line is None else [f"line {project.line}"])])
        raise KelpError(f"No failing test runs {what or 'a function'} of {' or '.join(map(str, project.only))}")
    paths = list(dict.fromkeys(suspect.path for suspect in ranked))[:FILES]
    program = Program(tuple(map(Path, paths)), join([sources.source(path) for path in paths]))
    windows = tuple(functions(program.source, language))
    number = {(paths[window.file], *span(program, window)): n for n, window in enumerate(windows)}
    reach = {name: frozenset(number[key] for key in calls[name] if key in number) for name in survey.reached}
    return Diagnosis(
        survey, program, windows, tuple(goals), others,
        _selected(goals, passing, outcomes, calls, ranked), reach,
    )  # fmt: skip


_Key = tuple[str, int, int]  # of a function: its file, first and last line


def span(program: Program, window: Function) -> tuple[int, int]:
    """Return the first and last line of a function in its file."""
    first = program.place(window.first_line)[1]
    return first, first + window.last_line - window.first_line


class _Files:
    """The functions of the files that may be edited, read when a failing or passing test calls one."""

    def __init__(self, project: Project, tests: Collection[str], language: Language):
        self.project, self.tests, self.language = project, tests, language
        self._sources: dict[str, bytes] = {}
        self._windows: dict[str, list[Function]] = {}

    def source(self, path: str) -> bytes:
        return self._sources[path]

    def windows(self, path: str) -> list[Function]:
        if path not in self._windows:
            found: list[Function] = []
            if self.project.may_edit(path, self.tests):
                with suppress(KelpError, SyntaxError, UnicodeDecodeError):
                    source = read(Path(path))
                    source.decode("utf-8")
                    found = functions(source, self.language)
                    self._sources[path] = source
            self._windows[path] = found
        return self._windows[path]

    def windows_at(self, places: Iterable[Place]) -> frozenset[_Key]:
        """The functions that hold these lines."""
        return frozenset(key for place in places if (key := self._at(place)) is not None)

    def _at(self, place: Place) -> _Key | None:
        for window in self.windows(place.path):
            if window.first_line <= place.line <= window.last_line:
                return place.path, window.first_line, window.last_line
        return None


def _ranked(
    files: _Files,
    survey: Survey,
    calls: Mapping[str, frozenset[_Key]],
    goals: Sequence[str],
    passing: Sequence[str],
) -> list[_Suspect]:
    """Return the functions that goals reach, the most suspicious first.

    The measure is that of lines (`search/suspicion.py`): the square of Ochiai's coefficient over the tests that call
    the function. A function that an exception leaves counts twice, and the innermost `CRASH_FACTOR` times.
    """
    failed, passed, weight = dict[_Key, int](), dict[_Key, int](), dict[_Key, float]()
    for names, count in ((goals, failed), (passing, passed)):
        for name in names:
            for key in calls.get(name, ()):
                count[key] = count.get(key, 0) + 1
    for name in goals:
        inside = [key for place in survey.frames.get(name, ()) for key in files.windows_at([place])]
        for key in inside:
            weight[key] = max(2.0, weight.get(key, 1.0))
        for key in inside[-1:]:
            weight[key] = CRASH_FACTOR
    scores = {
        key: count**2 / (len(goals) * (count + passed.get(key, 0))) * weight.get(key, 1.0)
        for key, count in failed.items()
    }
    by_key = {
        (path, window.first_line, window.last_line): window
        for path in {path for path, *_ in failed}
        for window in files.windows(path)
    }
    order = sorted(scores, key=lambda key: (-scores[key], key))
    return [_Suspect(by_key[key], key[0], scores[key]) for key in order]


def _selected(
    goals: Sequence[str],
    passing: Sequence[str],
    outcomes: Mapping[str, TestOutcome],
    calls: Mapping[str, frozenset[_Key]],
    suspects: Sequence[_Suspect],
) -> tuple[str, ...]:
    """Return the tests that candidates run: the goals, and the quickest passing tests that reach each suspect."""

    def seconds(name: str) -> float:
        return outcomes[name].seconds

    chosen = dict.fromkeys(sorted(goals, key=seconds)[:GOALS])
    quickest = sorted(passing, key=seconds)
    for suspect in suspects:
        key = (suspect.path, suspect.function.first_line, suspect.function.last_line)
        reaching = (name for name in quickest if key in calls.get(name, ()))
        chosen.update(dict.fromkeys(name for _, name in zip(range(PASSING), reaching)))
    return tuple(chosen)


@dataclass
class ProjectRunner:
    """Runs the tests of a project on states of its program, for a search."""

    sandbox: Sandbox
    diagnosis: Diagnosis
    until_stopped: Callable[[], AbstractContextManager[None]]
    start: Observation | None = None  # of the selected tests, on the project as it is
    test_seconds: float = TEST_SECONDS  # that one test may take

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
        observation = _with_others(self._run(source, related, trace, seconds), self.start, diagnosis.selected)
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
                head = _common(lines, others)
                tail = _common(lines[head:][::-1], others[head:][::-1])
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
        failed = [o for o in found.outcomes if o.status not in ("pass", "skip")]
        unknown = [o.name for o in failed if o.name not in before]  # the survey ended before them
        if unknown:
            now = self._run_all(self.diagnosis.program.source, unknown)
            before |= {outcome.name: outcome for outcome in now.outcomes}
        known = {outcome.name for outcome in observation.outcomes if outcome.status not in ("pass", "skip")}
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

    def _run_all(self, source: bytes, tests: Sequence[str]) -> Observation:
        """Run any number of tests, for as long as they take."""
        limits, of_a_test = self.sandbox.limits, self.test_seconds
        self.sandbox.limits, self.test_seconds = replace(limits, seconds=SUITE_SECONDS), TEST_SECONDS
        try:
            return self._run(source, tests, False, None)
        finally:
            self.sandbox.limits, self.test_seconds = limits, of_a_test

    def _run(self, source: bytes, tests: Sequence[str], trace: bool, seconds: float | None) -> Observation:
        files = {str(path): text for path, text in self.diagnosis.program.files(source).items()}
        with self.until_stopped():
            return self.sandbox.run_files(files, tests, trace=trace, seconds=seconds, of_a_test=self.test_seconds)


def _common(lines: Sequence[bytes], others: Sequence[bytes]) -> int:
    """Number of lines that are the same from the first on."""
    return next((n for n, (a, b) in enumerate(zip(lines, others)) if a != b), min(len(lines), len(others)))


def _with_others(observation: Observation, start: Observation, selected: Sequence[str]) -> Observation:
    """Return a run of some of the selected tests with the others as they were at the start."""
    ran = {outcome.name: outcome for outcome in observation.outcomes}
    before = {outcome.name: outcome for outcome in start.outcomes}
    names = dict.fromkeys([*selected, *ran])
    if observation.not_run or observation.error is not None:
        return observation
    return replace(
        observation, outcomes=tuple(ran.get(name) or before[name] for name in names if name in ran or name in before)
    )
