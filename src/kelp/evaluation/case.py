"""A bug with its tests, what is run to judge a patch of it, and what became of it."""

import ast
import dataclasses
import json
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from kelp.execution.observation import CallResult, Observation
from kelp.execution.sandbox import Sandbox
from kelp.execution.suite import Limits, Suite
from kelp.languages.registry import by_name
from kelp.search.task import Target, Task
from kelp.syntax.functions import functions
from kelp.syntax.program import parses

# Of one run of the tests, whatever time is left: figures must not depend on that, nor on how busy the machine is.
LIMITS = Limits(seconds=5.0, cpu_seconds=0.5)
PROGRAM = "program"  # the module that a text of pytest code imports, unless it is told of another

BUGS = "bugs.toml"  # of a folder of bugs: a table for each, named as its folder
FILES = {"source": "{}.py", "visible_tests": "test_{}.py", "hidden_tests": "test_{}_hidden.py", "fixed": "fixed.py"}

LANGUAGE = by_name("python")  # of every benchmark there is

Tests = tuple[str, ...] | str  # statements, each of them a test, or one text of pytest code


@dataclass(frozen=True)
class Case:
    """A program with tests: a bug to repair, or a correct program to be broken.

    No search sees `hidden_tests` and `fixed`. Without hidden tests nothing is known of whether a patch is correct,
    and without `fixed` nothing of where the bug is. Raises ValueError, in one sentence, where it makes no sense.
    """

    id: str
    source: str
    visible_tests: Tests
    hidden_tests: Tests = ()
    setup: str = ""  # run before the program, in its namespace; not with pytest code
    intent: str = ""
    function: str = ""  # qualname of what may be edited; all functions of the source where it is empty
    group: str = ""
    fixed: str | None = None  # a correct program
    rejected: int = 0  # broken programs that were drawn before this one and passed every visible test
    module: str = PROGRAM  # what pytest code imports the program as

    def __post_init__(self) -> None:
        for field, kind in CHECKED.items():
            value = getattr(self, field)
            if not isinstance(value, kind) or (isinstance(value, str) and not _encodes(value)):
                raise ValueError(f"{field} cannot be {str(value)[:60]!r}")
        if not self.id:
            raise ValueError("the id is empty")
        if self.group == "all":
            raise ValueError("group 'all' is that of all cases")
        if not self.module.isidentifier():
            raise ValueError(f"module {self.module!r} is no name of a module")
        for field in ("source", "fixed"):
            text = getattr(self, field)
            if text is not None and not _parses(text):
                raise ValueError(f"{field} does not parse")
        if not _compiles(f"{self.setup}\npass"):
            raise ValueError("setup does not parse")
        known = [function.qualname for function in functions(self.source.encode(), LANGUAGE)]
        if not known or (self.function and self.function not in known):
            raise ValueError(f"source holds no function {self.function}".rstrip())
        if not self.visible_tests:
            raise ValueError("there are no visible tests")
        for tests in filter(None, (self.visible_tests, self.hidden_tests)):
            for text in [tests] if isinstance(tests, str) else tests:
                if not isinstance(text, str) or not _compiles(text):
                    raise ValueError(f"this test does not parse: {str(text)[:60]!r}")
            if isinstance(tests, str) and not _defines(tests):
                raise ValueError("tests in one text are pytest code, with functions: statements go in a list")
            if isinstance(tests, str) and self.setup:
                raise ValueError("setup does not go with pytest code, which holds its own")

    @property
    def task(self) -> Task:
        """What a search is given."""
        names = [self.function] if self.function else [f.qualname for f in functions(self.source.encode(), LANGUAGE)]
        tests = self.visible_tests
        about = LANGUAGE.specs.asserts_about
        targets = tuple(
            Target(name, self.intent, about(tests, name.rpartition(".")[2]) if isinstance(tests, str) else tests)
            for name in dict.fromkeys(names)
        )
        return Task(self.source.encode(), targets, LANGUAGE, self.setup.encode())


