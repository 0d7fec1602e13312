"""Bare asserts: taken apart before the program is loaded, so that what was called, got and expected can be told.

The judge (`judge.py`) compares the sides; this module says what they are, and reports what the judge found.
"""

import ast
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType
from typing import Any

from kelp.execution.worker.candidate import Candidate, safe_message, safe_repr
from kelp.execution.worker.events import Report

_WORDS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==", ast.Is: "is", ast.NotEq: "!=", ast.IsNot: "is not", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">",
    ast.GtE: ">=", ast.In: "in", ast.NotIn: "not in",
}  # fmt: skip
SAID = {"==": "", "is": "", "is not": "not "}  # how `expected` begins; other words stand as they are
WIDE = frozenset(("approx", "ANY"))  # of pytest and unittest.mock: names of what is made to equal many things
_CLOSE_TO = ("isclose", "allclose", "array_equal")  # predicates that compare their first two arguments


@dataclass(frozen=True)
class Side:
    """One side of a comparison. `literal`: its value is written down in the test; `calls`: it calls something.

    `wide`: it is made to equal many things.
    """

    source: str
    code: CodeType
    literal: bool
    calls: bool
    wide: bool


@dataclass(frozen=True)
class Test:
    """One test, ready to be run: each step is something to check or to execute, with the code of an assert's message.

    `call` is the left side of its comparison, for when the test raises instead of comparing.
    """

    text: str
    call: str | None
    steps: tuple[tuple[str, Any, CodeType | None], ...]


@lru_cache(512)
def take_apart(text: str) -> Test:
    """In the server, once for many runs."""
    source = text.strip()
    try:
        statements = ast.parse(source, "<test>").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # said when its turn comes
        return Test(
            text, None, (("execute", compile(f"compile({source!r}, '<test>', 'exec')", "<test>", "exec"), None),)
        )
    steps: list[tuple[str, Any, CodeType | None]] = []
    for statement in statements:
        if isinstance(statement, ast.Assert):
            note = None if statement.msg is None else _code(statement.msg)
            steps.append(("check", _parts(statement.test, source), note))
        elif isinstance(statement, ast.Expr) and len(statements) == 1:
            steps.append(("check", _parts(statement.value, source), None))
        else:
            code = compile(ast.Module([statement], []), "<test>", "exec", dont_inherit=True)
            steps.append(("execute", code, None))
    return Test(text, _call_of(statements, source), tuple(steps))


def report_unmet(
    report: Report,
    text: str,
    seconds: float,
    note: CodeType | None,
    namespace: dict[str, Any],
    call: str,
    got: object,
    word: str,
    expected: object,
) -> None:
    """Report an assertion that did not hold, with the message that it was given, if any."""
    message = None if note is None else str(eval(note, namespace))[:200]
    report.outcome(
        text, status="fail", seconds=seconds, call=call, got=safe_repr(got),
        expected=SAID.get(word, word + " ") + safe_repr(expected), exception="AssertionError", message=message,
    )  # fmt: skip


def report_raised(
    report: Report, candidate: Candidate, text: str, seconds: float, call: str | None, error: BaseException
) -> None:
    report.outcome(
        text, status="error", seconds=seconds, call=call, exception=type(error).__name__,
        message=safe_message(error), line=candidate.line_of(error),
    )  # fmt: skip


def run_calls(calls: list[str], namespace: dict[str, Any], *, report: Report, limit: int) -> None:
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


def _code(node: ast.expr) -> CodeType:
    return compile(ast.Expression(node), "<test>", "eval", dont_inherit=True)


def _side(node: ast.expr, text: str) -> Side:
    return Side(_source(node, text), _code(node), _is_literal(node), calls(node), bool(names_in(node) & WIDE))


def _parts(test: ast.expr, text: str) -> tuple[Any, ...]:
    """What the judge's `check` takes: a word for the kind and the sides to evaluate."""
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        return ("and", *(_parts(part, text) for part in test.values))
    if isinstance(test, ast.Compare):
        pairs = zip(test.ops, test.comparators, strict=True)
        return ("compare", _side(test.left, text), *((_WORDS[type(op)], _side(side, text)) for op, side in pairs))
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return ("false", _side(test.operand, text))
    if isinstance(test, ast.Call) and _is_close_to(test):
        got, expected = (_side(argument, text) for argument in test.args[:2])
        options = tuple((str(keyword.arg), _code(keyword.value)) for keyword in test.keywords)
        return ("close", _code(test.func), got, expected, tuple(map(_code, test.args[2:])), options)
    return ("true", _side(test, text))


def names_in(node: ast.AST) -> set[str]:
    """The names of variables and attributes."""
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


def _call_of(statements: list[ast.stmt], text: str) -> str | None:
    if not statements:
        return None
    statement = statements[-1]
    test = statement.test if isinstance(statement, ast.Assert) else getattr(statement, "value", None)
    if isinstance(test, ast.UnaryOp):
        test = test.operand
    if isinstance(test, ast.Compare):
        sides = [test.left, *test.comparators]
        test = next((side for side in sides if calls(side)), test.left)
    elif isinstance(test, ast.Call) and _is_close_to(test):
        test = test.args[0]
    return None if test is None else _source(test, text)
