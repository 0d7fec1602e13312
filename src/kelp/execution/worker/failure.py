"""Facts of a failed test of a file: the call it is about, with its arguments' values, and what was got and expected."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import pytest

from kelp.execution.worker.bare_asserts import EXPECTED_PREFIX, calls
from kelp.execution.worker.candidate import Candidate, safe_message, safe_repr
from kelp.execution.worker.plugin.kelp_sides import MIRRORED, computed, statements_around, uses


def explain(
    error: BaseException, test_file: str, compared: tuple[str, str, str] | None, candidate: Candidate
) -> dict[str, Any]:
    """Facts of a failed test: the call with its arguments' values, got and expected, or the exception."""
    line = candidate.line_of(error)
    frame, number, checked = None, 0, None
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == test_file:
            frame, number = traceback.tb_frame, traceback.tb_lineno
        elif frame is not None and {"first", "second"} <= set(traceback.tb_frame.f_locals):
            checked = traceback.tb_frame.f_locals  # unittest's assertEqual(first, second) and its kind
        traceback = traceback.tb_next
    around = statements_around(test_file, number)
    statement = around[-1] if around else ast.Pass()
    variables = {} if frame is None else {**frame.f_globals, **frame.f_locals}
    scope = [outer for outer in around if isinstance(outer, (ast.FunctionDef, ast.AsyncFunctionDef))][-1:]

    def rank(node: ast.expr) -> int:
        return computed(
            uses(node, scope, number), variables, candidate.filename, "" if candidate.is_at(test_file) else test_file
        )

    def spell(node: ast.expr) -> str:
        return _spell(_origin(node, around), variables)

    facts: dict[str, Any] = {"exception": type(error).__name__, "message": safe_message(error), "line": line}
    call = _tested(statement, rank)
    if call is not None:
        facts["call"] = spell(call)
    of_the_program = line is not None and not candidate.is_at(test_file)
    if not isinstance(error, (AssertionError, pytest.fail.Exception)) or of_the_program:
        return facts | {"status": "error"}

    facts["status"] = "fail"
    test: Any = statement.test if isinstance(statement, ast.Assert) else getattr(statement, "value", None)
    if isinstance(statement, ast.Assert) and not isinstance(test, ast.Compare):
        negated = isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
        begin = "assert not " if negated else "assert "
        if not negated and not isinstance(test, (ast.Call, ast.Name, ast.Attribute)):
            return facts
        shown = [text for text in facts["message"].splitlines() if text.startswith(begin)]
        return facts | ({"got": shown[0][len(begin) :], "expected": str(not negated)} if shown else {})
    if isinstance(statement, ast.Assert) and compared is not None and len(test.ops) == 1:
        left, right = test.left, test.comparators[0]
        word, got, expected = compared
    elif isinstance(statement, ast.Expr) and checked is not None and _is_method(test, 2):
        left, right = test.args[:2]
        word = "!=" if "Not" in test.func.attr else "=="
        got, expected = safe_repr(checked["first"]), safe_repr(checked["second"])
    else:
        return facts
    if rank(right) > rank(left):
        left, got, word, expected = right, expected, MIRRORED.get(word, word), got
    return facts | {"call": spell(left), "got": got, "expected": EXPECTED_PREFIX.get(word, word + " ") + expected}


def _is_method(node: Any, arguments: int) -> bool:
    """Return whether a method is called with at least so many arguments."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and len(node.args) >= arguments


def _tested(statement: ast.stmt, rank: Callable[[ast.expr], int]) -> ast.expr | None:
    """The expression of a statement that most likely ran the program."""
    value: Any = getattr(statement, "value", None)
    if isinstance(statement, ast.Assert):
        test = statement.test.operand if isinstance(statement.test, ast.UnaryOp) else statement.test
        sides = [test.left, *test.comparators] if isinstance(test, ast.Compare) else [test]
    elif isinstance(statement, ast.Expr) and _is_method(value, 1) and value.func.attr.startswith("assert"):
        sides = value.args  # unittest
    elif isinstance(statement, (ast.Expr, ast.Assign, ast.Return)):
        return value
    else:
        return _tested(statement.body[-1], rank) if isinstance(statement, ast.With) else None  # pytest.raises
    return max(sides, key=lambda side: (rank(side), calls(side)))


def _origin(node: ast.expr, around: list[ast.stmt]) -> ast.expr:
    """The call whose result a variable holds, where the test's function assigns it plainly."""
    if isinstance(node, ast.Name):
        for statement in reversed([part for outer in around for part in getattr(outer, "body", [])]):
            if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call):
                names = [getattr(target, "id", None) for target in statement.targets]
                if names == [node.id] and statement.lineno < around[-1].lineno:
                    return statement.value
    return node


class _Values(ast.NodeTransformer):
    """Puts values in place of the names of a call's arguments."""

    def __init__(self, variables: dict[str, Any]):
        self.variables = variables

    def visit_Call(self, node: ast.Call) -> ast.Call:
        node.args = [self.visit(argument) for argument in node.args]
        for keyword in node.keywords:
            keyword.value = self.visit(keyword.value)
        return node

    def visit_Name(self, node: ast.Name) -> ast.expr:
        value = self.variables.get(node.id, self)
        if value is None or isinstance(value, (int, float, str, bytes, list, tuple, dict, set, frozenset)):
            text = safe_repr(value, 60)
            if not text.endswith("…"):
                return ast.Name(text)  # unparsed as it stands
        return node


def _spell(node: ast.expr, variables: dict[str, Any]) -> str:
    try:
        return ast.unparse(_Values(variables).visit(node) if isinstance(node, ast.Call) else node)
    except BaseException:  # values are the program's: their types may do anything
        return ast.unparse(node)
