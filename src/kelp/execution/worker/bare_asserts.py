"""Bare asserts: split into sides, so that a failure shows the call, got and expected, and run.

The program's process evaluates and compares the sides, and sends the values of those that held: whether they do is for
`verdict.py` to say, in another process.
"""

from __future__ import annotations

import ast
import operator
import time
from collections.abc import Callable
from functools import lru_cache
from types import CodeType
from typing import Any, NamedTuple

from kelp.execution.worker.candidate import Candidate
from kelp.execution.worker.checks import fair, plain
from kelp.execution.worker.events import Report
from kelp.execution.worker.leaves import Split, code_of, split
from kelp.execution.worker.plugin.kelp_failures import (
    EXPECTED_PREFIX,
    MIRRORED,
    Use,
    calls,
    computed,
    safe_message,
    safe_repr,
    uses,
)
from kelp.execution.worker.values import Encoder

_OPERATORS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==", ast.Is: "is", ast.NotEq: "!=", ast.IsNot: "is not", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">",
    ast.GtE: ">=", ast.In: "in", ast.NotIn: "not in",
}  # fmt: skip
COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "in": lambda left, right: left in right, "not in": lambda left, right: left not in right,
    "is": operator.is_, "is not": operator.is_not,
}  # fmt: skip
WIDE = frozenset(("approx", "ANY"))  # names of pytest's and unittest.mock's values that equal many others
_CLOSE_TO = ("isclose", "allclose", "array_equal")  # predicates that compare their first two arguments

Named = tuple[str, tuple[Use, ...]]  # source of a side of a comparison, and the names that it reads


class Side(NamedTuple):
    """One side of a comparison. `value`: a literal's, in a tuple; `wide`: it is made to equal many values."""

    named: Named
    split: Split
    value: tuple[Any] | None
    wide: bool

    def here(self, namespace: dict[str, Any]) -> tuple[Any, list[Any]]:
        """Evaluate the side in the program's process: its value, and those of its leaves."""
        taken = [eval(code, namespace) for code in self.split.leaves]
        if self.split.whole is None:
            return taken[0], taken
        return eval(self.split.whole, namespace, {f"@{at}": value for at, value in enumerate(taken)}), taken


class Check(NamedTuple):
    """One condition of an assert: its sides with the words between them.

    A truth has the word "true" or "false". A predicate of closeness has none, but codes of its function, its further
    arguments and those by name, and its whole split; its sides are shown.
    """

    sides: tuple[Side, ...]
    words: tuple[str, ...]
    predicate: tuple[CodeType, tuple[CodeType, ...], tuple[tuple[str, CodeType], ...]] | None = None
    whole: Split | None = None


class Test(NamedTuple):
    """One test: its text, its sides, its steps, and the known names in it.

    `sides` are those of its last comparison, those that call something first: one of them is shown as the test's call
    when it raises instead of comparing. A step is a check, or code, and the code of an assert's message.
    """

    text: str
    sides: tuple[Named, ...]
    steps: tuple[tuple[Any, CodeType | None], ...]
    names: frozenset[str]

    @property
    def checks(self) -> list[Check]:
        return [check for step, _ in self.steps if isinstance(step, tuple) for check in step]


@lru_cache(512)
def compile_test(text: str, opened: frozenset[str] = frozenset()) -> Test:
    """Parse and compile a test, in the server, once for many runs; `opened` known names mean something else in it."""
    source = text.strip()
    try:
        statements = ast.parse(source, "<test>").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # reported when its turn comes
        code = compile(f"compile({source!r}, '<test>', 'exec')", "<test>", "exec")
        return Test(text, (), ((code, None),), frozenset())
    steps: list[tuple[Any, CodeType | None]] = []
    for statement in statements:
        if isinstance(statement, ast.Assert):
            note = None if statement.msg is None else code_of(statement.msg)
            steps.append((tuple(_checks(statement.test, source, statements[:-1], opened)), note))
        elif isinstance(statement, ast.Expr) and len(statements) == 1:
            steps.append((tuple(_checks(statement.value, source, [], opened)), None))
        else:
            code = compile(ast.Module([statement], []), "<test>", "exec", dont_inherit=True)
            steps.append((code, None))
    test = Test(text, _sides_of(statements, source), tuple(steps), frozenset())
    splits = [split for check in test.checks for split in _splits(check)]
    names = {name for part in splits for name in (*part.known, *(o for owners in part.owners for o in owners))}
    return test._replace(names=frozenset(names))


