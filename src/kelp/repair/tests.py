"""Tests of a program: given or found beside it, run in a sandbox, and part of the model's input for each function."""

import ast
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kelp.errors import KelpError, reason
from kelp.execution.command import root_of
from kelp.execution.explain import need, needs_of
from kelp.execution.interpreter import Interpreter, InterpreterError, found, named, own
from kelp.execution.observation import Observation
from kelp.execution.sandbox import Sandbox
from kelp.execution.server_process import WeakSandbox
from kelp.execution.suite import Limits, Suite, absolute
from kelp.execution.worker.folders import ROOT_MARKS
from kelp.execution.worker.protocol import function_of
from kelp.files import NotParsed, check_python, read
from kelp.search.task import Target
from kelp.syntax.functions import Function


class NoTests(KelpError):
    """No tests are given, and none are found."""


class CommandError(KelpError):
    """A test command that cannot be used."""


@dataclass(frozen=True)
class Tests:
    """Tests of a program: asserts, pytest files and docstring examples, or instead of those a command.

    `only` are tests of the files, as node ids with absolute paths, where not all of them are meant.
    `asserts` are statements, or expressions that must be true; `setup` is code that runs before them. `command` is a
    program with its arguments, run in a copy of the project. Raises KelpError where a file cannot be read, an assert
    does not parse, or a command comes with other tests.
    """

    __test__ = False  # pytest must not collect it

    asserts: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    doctest: bool = False
    setup: str = ""
    command: tuple[str, ...] = ()
    only: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.command and (self.asserts or self.files or self.doctest or self.setup):
            raise CommandError("A test command excludes asserts, test files and doctests", "the command decides alone")
        for text in self.asserts:
            parse_assert(text)
        for file in self.files:
            read(file)

    @property
    def suite(self) -> Suite:
        return Suite(
            asserts=self.asserts, pytest_files=self.files, doctest=self.doctest, setup=self.setup,
            command=self.command, only=self.only,
        )  # fmt: skip

    def specification(self, program: Path | None, intent: str | None) -> "Specification":
        """Return the tests of a program as a model's input."""
        files = list(self.files)
        if self.command and program is not None:
            files = named_files(self.command, program) or find_tests(program)
        sources = tuple(read(path).decode("utf-8", "replace") for path in files)
        return Specification(tests=self, sources=sources, intent=intent)


@dataclass(frozen=True)
class Specification:
    """Texts of tests for a model's input, and an intent in place of the docstrings'.

    The `sources` are those of the test files; with a command, of the ones that it names or else of the ones found.
    """

    tests: Tests
    sources: tuple[str, ...]
    intent: str | None = None
    hidden: frozenset[str] = frozenset()  # names of tests and test functions that are left out

    def target(self, function: Function, prior: float) -> Target:
        """Return the specification of one function."""
        specs = function.language.specs
        node = ast.parse(function.source).body[0]
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):  # an assignment outside of functions
            return Target(function.qualname, intent=self.intent or "", prior=prior, file=function.file)
        docstring = ast.get_docstring(node) or ""
        asserts = [text for text in self.tests.asserts if text not in self.hidden]
        asserts = [f"assert {text}" if _is_expression(text) else text for text in asserts]
        if self.tests.doctest and not any(name.endswith(f".{function.qualname}") for name in self.hidden):
            asserts += specs.examples(docstring)
        for source in self.sources:
            shown = _without_functions(source, self.hidden)
            asserts += specs.asserts_about(shown, function.qualname.rpartition(".")[2])
        return Target(
            qualname=function.qualname,
            intent=specs.intent(docstring) if self.intent is None else self.intent,
            asserts=tuple(dict.fromkeys(asserts)),
            prior=prior,
            file=function.file,
        )

    def without(self, tests: Iterable[str], others: Iterable[str]) -> "Specification":
        """Return a copy that leaves out the tests of these names, and test functions without a test among `others`."""
        functions = {_function(name) for name in tests} - {_function(name) for name in others}
        return replace(self, hidden=frozenset((*tests, *functions)))


def _function(name: str) -> str:
    """The test function in a test's name."""
    return function_of(name.rpartition("::")[2])


def _without_functions(source: str, names: frozenset[str]) -> str:
    """Return the source with empty bodies in the functions of these names."""
    try:
        tree = ast.parse(source if names else "")
    except SyntaxError:
        return source
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name in names:
            node.body, node.decorator_list = [ast.Pass()], []
    return ast.unparse(tree) if names else source


def parse_assert(text: str) -> list[ast.stmt]:
    """Return the statements of an assert. Raises KelpError where it does not parse."""
    try:
        return ast.parse(text.strip()).body
    except (SyntaxError, ValueError, MemoryError) as error:  # the last where it is nested too deeply
        message = error.msg if isinstance(error, SyntaxError) else error
        raise KelpError(f"{text!r} is no Python expression: {message}") from None


def _is_expression(text: str) -> bool:
    match parse_assert(text):
        case [ast.Expr()]:
            return True
    return False


