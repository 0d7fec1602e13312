"""Failures of tests: the call that one is about, with its arguments' values, and what was got and expected.

`got` is the side of a comparison that the program under test computes, judged by the names on each side and by how the
test made its variables. Standard library alone, Python 3.9: it serves Kelp's own runs and, beside `kelp_report.py`, a
project's own interpreter.
"""

from __future__ import annotations

import ast
import inspect
import os
import sys
import sysconfig
from collections.abc import Callable, Iterable, Mapping, Sequence
from traceback import walk_tb
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

# Ranks of a side by how much of it is the program's, from a literal to the result of a call.
_LITERAL, _ELSEWHERE, _MADE, _HELD, _COMPUTED = -1, 0, 1, 2, 3
EXPECTED_PREFIX = {"==": "", "is": "", "is not": "not "}  # prefixes of `expected`; other operators stand as they are
# The same comparison with its sides exchanged; other words read the same from either side.
MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "in": "containing", "not in": "not containing"}
_LIMIT = 400  # characters kept of a repr or a message
_LIBRARIES = tuple(
    os.path.join(sysconfig.get_path(kind), "") for kind in ("stdlib", "platstdlib", "purelib", "platlib")
)
_module_of_class = vars(type)["__module__"].__get__  # whatever its metaclass returns
_PACKAGES = frozenset(("site-packages", "dist-packages"))


class Use(NamedTuple):
    """A name that an expression reads, directly or through variables of the test.

    `path`: the attributes read from it; `called`: it, or its attribute, is called; `held`: a variable of the test keeps
    the result; `method`: and something is called on that variable.
    """

    name: str
    path: tuple[str, ...]
    called: bool
    held: bool = False
    method: bool = False


def uses(node: ast.AST, scope: Iterable[ast.AST] = (), line: int = sys.maxsize) -> tuple[Use, ...]:
    """The names that an expression reads; `scope` are the statements of its test, which count up to `line`."""
    return tuple(dict.fromkeys(_uses(node, origins(scope, line), frozenset())))


def _uses(node: ast.AST, made: Mapping[str, list[ast.AST]], seen: frozenset[str]) -> Iterable[Use]:
    left: list[tuple[ast.AST, tuple[str, ...], bool]] = [(node, (), False)]
    while left:
        part, path, called = left.pop()
        if isinstance(part, ast.Name):
            yield Use(part.id, path, called)
            if part.id not in seen:
                for origin in made.get(part.id, ()):
                    for use in _uses(origin, made, seen | {part.id}):
                        yield use._replace(held=True, method=called or use.method)
        elif isinstance(part, ast.Attribute):
            left.append((part.value, (part.attr, *path), called))
        elif isinstance(part, ast.Call):
            left.append((part.func, (), True))
            left += [(child, (), False) for child in (*part.args, *part.keywords)]
        else:
            left += [(child, (), False) for child in ast.iter_child_nodes(part)]


def origins(scope: Iterable[ast.AST], line: int = sys.maxsize) -> dict[str, list[ast.AST]]:
    """Expressions by variable: those that it is assigned, looped over or changed by."""
    made: dict[str, list[ast.AST]] = {}

    def add(target: ast.AST | None, *values: ast.AST | None) -> None:
        if isinstance(target, ast.Name):
            made.setdefault(target.id, []).extend(value for value in values if value is not None)
        elif isinstance(target, (ast.Tuple, ast.List)):
            for part in target.elts:
                add(part, *values)
        elif isinstance(target, (ast.Attribute, ast.Subscript, ast.Starred)):
            add(target.value, *values)

    for node in (part for statement in scope for part in ast.walk(statement)):
        if getattr(node, "lineno", line) > line:
            continue
        if isinstance(node, ast.Assign):
            for target in node.targets:
                add(target, node.value)
        elif isinstance(node, (ast.AnnAssign, ast.AugAssign, ast.NamedExpr)):
            add(node.target, node.value)
        elif isinstance(node, (ast.For, ast.AsyncFor)):
            add(node.target, node.iter)
        elif isinstance(node, ast.withitem):
            add(node.optional_vars, node.context_expr)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            call = node.value  # rows.append(f(1)), but not self.assertEqual(f(1), 2)
            if isinstance(call.func, ast.Attribute) and not call.func.attr.startswith("assert"):
                add(call.func.value, *call.args)
    return made


def computed(
    names: Iterable[Use], variables: Mapping[str, Any], program: str | None = None, test_file: str = ""
) -> int:
    """Rank of an expression by how much of it is the program's, to be compared with the other side's.

    `program` is the file under repair or the name of its module, which is the program's wherever it is; so is any
    other file that is neither a library's nor the test's own.
    """
    return max((_rank(use, variables, program, test_file) for use in names), default=_LITERAL)