def _splits(check: Check) -> list[Split]:
    return [side.split for side in check.sides] if check.whole is None else [check.whole]


class Unmet(Exception):
    """An assertion does not hold: left names, left value, operator, right value, right names."""


def run_test(
    test: Test, namespace: dict[str, Any], candidate: Candidate, report: Report, begin: Callable[..., None]
) -> None:
    """Run one test and report its outcome; one that held, with the values that it is to be judged by.

    Of a comparison that did not hold, `got` is the side that the program computes, and the left one where that is
    unknown.
    """
    begin(test.text, test.sides, namespace)
    began, note = time.perf_counter(), None
    evidence: list[Any] = []
    facts: dict[str, Any] = {"status": "pass", "evidence": evidence}
    try:
        for step, message in test.steps:
            note = message
            if isinstance(step, tuple):
                for check in step:
                    evidence.append(_check(check, namespace))
            else:
                eval(step, namespace)
        seconds = time.perf_counter() - began
        report.verdict(test.text, "pass")
    except Unmet as unmet:
        seconds = time.perf_counter() - began
        left, got, word, expected, right = unmet.args
        if right is not None and call_of((left, right), namespace, candidate.filename) != left[0]:
            left, got, word, expected = right, expected, MIRRORED.get(word, word), got
        facts = {"status": "fail", "call": left[0], "got": safe_repr(got), "exception": "AssertionError"}
        facts["expected"] = EXPECTED_PREFIX.get(word, word + " ") + safe_repr(expected)
        facts["message"] = None if note is None else str(eval(note, namespace))[:200]
    except BaseException as error:
        seconds = time.perf_counter() - began
        facts = {"status": "error", "exception": type(error).__name__, "message": safe_message(error)}
        facts["call"] = call_of(test.sides, namespace, candidate.filename)
        facts |= {"line": candidate.line_of(error), "needs": report.needs.of(error)}
    report.outcome(test.text, seconds=seconds, **facts)


def _check(check: Check, namespace: dict[str, Any]) -> list[Any]:
    """Evaluate the sides once, from left to right, and compare; return the values of their leaves, encoded.

    Raises Unmet, and whatever the program raises.
    """
    if check.predicate is not None:
        return _check_close(check, namespace)
    seen, before = [], []
    left: Any = None
    first: Side | None = None
    for word, side in zip((None, *check.words), check.sides):
        value, taken = side.here(namespace)
        seen.append(taken)
        # Values of leaves when they were taken, where something is done with them before they are compared.
        before.append(None if side.split.whole is None or not taken else _encode(taken))
        if first is not None and word is not None and not _holds(word, left, value, first, side):
            raise Unmet(first.named, left, word, value, side.named)
        left, first = value, side
    if check.words[0] in ("true", "false") and _true(left) != (check.words[0] == "true"):
        raise Unmet(check.sides[0].named, left, "is", check.words[0] == "true", None)
    now = [_encode(taken) if taken else [] for taken in seen]
    return [values if earlier in (None, values) else None for earlier, values in zip(before, now)]  # has changed since


def _check_close(check: Check, namespace: dict[str, Any]) -> list[Any]:
    assert check.predicate is not None
    (function, rest, options), (one, other) = check.predicate, check.sides
    (got, taken), (expected, also) = one.here(namespace), other.here(namespace)
    others = [eval(code, namespace) for code in rest]
    named = {name: eval(code, namespace) for name, code in options}
    if not _true(eval(function, namespace)(got, expected, *others, **named)):
        raise Unmet(one.named, got, "about", expected, other.named)
    return [_encode([*taken, *also])]


