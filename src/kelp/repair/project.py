"""Project: a folder whose failing tests show which of its functions to repair.

All tests run once, in a copy of the folder, and each reports the functions that it calls (a survey). Functions that
failing tests call and passing ones do not are suspicious. The files of the most suspicious ones are the program of the
search, and a few tests that reach them are its tests. A candidate runs the tests that reach the functions it edits; one
that passes runs all others of the project before it counts as a patch.
"""

import json
import os
import subprocess
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path

from kelp.errors import KelpError
from kelp.execution.explain import failure, needs_of
from kelp.execution.observation import Observation, TestOutcome, shorten
from kelp.execution.survey import Place, Survey
from kelp.files import read
from kelp.repair.program import Program
from kelp.search.node import Node
from kelp.search.suspicion import CRASH_FACTOR
from kelp.syntax.bundle import join
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
            close = [name for given in project.tests for name in get_close_matches(given, outcomes, n=1, cutoff=0.8)]
            hint = f"did you mean {' or '.join(close)}?" if close else None
            raise KelpError(f"There is no test {' or '.join(project.tests)} in {project.root}", hint)
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


def check_survey(project: Project, survey: Survey) -> None:
    """Raise KelpError where the tests of a project could not run, or leave nothing to repair."""
    observation = survey.observation
    if observation.error == "no tests were found":
        raise KelpError(f"There is no test in {project.root}")
    if observation.error is not None and observation.passed == len(observation.outcomes):
        raise KelpError(f"The tests cannot be run: {observation.error}", observation.output.strip()[-2000:] or None)
    if observation.ok:
        counts = f"{observation.passed} of {observation.total}"
        message = f"All tests of {project.root} pass already ({counts})"
        raise KelpError(message, status="passes already", observation=observation)


def check_goals(project: Project, diagnosis: Diagnosis) -> tuple[dict[str, str], dict[str, str]]:
    """Return the failing tests that are set aside: what each needs, and how the others fail. Raises KelpError.

    The error is for a project where no failing test is left.
    """
    outcomes = {outcome.name: outcome for outcome in diagnosis.survey.observation.outcomes}
    needs = {name: what for name, what in diagnosis.others.items() if what}
    others = {name: failure(outcomes[name]) for name, what in diagnosis.others.items() if not what}
    if not diagnosis.goals:
        parts = [needs_of(needs, plugins=True)] if needs else []
        if others:
            where = " or ".join(os.path.relpath(path, project.root) for path in project.only)
            function = f"no function of {where}" if where else "no function"
            listed = [f"{shorten(name, 100)} ({how})" for name, how in others.items()]
            reach = "reaches" if len(listed) == 1 else "reach"
            parts.append(f"{shorten(' and '.join(listed), 600)} {reach} {function} that may be edited")
        message = f"No test fails by a fault of {project.root} that can be repaired: {'; '.join(parts)}"
        raise KelpError(message, observation=diagnosis.survey.observation)
    return needs, others


def passed(observation: Observation) -> set[str]:
    """Names of the tests that pass or are skipped."""
    return {outcome.name for outcome in observation.outcomes if outcome.status in ("pass", "skip")}


def nearer(start: Observation, tried: Iterable[Node]) -> list[tuple[Node, Observation]]:
    """Return the states that pass all that passed at the start, and more; the one that passes most first."""
    observed = [(node, node.observation) for node in tried if node.observation is not None]
    found = [(node, seen) for node, seen in observed if not seen.not_run and passed(seen) > passed(start)]
    return sorted(found, key=lambda pair: (-pair[1].passed, pair[0].depth, -pair[0].log_prob))
