"""Bare asserts, in the child process: evaluated so that what was called, got and expected can be told."""

import ast
import operator
import time
from collections.abc import Callable
from typing import Any

from kelp.execution.candidate import Candidate, safe_message, safe_repr
from kelp.execution.report import Report

_COMPARE: dict[type[ast.cmpop], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Eq: ("", operator.eq),
    ast.Is: ("", operator.is_),
    ast.NotEq: ("!= ", operator.ne),
    ast.IsNot: ("not ", operator.is_not),
    ast.Lt: ("< ", operator.lt),
    ast.LtE: ("<= ", operator.le),
    ast.Gt: ("> ", operator.gt),
    ast.GtE: (">= ", operator.ge),
    ast.In: ("in ", lambda left, right: left in right),
    ast.NotIn: ("not in ", lambda left, right: left not in right),
}
_CLOSE_TO = ("isclose", "allclose", "array_equal")  # predicates that compare their first two arguments
_now = time.perf_counter


class _Unmet(Exception):
    """An assertion that did not hold: its call, what it got, what was expected."""


def run_asserts(
    tests: list[str], namespace: dict[str, Any], candidate: Candidate, report: Report, *, trace: bool
) -> bool:
    """Run the tests in order and report each; False as soon as one has failed and the report says to stop."""
    for text in tests:
        call = _call_of(text)
        lines = report.begin(text, call)
        began = _now()
        try:
            if trace:
                with candidate.traced(lines):
                    _run(text, namespace)
            else:
                _run(text, namespace)
            facts: dict[str, Any] = {"status": "pass"}
        except _Unmet as unmet:
            call, got, expected, message = unmet.args
            facts = {"status": "fail", "call": call, "got": got, "expected": expected}
            facts |= {"exception": "AssertionError", "message": message}
        except BaseException as error:
            facts = {"status": "error", "call": call, "exception": type(error).__name__}
            facts |= {"message": safe_message(error), "line": candidate.line_of(error)}
        if not report.outcome(text, seconds=_now() - began, **facts):
            return False
    return True


def run_calls(calls: list[str], namespace: dict[str, Any], report: Report, *, limit: int) -> None:
    """Evaluate each call and report its repr, or its exception, and whether the repr says it all."""
    for call in calls:
        report.begin(call)
        try:
            value = eval(compile(call.strip(), "<call>", "eval", dont_inherit=True), namespace)
            text = repr(value)
        except BaseException as error:
            report.call(call, exception=type(error).__name__)
            continue
        round_trips = False
        if len(text) <= limit:
            try:
                again = eval(compile(text, "<repr>", "eval", dont_inherit=True), namespace)
                round_trips = type(again) is type(value) and bool(again == value)
            except BaseException:
                pass
        report.call(call, repr=text[:limit], round_trips=round_trips)


def _run(text: str, namespace: dict[str, Any]) -> None:
    statements = ast.parse(text.strip(), "<test>").body
    for statement in statements:
        if isinstance(statement, ast.Assert):
            _check(statement.test, text.strip(), namespace, statement.msg)
        elif isinstance(statement, ast.Expr) and len(statements) == 1:
            _check(statement.value, text.strip(), namespace, None)
        else:
            exec(compile(ast.Module([statement], []), "<test>", "exec", dont_inherit=True), namespace)


def _value(node: ast.expr, namespace: dict[str, Any]) -> Any:
    return eval(compile(ast.Expression(node), "<test>", "eval", dont_inherit=True), namespace)


def _check(test: ast.expr, text: str, namespace: dict[str, Any], note: ast.expr | None) -> None:
    """Evaluate every side once, from left to right, as the statement would; raise _Unmet where it is false."""

    def unmet(node: ast.expr, got: object, expected: str) -> _Unmet:
        message = None if note is None else str(_value(note, namespace))[:200]
        return _Unmet(_source(node, text), safe_repr(got), expected, message)

    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        for part in test.values:
            _check(part, text, namespace, note)
    elif isinstance(test, ast.Compare):
        left_node, left = test.left, _value(test.left, namespace)
        for op, right_node in zip(test.ops, test.comparators, strict=True):
            right = _value(right_node, namespace)
            word, holds = _COMPARE[type(op)]
            if not holds(left, right):
                if isinstance(op, ast.Eq) and not _calls(left_node) and _calls(right_node):
                    raise unmet(right_node, right, safe_repr(left))
                raise unmet(left_node, left, word + safe_repr(right))
            left_node, left = right_node, right
    elif isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        value = _value(test.operand, namespace)
        if value:
            raise unmet(test.operand, value, "False")
    elif isinstance(test, ast.Call) and _is_close_to(test):
        got, expected = (_value(argument, namespace) for argument in test.args[:2])
        rest = [_value(argument, namespace) for argument in test.args[2:]]
        options = {str(keyword.arg): _value(keyword.value, namespace) for keyword in test.keywords}
        if not _value(test.func, namespace)(got, expected, *rest, **options):
            raise unmet(test.args[0], got, "about " + safe_repr(expected))
    else:
        value = _value(test, namespace)
        if not value:
            raise unmet(test, value, "True")


def _is_close_to(test: ast.Call) -> bool:
    name = test.func.attr if isinstance(test.func, ast.Attribute) else getattr(test.func, "id", "")
    plain = not any(isinstance(argument, ast.Starred) for argument in test.args)
    return name in _CLOSE_TO and len(test.args) >= 2 and plain and all(keyword.arg for keyword in test.keywords)


def _calls(node: ast.expr) -> bool:
    return any(isinstance(part, ast.Call) for part in ast.walk(node))


def _source(node: ast.expr, text: str) -> str:
    return ast.get_source_segment(text, node) or ast.unparse(node)


def _call_of(text: str) -> str | None:
    """The left side of the test's comparison, for when the test raised instead of comparing."""
    try:
        statement = ast.parse(text.strip()).body[-1]
    except (SyntaxError, ValueError, IndexError):
        return None
    test = statement.test if isinstance(statement, ast.Assert) else getattr(statement, "value", None)
    if isinstance(test, ast.UnaryOp):
        test = test.operand
    if isinstance(test, ast.Compare):
        sides = [test.left, *test.comparators]
        test = next((side for side in sides if _calls(side)), test.left)
    elif isinstance(test, ast.Call) and _is_close_to(test):
        test = test.args[0]
    return None if test is None else _source(test, text.strip())
