"""Options that name the tests, the same for all commands that run them, and their translation for a session."""

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kelp.errors import KelpError

if TYPE_CHECKING:  # imported when a command runs, so that --help is fast
    from kelp import repair
    from kelp.execution.interpreter import Interpreter

Tests = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="TEST_FILE.py",
        help="pytest file; repeatable. Without any test option: test_FILE.py or FILE_test.py beside "
        "FILE.py or in tests/.",
    ),
]
Asserts = Annotated[
    list[str] | None,
    typer.Option("--assert", metavar="EXPRESSION", help="Expression that must be true; repeatable."),
]
Doctest = Annotated[bool, typer.Option("--doctest", help="Run the examples in the docstrings.")]
TestCommand = Annotated[
    str | None,
    typer.Option(
        metavar="COMMAND",
        help="Command to run instead, in a copy of the project (the first folder up from FILE.py with a "
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
        return Tests(command=_split(command))
    if not (files or asserts or doctest):
        return None
    for text in asserts or ():
        _check_assert(text)
    return Tests(asserts=tuple(asserts or ()), files=tuple(files or ()), doctest=doctest)


def python(file: Path, name: str | None) -> "Interpreter":
    """Return the Python that runs the tests of a file: that of the option, or of the project. Raises KelpError."""
    from kelp.repair import find_python

    try:
        return find_python(file, name)
    except KelpError as error:
        if name is None:
            raise KelpError(error.message, "--python chooses another") from None
        raise KelpError(f"--python: {error.message}") from None


def say_python(interpreter: "Interpreter") -> None:
    """Name the Python that runs the tests on stderr, unless it is Kelp's own."""
    if not interpreter.is_own:
        print(f"Python: {interpreter}", file=sys.stderr)


def budget(*, runs: int, seconds: float, edits: int, patches: int) -> "repair.Budget":
    """Return the budget that the options name. Raises KelpError."""
    from kelp.repair import Budget

    try:
        return Budget(runs=runs, seconds=seconds, edits=edits, patches=patches)
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


def _split(command: str) -> tuple[str, ...]:
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
