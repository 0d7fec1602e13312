"""What a person says a file should do: the tests to run, and what a model is shown of them for each function."""

import ast
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from kelp.cli.files import read
from kelp.errors import Problem
from kelp.execution.command import root_of
from kelp.execution.suite import Suite, absolute
from kelp.execution.worker.candidate import ROOT_MARKS
from kelp.execution.worker.protocol import function_of
from kelp.search.task import Target
from kelp.syntax.functions import Function


@dataclass(frozen=True)
class Specification:
    """The tests, checked to be there, and an intent that goes before the docstrings'."""

    suite: Suite
    test_sources: tuple[str, ...]
    intent: str | None = None
    hidden: frozenset[str] = frozenset()  # tests, and test functions, of which a model is shown nothing

    def target(self, function: Function, prior: float) -> Target:
        """What is known about one function."""
        specs = function.language.specs
        node = ast.parse(function.source).body[0]
        assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        docstring = ast.get_docstring(node) or ""
        asserts = [text for text in self.suite.asserts if text not in self.hidden]
        asserts = [text if text.startswith("assert ") else f"assert {text}" for text in asserts]
        if self.suite.doctest and not any(name.endswith(f".{function.qualname}") for name in self.hidden):
            asserts += list(specs.examples(docstring))
        for source in self.test_sources:
            asserts += specs.asserts_about(
                _without_functions(source, self.hidden), function.qualname.rpartition(".")[2]
            )
        intent = specs.intent(docstring) if self.intent is None else self.intent
        return Target(function.qualname, intent, tuple(dict.fromkeys(asserts)), prior)

    def without(self, tests: Iterable[str], others: Iterable[str]) -> "Specification":
        """One that shows a model nothing of these tests, by their names, if it can be told from the others."""
        apart = {_function(name) for name in tests} - {_function(name) for name in others}
        return replace(self, hidden=frozenset((*tests, *apart)))


def _function(name: str) -> str:
    """Of a test's name."""
    return function_of(name.rpartition("::")[2])


def _without_functions(source: str, names: frozenset[str]) -> str:
    """The source, with nothing in the functions of these names."""
    try:
        tree = ast.parse(source if names else "")
    except SyntaxError:
        return source
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name in names:
            node.body, node.decorator_list = [ast.Pass()], []
    return ast.unparse(tree) if names else source


def specify(
    file: Path, tests: list[Path], asserts: list[str], *, use_doctest: bool, command: str | None, intent: str | None
) -> tuple[Specification, list[Path]]:
    """The specification, and the test files found beside the file where nothing was given. Raises Problem."""
    if command is not None:
        if tests or asserts or use_doctest:
            raise Problem("--test-command excludes --tests, --assert and --doctest: the command decides alone.")
        words = split(command)
        sources = tuple(read(path).decode("utf-8", "replace") for path in named_files(words, file) or find_tests(file))
        return Specification(Suite(command=words), sources, intent), []
    found: list[Path] = []
    if not (tests or asserts or use_doctest):
        found = find_tests(file)
        if not found:
            raise Problem(
                f"No tests are given, and there is no test_{file.stem}.py beside {file} or in tests/: "
                "name tests with --tests, --assert or --doctest."
            )
    sources = tuple(read(path).decode("utf-8", "replace") for path in [*tests, *found])
    for text in asserts:
        check_assert(text)
    suite = Suite(asserts=tuple(asserts), pytest_files=tuple([*tests, *found]), doctest=use_doctest)
    return Specification(suite, sources, intent), found


def split(command: str) -> tuple[str, ...]:
    """The words of a test command. Raises Problem."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise Problem(f"--test-command {command!r} cannot be split into words: {error}.") from None
    if not words:
        raise Problem("--test-command is empty: give a program and its arguments, as in 'pytest -q tests'.")
    return tuple(words)


def named_files(words: tuple[str, ...], file: Path) -> list[Path]:
    """The Python files that a test command names: what a model is shown of the tests. Raises Problem."""
    try:
        root = root_of(file.resolve())
    except ValueError as error:
        raise Problem(f"{error}.") from None
    paths = [Path(root, word.partition("::")[0]) for word in words[1:]]
    return [path for path in dict.fromkeys(paths) if path.suffix == ".py" and path.is_file() and path != file.resolve()]


def check_assert(text: str) -> None:
    """Raises Problem where the text is neither one expression nor one assert statement."""
    try:
        statements = ast.parse(text.strip()).body
    except (SyntaxError, ValueError) as error:
        said = error.msg if isinstance(error, SyntaxError) else error
        raise Problem(f"--assert {text!r} is no Python expression: {said}.") from None
    if len(statements) != 1 or not isinstance(statements[0], ast.Expr | ast.Assert):
        raise Problem(f"--assert {text!r} is no Python expression: give one that must be true, as in 'f(1) == 2'.")


def find_tests(file: Path) -> list[Path]:
    """test_NAME.py or NAME_test.py beside the file, or in a tests/ folder there or above it in the project."""
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