def _true(value: Any) -> bool:
    return value is True or (value is not False and bool(value) is True)


def _holds(word: str, left: Any, right: Any, left_side: Side, right_side: Side) -> bool:
    function = COMPARE[word]
    if not _true(function(left, right)):
        return False
    if word not in ("==", "in") or (plain(left) and plain(right)):
        return True
    sides = ((left, right, left_side.wide), (right, left, right_side.wide))
    return all(wide or fair(value, other) for value, other, wide in sides)


def _encode(taken: list[Any]) -> list[Any]:
    """Each value with whether its types are those that travel as they are, and whether it holds a set; or None."""
    values: list[Any] = []
    for value in taken:
        encoder = Encoder()
        try:
            values.append([encoder.encode(value), encoder.exact, encoder.sets])
        except BaseException:  # its class is the program's, and may do anything
            values.append(None)
    return values


def run_calls(calls: list[str], namespace: dict[str, Any], *, report: Report, limit: int) -> None:
    """Evaluate each call and report its repr, or its exception, and whether the repr evaluates to an equal value."""
    for call in calls:
        report.begin(call)
        try:
            value = eval(compile(call.strip(), "<call>", "eval", dont_inherit=True), namespace)
            text = repr(value)
        except BaseException as error:
            report.send("call", call=call, exception=type(error).__name__)
            continue
        round_trips = False
        if len(text) <= limit:
            try:
                again = eval(compile(text, "<repr>", "eval", dont_inherit=True), namespace)
                round_trips = type(again) is type(value) and bool(again == value)
            except BaseException:
                pass
        report.send("call", call=call, repr=text[:limit], round_trips=round_trips)


def call_of(sides: tuple[Named, ...], namespace: dict[str, Any] | None, program: str) -> str | None:
    """Source of the side that the program computes; of the first side where that is unknown."""
    if len(sides) < 2 or namespace is None:
        return sides[0][0] if sides else None
    return max(sides, key=lambda side: computed(side[1], namespace, program))[0]


def _checks(test: ast.expr, text: str, scope: list[ast.stmt], opened: frozenset[str]) -> list[Check]:
    """Conditions that must hold for the test to hold; `scope` are the statements that may have made its variables."""

    def side(node: ast.expr) -> Side:
        named = (_source(node, text), uses(node, scope))
        return Side(named, split(node, scope, opened), _literal(node), bool(names_in(node) & WIDE))

    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        return [check for part in test.values for check in _checks(part, text, scope, opened)]
    if isinstance(test, ast.Compare):
        sides = (side(test.left), *map(side, test.comparators))
        return [Check(sides, tuple(_OPERATORS[type(op)] for op in test.ops))]
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return [Check((side(test.operand),), ("false",))]
    if isinstance(test, ast.Call) and _is_close_to(test):
        options = tuple((str(keyword.arg), code_of(keyword.value)) for keyword in test.keywords)
        predicate = (code_of(test.func), tuple(map(code_of, test.args[2:])), options)
        return [Check((side(test.args[0]), side(test.args[1])), (), predicate, split(test, scope, opened))]
    return [Check((side(test),), ("true",))]


def names_in(node: ast.AST) -> set[str]:
    """Names of variables and attributes."""
    names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    return names | {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)}


def _literal(node: ast.expr) -> tuple[Any] | None:
    try:
        return (ast.literal_eval(node),)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def _is_close_to(test: ast.Call) -> bool:
    name = test.func.attr if isinstance(test.func, ast.Attribute) else getattr(test.func, "id", "")
    plain = not any(isinstance(argument, ast.Starred) for argument in test.args)
    return name in _CLOSE_TO and len(test.args) >= 2 and plain and all(keyword.arg for keyword in test.keywords)


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