def _rank(use: Use, variables: Mapping[str, Any], program: str | None, test_file: str) -> int:
    try:
        rank = _of_value(variables.get(use.name), use.path, use.called, program, test_file)
    except BaseException:  # the values are the program's: reading them may do anything
        return _ELSEWHERE
    if use.held and rank >= _MADE:
        return _COMPUTED if use.method else max(rank, _HELD)
    return rank


def _of_value(value: Any, path: Sequence[str], called: bool, program: str | None, test_file: str) -> int:
    while path and (type(value) is ModuleType or _file_of(value) == test_file):
        inner = inspect.getattr_static(value, path[0], None)  # of a module, or of the test's own class
        value, path = getattr(inner, "__func__", inner), path[1:]
    file, kind = _file_of(value), type(value)
    if file is None or kind is ModuleType:
        return _ELSEWHERE
    if file == test_file:  # a helper of the test: what it calls
        names = value.__code__.co_names if kind is FunctionType and called else ()
        helped = [value.__globals__.get(name) for name in names]
        ranks = [_of_value(part, (), True, program, "") for part in helped if _file_of(part) != test_file]
        return max(ranks, default=_ELSEWHERE)
    if file != program and (file.startswith(_LIBRARIES) or _PACKAGES.intersection(file.split(os.sep))):
        return _ELSEWHERE
    if issubclass(kind, type):
        return _COMPUTED if called and path else _MADE
    return _COMPUTED if called or kind is FunctionType or "__wrapped__" in _own(value) else _HELD


def _own(value: Any) -> Mapping[str, Any]:
    """Attributes of the value itself, read without any code of its class."""
    try:
        attributes = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return attributes if type(attributes) is dict else {}


def _file_of(value: Any) -> str | None:
    """File of the module that defines a function, class or module, or else the value's type; None for a builtin."""
    kind = type(value)
    if kind is ModuleType:
        name = value.__name__
    elif issubclass(kind, type):
        name = _module_of_class(value)
    else:
        name = value.__module__ if kind is FunctionType else _own(value).get("__module__") or _module_of_class(kind)
    file = getattr(sys.modules.get(name), "__file__", None) if type(name) is str else None
    return file if type(file) is str else "program" if name == "program" else None


def statements_around(path: str, line: int) -> list[ast.stmt]:
    """Statements of the file that cover the line, the innermost last."""
    try:
        with open(path, "rb") as file:
            tree = ast.parse(file.read())
    except (OSError, SyntaxError, ValueError):
        return []
    statements = (node for node in ast.walk(tree) if isinstance(node, ast.stmt))
    return [node for node in statements if node.lineno <= line <= (node.end_lineno or node.lineno)]


def calls(node: ast.expr) -> bool:
    return any(isinstance(part, ast.Call) for part in ast.walk(node))


def safe_repr(value: object, limit: int = _LIMIT) -> str:
    """repr(value) cut to `limit` characters; a repr that raises is named (one that hangs meets the deadline)."""
    try:
        text = repr(value)
        return text if len(text) <= limit else text[: limit - 1] + "…"
    except BaseException as error:
        return f"<{type(value).__name__} whose repr raises {type(error).__name__}>"


def safe_message(exception: BaseException) -> str:
    try:
        return str(exception)[:_LIMIT]
    except BaseException as error:
        return f"<message whose str raises {type(error).__name__}>"


def explain(
    error: BaseException,
    test_file: str,
    compared: tuple[str, str, str] | None,
    *,
    line: int | None,
    failed: bool,
    program: str | None,
    own: bool,
) -> dict[str, Any]:
    """Facts of a failed test: the call with its arguments' values, got and expected, or the exception.

    `compared` is the operator of the assert's comparison with the reprs of its sides. `line` is the program's on the
    traceback; `failed`: the exception is a test's, and not the program's; `own`: the tests are in the program's file.
    """
    frame, number, checked = None, 0, None
    for inner, at in walk_tb(error.__traceback__):
        if inner.f_code.co_filename == test_file:
            frame, number = inner, at
        elif frame is not None and {"first", "second"} <= set(inner.f_locals):
            checked = inner.f_locals  # unittest's assertEqual(first, second) and its kind
    around = statements_around(test_file, number)
    statement = around[-1] if around else ast.Pass()
    variables = {} if frame is None else {**frame.f_globals, **frame.f_locals}
    scope = [outer for outer in around if isinstance(outer, (ast.FunctionDef, ast.AsyncFunctionDef))][-1:]

    def rank(node: ast.expr) -> int:
        return computed(uses(node, scope, number), variables, program, "" if own else test_file)

    def spell(node: ast.expr) -> str:
        return _spell(_origin(node, around), variables)

    facts: dict[str, Any] = {"exception": type(error).__name__, "message": safe_message(error), "line": line}
    call = _tested(statement, rank)
    if call is not None:
        facts["call"] = spell(call)
    if not failed:
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