CHECKED: dict[str, Any] = dict.fromkeys(("id", "source", "setup", "module", "intent", "function", "group"), str)
CHECKED |= {"visible_tests": str | tuple, "hidden_tests": str | tuple, "fixed": str | None, "rejected": int}


class Oracle:
    """The tests of one case: the visible ones, as a search runs them, and the hidden ones, as a judge does.

    Statements are run in the sandbox that all cases share; pytest code in one of its own, with the program as the
    module that they import. Hidden tests do not lie beside it while visible ones run. Use as a context manager.
    """

    def __init__(self, case: Case, shared: Sandbox) -> None:
        self.case, self.shared = case, shared

    def __enter__(self) -> "Oracle":
        self.stack = ExitStack()
        tests = self.case.visible_tests
        self.own = self._own(self.stack, tests) if isinstance(tests, str) else None
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def run(
        self, source: bytes, *, first: str | None = None, seconds: float | None = None, trace: bool = False
    ) -> Observation:
        """Run the visible tests. `seconds`, what is left of a budget, changes nothing: see `LIMITS`."""
        if self.own is not None:
            return self.own.run(source, first=first, trace=trace)
        return self._statements(source, self.case.visible_tests, first=first, trace=trace)

    def evaluate(self, source: bytes, calls: Sequence[str], *, seconds: float) -> list[CallResult]:
        return self.shared.evaluate(source, calls, self.case.setup)

    def passes(self, source: str) -> bool:
        """Do all tests pass, visible and hidden?"""
        return self.run(source.encode()).ok and self.passes_hidden(source) is not False

    def passes_hidden(self, source: str) -> bool | None:
        """Do the hidden tests pass? None where there are none."""
        tests = self.case.hidden_tests
        if not tests:
            return None
        if not isinstance(tests, str):
            return self._statements(source.encode(), tests).ok
        with ExitStack() as stack:
            return self._own(stack, tests).run(source.encode()).ok

    def _statements(self, source: bytes, tests: Tests, **options: Any) -> Observation:
        return self.shared.run(source, asserts=tests, setup=self.case.setup, **options)

    def _own(self, stack: ExitStack, tests: str) -> Sandbox:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kelp-case-")))
        program, test = folder / f"{self.case.module}.py", folder / f"test_{self.case.module}.py"
        program.write_text(self.case.source, encoding="utf-8")
        test.write_text(tests, encoding="utf-8")
        suite = Suite(pytest_files=(test,))
        return stack.enter_context(Sandbox(suite, module=program, limits=LIMITS, allow_weak=True))


def shared_sandbox() -> Sandbox:
    """For an `Oracle`."""
    return Sandbox(limits=LIMITS, allow_weak=True)


@dataclass(frozen=True)
class Step:
    """A state on the way to a patch, and the edit that made it: bytes `start` to `end`, which read `old`."""

    start: int
    end: int
    old: str
    new: str
    origin: str  # "start", "model", "near-miss" or "values"
    log_prob: float | None  # of the whole way, in nats; None: minus infinity
    run: int
    passed: int
    total: int
    said: str  # what the tests said, as a model reads it


@dataclass(frozen=True)
class Row:
    """What became of a case. Runs are those of the visible tests, that of the broken program included."""

    id: str
    group: str
    repaired: bool  # some state passed every visible test
    correct: bool | None  # the patch that is ranked best passes the hidden tests too; None: there are none
    first_correct: bool | None  # so does the one that was found first
    exact: bool | None  # the best patch is the correct program; None: it is not known
    first_exact: bool | None
    pass_rate: float  # share of the visible tests that the best state passes
    first_repair: int | None  # runs up to the first repair
    first_seconds: float | None  # and seconds
    runs: int
    seconds: float
    states: int
    valid_states: int
    rejected: int
    stopped: str
    site_rank: int | None  # place of the first right site among those proposed; 0: none is right; None: not known
    site_edit: bool | None  # is the first edit proposed at that site a right one?
    source: str
    patch: str | None  # the one that is ranked best
    first_patch: str | None
    path: tuple[Step, ...]  # to the best patch, or to the state that passed most tests
    samples: int = 0  # programs drawn without looking at a test
    samples_correct: int = 0  # of which so many pass all of them

    @property
    def solved(self) -> bool:
        """Is the first repair correct, as far as tests can tell?"""
        return self.repaired and self.first_correct is not False


