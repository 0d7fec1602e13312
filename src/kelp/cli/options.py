"""Options that name the tests, the same for all commands that run them, and their translation for a session."""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kelp.cli.progress import say
from kelp.errors import KelpError

if TYPE_CHECKING:  # imported when a command runs, so that --help is fast
    from kelp import repair
    from kelp.execution.interpreter import Interpreter
    from kelp.repair.settings import Settings


class Engine(StrEnum):
    local = "local"
    ray = "ray"


Tests = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="TESTS",
        help="pytest file, folder of them, or test (TEST_FILE.py::TEST); repeatable. Without any test option: "
        "test_FILE.py or FILE_test.py beside FILE.py or in tests/, or else the tests of the project.",
    ),
]
Asserts = Annotated[
    list[str] | None,
    typer.Option("--assert", metavar="EXPRESSION", help="Expression that must be true; repeatable."),
]
EngineOption = Annotated[
    Engine, typer.Option(metavar="local|ray", help="This machine's cores, or a Ray cluster that shares the folder.")
]
Doctest = Annotated[bool, typer.Option("--doctest", help="Run the examples in the docstrings.")]
TestCommand = Annotated[
    str | None,
    typer.Option(
        metavar="COMMAND",
        help="Command that runs the tests instead, in a copy of the project (the first folder up from FILE.py with a "
        "pyproject.toml, .git or the like). It passes with exit status 0 and, where it runs pytest, when every test "
        "passes. Slower, and a hostile program can forge its verdict.",
    ),
]
Python = Annotated[
    str | None,
    typer.Option(
        metavar="PYTHON",
        help="Python that runs the tests: a path, an environment's folder or a version such as 3.11. Without it: the "
        "active environment's, or that of .venv or venv in FILE.py's project, or Kelp's own.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no messages but errors.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Print each tried edit on stderr.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
AllowWeakSandbox = Annotated[
    bool, typer.Option("--allow-weak-sandbox", help="Run although this machine lacks protections (see kelp doctor).")
]


def given_tests(
    files: Sequence[Path] | None, asserts: Sequence[str] | None, doctest: bool, command: str | None
) -> "repair.Tests | None":
    """Return the tests that the options name; None where they name none. Raises KelpError."""
    from kelp.repair import Tests

    if command is not None:
        if files or asserts or doctest:
            message = "--test-command excludes --tests, --assert and --doctest"
            raise KelpError(message, "the command decides alone")
        return Tests(command=split_command(command))
    if not (files or asserts or doctest):
        return None
    for text in asserts or ():
        _check_assert(text)
    paths, only = _files_and_tests(files or ())
    return Tests(asserts=tuple(asserts or ()), files=paths, doctest=doctest, only=only)


def _files_and_tests(given: Sequence[Path]) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Return the test files that are given, alone, in folders or in node ids; and the node ids, with absolute paths.

    Raises KelpError.
    """
    from kelp.execution.suite import absolute

    files: dict[Path, None] = {}
    only: dict[str, None] = {}
    whole = False
    for path in given:
        name, _, test = str(path).partition("::")
        if Path(name).is_dir():
            found = sorted(
                p for p in Path(name).rglob("*.py") if p.name.startswith("test_") or p.stem.endswith("_test")
            )
            if not found:
                raise KelpError(f"There is no test file in {name}", "pytest's are named test_*.py or *_test.py")
            files.update(dict.fromkeys(found))
        else:
            files[Path(name)] = None
        if test:
            only[f"{absolute(Path(name))}::{test}"] = None
        whole = whole or not test
    if whole and only:
        raise KelpError("--tests takes whole files or single tests, not both")
    return tuple(files), tuple(only)


def python(file: Path, name: str | None, settings: "Settings | None" = None, root: Path | None = None) -> "Interpreter":
    """Return the Python that runs the tests of a file: that of the option, of the settings, or of the project.

    Raises KelpError.
    """
    from kelp.repair import find_python

    if name is None and settings is not None and settings.python is not None:
        inside = (root or Path()) / settings.python
        try:
            return find_python(file, str(inside) if inside.exists() else settings.python)
        except KelpError as error:
            raise KelpError(f"python in [tool.kelp]: {error.message}") from None
    try:
        return find_python(file, name)
    except KelpError as error:
        if name is None:
            raise KelpError(error.message, "--python chooses another") from None
        raise KelpError(f"--python: {error.message}") from None


def say_python(interpreter: "Interpreter") -> None:
    """Name the Python that runs the tests on stderr, unless it is Kelp's own."""
    if not interpreter.is_own:
        say(f"Python: {interpreter}")


def budget(*, runs: int | None, seconds: float | None, edits: int | None, patches: int | None) -> "repair.Budget":
    """Return the budget that the options name; None is the default. Raises KelpError.

    So many patches are searched for as are asked for, as long as the budget lasts.
    """
    from kelp.repair import Budget

    given: dict[str, Any] = {"runs": runs, "seconds": seconds, "edits": edits, "patches": patches}
    if patches is not None:
        given |= {"more_runs": runs or Budget().runs, "more_seconds": seconds or Budget().seconds}
    try:
        return Budget(**{name: value for name, value in given.items() if value is not None})
    except ValueError as error:
        raise KelpError(f"--max-{error}") from None


@contextmanager
def in_options() -> Iterator[None]:
    """Put the names of options into the errors of a session. Raises KelpError."""
    from kelp.repair import CommandError, NoSuspect, NoTests

    try:
        yield
    except NoTests as error:
        raise KelpError(error.message, "name tests with --tests, --assert or --doctest") from None
    except NoSuspect as error:
        raise KelpError(error.message, "name the function with --function") from None
    except CommandError as error:
        raise KelpError(error.message.replace("The test command", "--test-command"), error.hint) from None
    except KelpError as error:
        if error.status != "weak sandbox":
            raise
        hint = "--allow-weak-sandbox runs it all the same"
        raise KelpError(error.message, hint, status=error.status) from None


def split_command(command: str) -> tuple[str, ...]:
    """Return the words of a test command. Raises KelpError."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise KelpError(f"--test-command {command!r} cannot be split into words: {error}") from None
    if not words:
        raise KelpError("--test-command is empty: give a program and its arguments, as in 'pytest -q tests'")
    return tuple(words)


def _check_assert(text: str) -> None:
    """Raise KelpError where the text is neither one expression nor one assert statement."""
    import ast

    from kelp.repair.tests import parse_assert

    try:
        statements = parse_assert(text)
    except KelpError as error:
        raise KelpError(f"--assert {error.message}") from None
    if len(statements) != 1 or not isinstance(statements[0], ast.Expr | ast.Assert):
        message = f"--assert {text!r} is no Python expression"
        raise KelpError(message, "give one that must be true, as in 'f(1) == 2'")
