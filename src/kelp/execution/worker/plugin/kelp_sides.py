"""The side of a comparison that the program under test computes: it is `got`, the other is `expected`.

Judged by the names on each side and by how the test made its variables. Standard library alone, Python 3.9: it serves
Kelp's own runs and, beside `kelp_report.py`, a project's own interpreter.
"""

from __future__ import annotations

import ast
import inspect
import os
import sys
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

# Ranks of a side by how much of it is the program's, from a literal to the result of a call.
_LITERAL, _ELSEWHERE, _MADE, _HELD, _COMPUTED = -1, 0, 1, 2, 3
# The same comparison with its sides exchanged; other words read the same from either side.
MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "in": "containing", "not in": "not containing"}
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