def find_tests(file: Path) -> list[Path]:
    """Find test_NAME.py or NAME_test.py beside a file, or in a tests/ folder there or above it in the project."""
    names = (f"test_{file.stem}.py", f"{file.stem}_test.py")
    folder = absolute(file).parent
    places = [folder]
    for above in (folder, *folder.parents):
        places.append(above / "tests")
        if any((above / mark).exists() for mark in ROOT_MARKS):
            break
    else:
        places = places[:2]  # in no project: not further up
    for place in places:
        found = [place / name for name in names if (place / name).is_file()]
        if found:
            return found
    return []


def found_tests(file: Path) -> Tests:
    """Return the tests that `find_tests` finds. Raises NoTests."""
    found = find_tests(file)
    if not found:
        message = f"No tests are given, and there is no test_{file.stem}.py beside {file} or in tests/"
        raise NoTests(message, "name tests")
    return Tests(files=tuple(found))


def named_files(words: tuple[str, ...], file: Path) -> list[Path]:
    """Return the Python files, other than `file`, that a test command names. Raises KelpError."""
    try:
        root = root_of(file.resolve())
    except ValueError as error:
        raise KelpError(str(error)) from None
    paths = [Path(root, word.partition("::")[0]) for word in words[1:]]
    return [path for path in dict.fromkeys(paths) if path.suffix == ".py" and path.is_file() and path != file.resolve()]


def find_python(file: Path, name: str | None = None) -> Interpreter:
    """Find the Python that runs the tests of a file: the one named, or that of its project. Raises KelpError.

    A name is a path, the folder of an environment or a version. The project's Python is that of the active
    environment, or of a `.venv` or `venv` beside or above the file in its project, or else Kelp's own.
    """
    try:
        return found(file) if name is None else named(name)
    except InterpreterError as error:
        raise KelpError(str(error)) from None


def check_program(source: bytes, name: str, python: Interpreter) -> None:
    """Raise KelpError unless a program parses in the Python that runs it, and in Kelp's own, which edits it."""
    try:
        problem = None if python.is_own else python.syntax_error(source)
    except InterpreterError as error:
        raise KelpError(str(error)) from None
    if problem is not None:
        raise KelpError(f"{name} does not parse ({problem}) in {python}", "Kelp repairs programs that do")
    try:
        check_python(source, name)
    except NotParsed as error:
        if python.is_own:
            raise
        message = f"{error.message} in the Python {own().version} that Kelp itself runs in"
        raise KelpError(message, f"it does in {python}, so run Kelp in that version") from None


def start_sandbox(
    tests: Tests,
    module: Path | None,
    limits: Limits,
    *,
    allow_weak: bool = False,
    python: Interpreter | None = None,
    project: Path | None = None,
) -> Sandbox:
    """Start the sandbox that runs the tests of a file, of a bare program or of a project. Raises KelpError."""
    options: dict[str, Any] = {"limits": limits, "allow_weak": allow_weak, "python": python, "project": project}
    try:
        return Sandbox(tests.suite, module=module, **options)
    except WeakSandbox as weak:
        raise KelpError(str(weak), "allow_weak runs it all the same", status="weak sandbox") from None
    except OSError as error:
        raise KelpError(f"The sandbox cannot start: {error.filename or ''} {reason(error)}") from None
    except ValueError as error:
        raise CommandError(f"The test command {shlex.join(tests.command)!r}: {error}") from None
    except RuntimeError as error:
        raise KelpError(str(error)) from None


def run_limits(tests: Tests, seconds: float) -> Limits:
    """Return the limits of a run of `seconds`; a command gets what a whole project needs."""
    if tests.command:
        return Limits(seconds=seconds, memory_mb=4096, file_mb=256, open_files=1024)
    return Limits(seconds=seconds)


def check_ran(tests: Tests, program: str, observation: Observation) -> None:
    """Raise KelpError where there was no test to run."""
    if observation.error != "no tests were found":
        return
    if tests.command:
        raise CommandError(f"The test command {shlex.join(tests.command)!r} runs no test")
    if tests.only:
        raise KelpError(f"There is no test {' or '.join(name.rpartition('/')[2] for name in tests.only)}")
    if tests.files:
        raise KelpError(f"There is no test in {' and '.join(map(str, tests.files))}")
    raise KelpError(f"There is no example in the docstrings of {program}")


def check_observation(tests: Tests, program: str, observation: Observation) -> None:
    """Raise KelpError where the first run leaves nothing to repair."""
    check_ran(tests, program, observation)
    if observation.error is not None and (observation.error_line is None or observation.needs is not None):
        needs = "" if observation.needs is None else f"; they need {need(observation.needs)}"
        raise KelpError(f"The tests cannot be run: {observation.error}{needs}")
    if observation.unmet and observation.set_aside(observation.unmet).first_failure is None:
        plugins = bool(tests.command)
        message = f"No test fails by a fault of {program}: {needs_of(observation.unmet, plugins=plugins)}"
        raise KelpError(message, observation=observation)
    if observation.ok:
        counts = f"{observation.passed} of {observation.total}"
        message = f"All tests of {program} pass already ({counts})"
        raise KelpError(message, status="passes already", observation=observation)
    if observation.error is None and observation.first_failure is None:
        raise KelpError("All tests are skipped: nothing says what to repair")
