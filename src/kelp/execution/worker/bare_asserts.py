"""Bare asserts: split into sides before the program is loaded, so that a failure shows the call, got and expected.

The judge (`judge.py`) evaluates and compares the sides; this module compiles them and reports the judge's findings.
"""

from __future__ import annotations

import ast
from functools import lru_cache, partial
from types import CodeType
from typing import Any

from kelp.execution.worker.candidate import Candidate, safe_message, safe_repr
from kelp.execution.worker.events import Report
from kelp.execution.worker.plugin.kelp_sides import MIRRORED, Use, computed, uses

_OPERATORS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==", ast.Is: "is", ast.NotEq: "!=", ast.IsNot: "is not", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">",
    ast.GtE: ">=", ast.In: "in", ast.NotIn: "not in",
}  # fmt: skip
EXPECTED_PREFIX = {"==": "", "is": "", "is not": "not "}  # prefixes of `expected`; other operators stand as they are
WIDE = frozenset(("approx", "ANY"))  # names of pytest's and unittest.mock's values that equal many others
_CLOSE_TO = ("isclose", "allclose", "array_equal")  # predicates that compare their first two arguments


# Plain tuples, not classes: the judge reads them beside the program, which can reach what `compile_test` has cached and
# could put a property on a class.
Named = tuple[str, tuple[Use, ...]]  # source of a side of a comparison, and the names that it reads
# One side of a comparison: its names, its code, whether its value is a literal of the test, and whether it is made
# to equal many values.
Side = tuple[Named, CodeType, bool, bool]
# One step of a test: "check" or "execute", an expression for the judge or code, and the code of an assert's message.
Step = tuple[str, Any, Any]
# One test, ready to run: its text, sides and steps. The sides are those of its last comparison, those that call
# something first: one of them is shown as the test's call when it raises instead of comparing.
Test = tuple[str, tuple[Named, ...], tuple[Step, ...]]


@lru_cache(512)
def compile_test(text: str) -> Test:
    """Parse and compile a test, in the server, once for many runs."""
    source = text.strip()
    try:
        statements = ast.parse(source, "<test>").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # reported when its turn comes
        return text, (), (("execute", compile(f"compile({source!r}, '<test>', 'exec')", "<test>", "exec"), None),)
    parts = partial(_parts, text=source, scope=statements[:-1])
    steps: list[Step] = []
    for statement in statements:
        if isinstance(statement, ast.Assert):
            note = None if statement.msg is None else _code(statement.msg)
            steps.append(("check", parts(statement.test), note))
        elif isinstance(statement, ast.Expr) and len(statements) == 1:
            steps.append(("check", parts(statement.value), None))
        else:
            code = compile(ast.Module([statement], []), "<test>", "exec", dont_inherit=True)
            steps.append(("execute", code, None))
    return text, _sides_of(statements, source), tuple(steps)


def report_unmet(
    report: Report,
    candidate: Candidate,
    text: str,
    seconds: float,
    note: CodeType | None,
    namespace: dict[str, Any],
    left: Named,
    got: object,
    word: str,
    expected: object,
    right: Named | None,
) -> None:
    """Report an assertion that did not hold, with its message, if any.

    `got` is the side that the program computes, and the left one where that is unknown.
    """
    if right is not None and call_of((left, right), namespace, candidate.filename) != left[0]:
        left, got, word, expected = right, expected, MIRRORED.get(word, word), got
    message = None if note is None else str(eval(note, namespace))[:200]
    report.outcome(
        text, status="fail", seconds=seconds, call=left[0], got=safe_repr(got),
        expected=EXPECTED_PREFIX.get(word, word + " ") + safe_repr(expected), exception="AssertionError",
        message=message,
    )  # fmt: skip


def report_raised(
    report: Report,
    candidate: Candidate,
    text: str,
    seconds: float,
    sides: tuple[Named, ...],
    namespace: dict[str, Any] | None,
    error: BaseException,
) -> None:
    """Report a test that raised instead of comparing."""
    call = call_of(sides, namespace, candidate.filename)
    report.outcome(
        text, status="error", seconds=seconds, call=call, exception=type(error).__name__,
        message=safe_message(error), line=candidate.line_of(error), needs=report.needs.of(error),
    )  # fmt: skip


def run_calls(calls: list[str], namespace: dict[str, Any], *, report: Report, limit: int) -> None:
    """Evaluate each call and report its repr, or its exception, and whether the repr evaluates to an equal value."""
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


def _code(node: ast.expr) -> CodeType:
    return compile(ast.Expression(node), "<test>", "eval", dont_inherit=True)


def call_of(sides: tuple[Named, ...], namespace: dict[str, Any] | None, program: str) -> str | None:
    """Source of the side that the program computes; of the first side where that is unknown."""
    if len(sides) < 2 or namespace is None:
        return sides[0][0] if sides else None
    return max(sides, key=lambda side: computed(side[1], namespace, program))[0]


def _parts(test: ast.expr, text: str, scope: list[ast.stmt]) -> tuple[Any, ...]:
    """Expression for the judge's `check`: a word for its kind, and the sides to evaluate.

    `scope` are the statements before the test, which may have made its variables.
    """

    def side(node: ast.expr) -> Side:
        wide = bool(names_in(node) & WIDE)
        return (_source(node, text), uses(node, scope)), _code(node), _is_literal(node), wide

    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        return ("and", *(_parts(part, text, scope) for part in test.values))
    if isinstance(test, ast.Compare):
        pairs = zip(test.ops, test.comparators)
        return ("compare", side(test.left), *((_OPERATORS[type(op)], side(right)) for op, right in pairs))
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return ("false", side(test.operand))
    if isinstance(test, ast.Call) and _is_close_to(test):
        got, expected = map(side, test.args[:2])
        options = tuple((str(keyword.arg), _code(keyword.value)) for keyword in test.keywords)
        return ("close", _code(test.func), got, expected, tuple(map(_code, test.args[2:])), options)
    return ("true", side(test))


def names_in(node: ast.AST) -> set[str]:
    """Names of variables and attributes."""
    names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    return names | {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)}


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def _is_close_to(test: ast.Call) -> bool:
    name = test.func.attr if isinstance(test.func, ast.Attribute) else getattr(test.func, "id", "")
    plain = not any(isinstance(argument, ast.Starred) for argument in test.args)
    return name in _CLOSE_TO and len(test.args) >= 2 and plain and all(keyword.arg for keyword in test.keywords)


def calls(node: ast.expr) -> bool:
    return any(isinstance(part, ast.Call) for part in ast.walk(node))


def _source(node: ast.expr, text: str) -> str:
    return ast.get_source_segment(text, node) or ast.unparse(node)


def _sides_of(statements: list[ast.stmt], text: str) -> tuple[Named, ...]:
    if not statements:
        return ()
    statement = statements[-1]
    test = statement.test if isinstance(statement, ast.Assert) else getattr(statement, "value", None)
    if isinstance(test, ast.UnaryOp):
        test = test.operand
    sides = [] if test is None else [test]
    if isinstance(test, ast.Compare):
        sides = sorted([test.left, *test.comparators], key=lambda side: not calls(side))
    elif isinstance(test, ast.Call) and _is_close_to(test):
        sides = test.args[:2]
    named = [(_source(side, text), uses(side, statements[:-1])) for side in sides]
    return tuple(side for side in named if side[1]) or tuple(named[:1])