def read_cases(path: Path) -> tuple[list[Case], list[str]]:
    """The cases of a .jsonl file, one JSON object a line with the fields of `Case`, and what is wrong with the others.

    A tuple of tests is a JSON list. Raises OSError.
    """
    lines = path.read_bytes().splitlines()  # not as text: a line that is no UTF-8 is one bad line
    return collect((f"line {number}", line) for number, line in enumerate(lines, start=1) if line.strip())


def read_folder(folder: Path) -> tuple[list[Case], list[str]]:
    """The cases of a folder of bugs, and what is wrong with the others.

    `bugs.toml` has a table for each bug, with fields of `Case` and, for readers, `edits`. The folder of its name, which
    is that of its module too, holds its `FILES`. Raises OSError, and ValueError where `bugs.toml` cannot be read.
    """
    bugs = tomllib.loads((folder / BUGS).read_text(encoding="utf-8"))
    return collect((name, _of_folder(folder / name, about)) for name, about in bugs.items())


def _of_folder(folder: Path, about: Any) -> Any:
    if not isinstance(about, dict):
        return about
    name = folder.name
    paths = {field: folder / file.format(name) for field, file in FILES.items()}
    # What is no UTF-8 becomes what no case may hold.
    read = partial(Path.read_text, encoding="utf-8", errors="surrogateescape")
    texts = {field: read(path) for field, path in paths.items() if path.is_file()}
    return {"id": name, "module": name} | {key: about[key] for key in about if key != "edits"} | texts


def collect(items: "Iterator[tuple[str, bytes | Mapping[str, Any]]]") -> tuple[list[Case], list[str]]:
    """Cases from their fields, or the JSON of them; what makes no sense, or comes again, is named and left out."""
    cases: dict[str, Case] = {}
    skipped = []
    for name, fields in items:
        try:
            case = _case(json.loads(fields.decode("utf-8-sig")) if isinstance(fields, bytes) else fields)
            if case.id in cases:
                raise ValueError(f"the id {case.id!r} comes again")
            cases[case.id] = case
        except (ValueError, RecursionError) as error:  # of JSON too
            skipped.append(f"{name}: {error}")
    return list(cases.values()), skipped


def _case(fields: Any) -> Case:
    if not isinstance(fields, Mapping):
        raise ValueError("not a JSON object")
    known = {field.name: field.default is dataclasses.MISSING for field in dataclasses.fields(Case)}
    if unknown := sorted(set(fields) - set(known)):
        raise ValueError(f"unknown key {unknown[0]!r}; known are {', '.join(known)}")
    if missing := [name for name, needed in known.items() if needed and name not in fields]:
        raise ValueError(f"there is no {missing[0]!r}")
    values: dict[str, Any] = {k: tuple(value) if isinstance(value, list) else value for k, value in fields.items()}
    return Case(**values)


def _encodes(text: str) -> bool:
    """Not if half a surrogate pair is in it, which JSON may hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _parses(text: str) -> bool:
    try:
        return parses(text.encode(), LANGUAGE)
    except ValueError:  # a null byte
        return False


def _defines(text: str) -> bool:
    return any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) for node in ast.parse(text).body)


def _compiles(text: str) -> bool:
    try:
        return bool(ast.parse(text).body)
    except (SyntaxError, ValueError, MemoryError):  # the last where it is nested too deeply
        return False
