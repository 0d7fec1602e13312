"""A case of a benchmark: a program with tests."""

import ast
from dataclasses import dataclass
from typing import Any

from kelp.languages.registry import by_name
from kelp.syntax.functions import functions
from kelp.syntax.program import parses

PROGRAM = "program"  # the module that a text of pytest code imports, unless a case names another
LANGUAGE = by_name("python")  # of every benchmark there is

Tests = tuple[str, ...] | str  # statements, each of them a test, or one text of pytest code


@dataclass(frozen=True)
class Case:
    """A program with tests: a bug to repair, or a correct program to be broken.

    A search gets neither `hidden_tests` nor `fixed`. Without `hidden_tests` it is unknown whether a patch is correct,
    without `fixed` where the bug is. Raises ValueError, in one sentence, where a field makes no sense.
    """

    id: str
    source: str
    visible_tests: Tests
    hidden_tests: Tests = ()
    setup: str = ""  # run before the program, in its namespace; not with pytest code
    intent: str = ""
    function: str = ""  # qualname of the function to repair; without it, localization decides
    group: str = ""
    fixed: str | None = None  # a correct program
    rejected: int = 0  # broken programs drawn before this one that passed every visible test
    module: str = PROGRAM  # name by which pytest code imports the program

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


CHECKED: dict[str, Any] = dict.fromkeys(("id", "source", "setup", "module", "intent", "function", "group"), str)
CHECKED |= {"visible_tests": str | tuple, "hidden_tests": str | tuple, "fixed": str | None, "rejected": int}


def _encodes(text: str) -> bool:
    """Return whether the text can be encoded: JSON may hold half of a surrogate pair."""
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
