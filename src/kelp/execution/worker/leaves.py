"""Split an expression of a test: the program's process evaluates its *leaves*, any process the rest.

`len(f(2)) == 3` has the leaf `f(2)`; with its value, a process that has never run the program evaluates the whole.  A
leaf is the program's own if the function it calls last is: in `close(f(2), 3)`, where `close` is a helper of the test,
only the helper's result is known.
"""

from __future__ import annotations

import ast
import builtins
import collections
import datetime
import decimal
import fractions
import importlib
import math
from collections.abc import Iterable, Mapping
from types import CodeType
from typing import Any, NamedTuple

from kelp.execution.worker.plugin.kelp_failures import origins

# Names that mean the same in every process unless they are rebound: functions from values to values.
_BUILTINS = (
    "abs all any bin bool bytearray bytes chr complex dict divmod enumerate filter float frozenset hex int isinstance "
    "len list map max min oct ord pow range repr reversed round set slice sorted str sum tuple type zip object"
).split()
_IMPORTED = {
    **{name: ("collections", name) for name in ("Counter", "OrderedDict", "defaultdict", "deque")},
    **{name: ("datetime", name) for name in ("date", "time", "timedelta")},
    "math": ("math", None), "collections": ("collections", None), "datetime": ("datetime", None),
    "decimal": ("decimal", None), "fractions": ("fractions", None),
    "Decimal": ("decimal", "Decimal"), "Fraction": ("fractions", "Fraction"),
    "isclose": ("math", "isclose"), "isnan": ("math", "isnan"), "pytest": ("pytest", None),
    "approx": ("pytest", "approx"),
}  # fmt: skip
PATHS = {name: module if part is None else f"{module}.{part}" for name, (module, part) in _IMPORTED.items()}
KNOWN = frozenset((*_BUILTINS, *PATHS))
_LOADED = {"math": math, "collections": collections, "datetime": datetime, "decimal": decimal, "fractions": fractions}
_MODULES = frozenset(name for name, (_, part) in _IMPORTED.items() if part is None)
_NO_OWNER = ""  # owner of an expression whose value may come from anywhere
_PLAIN_NODES = (
    ast.Constant, ast.List, ast.Tuple, ast.Set, ast.Dict, ast.UnaryOp, ast.BinOp, ast.Starred, ast.Slice, ast.keyword,
)  # fmt: skip
_CLOSED_NODES = (
    *_PLAIN_NODES, ast.Name, ast.Attribute, ast.Subscript, ast.Call, ast.Compare, ast.IfExp, ast.BoolOp, ast.ListComp,
    ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.comprehension, ast.Lambda, ast.arguments, ast.arg,
    ast.expr_context, ast.operator, ast.unaryop, ast.cmpop, ast.boolop,
)  # fmt: skip

# Parts of expressions that take time in proportion to their values, and so can be evaluated without a time limit.
_CHEAP = frozenset(
    "len abs sum sorted set frozenset list tuple dict min max bool float str isinstance any all reversed type Decimal "
    "Fraction Counter OrderedDict deque date time datetime timedelta isclose isnan join split lower upper strip".split()
)
_CHEAP_NODES = (
    ast.Constant, ast.Name, ast.List, ast.Tuple, ast.Set, ast.Dict, ast.Starred, ast.UnaryOp, ast.BinOp, ast.Compare,
    ast.Call, ast.Attribute, ast.keyword, ast.expr_context, ast.unaryop, ast.cmpop, ast.Add, ast.Sub, ast.Div,
)  # fmt: skip


class Split(NamedTuple):
    """A split expression. `whole` is its code, in which the values of `leaves` are `@0`, `@1` ...; None: leaf 0 itself.

    `owners`: for each leaf the names that must be the program's, so that the leaf is the program's own.
    `known`: the names in `whole`, which must have their usual meanings. `cheap`: it takes time in
    proportion to its values.
    """

    leaves: tuple[CodeType, ...]
    whole: CodeType | None
    owners: tuple[tuple[str, ...], ...]
    known: frozenset[str]
    cheap: bool


def meanings(names: Iterable[str]) -> dict[str, Any]:
    """Return the namespace in which `whole` is evaluated: the usual meanings of its names.  Raises ImportError."""
    space: dict[str, Any] = {"__builtins__": {}}
    for name in names:
        if name in PATHS:
            module, part = _IMPORTED[name]
            found: Any = _LOADED.get(module) or importlib.import_module(module)
            space[name] = found if part is None else getattr(found, part)
        else:
            space[name] = getattr(builtins, name)
    return space


def split(node: ast.expr, scope: list[ast.stmt], opened: frozenset[str]) -> Split:
    """Split an expression; `scope` are the statements before it, and `opened` known names that mean something else."""
    splitter = _Splitter(scope, opened)
    rest = splitter.visit(node)
    known = frozenset(part.id for part in ast.walk(rest) if isinstance(part, ast.Name)) & KNOWN
    whole = None if isinstance(rest, ast.Name) and rest.id == "@0" else code_of(rest)
    leaves = tuple(code_of(leaf) for leaf in splitter.leaves)
    return Split(leaves, whole, tuple(splitter.owners(leaf) for leaf in splitter.leaves), known, _is_cheap(rest))


def _is_cheap(node: ast.expr) -> bool:
    parts = list(ast.walk(node))
    called = [part.func for part in parts if isinstance(part, ast.Call)]
    names = [func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "") for func in called]
    return all(isinstance(part, _CHEAP_NODES) for part in parts) and _CHEAP.issuperset(names)


def code_of(node: ast.expr) -> CodeType:
    return compile(ast.Expression(node), "<test>", "eval", dont_inherit=True)


class _Splitter:
    def __init__(self, scope: list[ast.stmt], opened: frozenset[str]):
        self.known = KNOWN - opened - set(_bound(scope))
        self.bound, self.origins = _bound(scope), origins(scope)
        self.leaves: list[ast.expr] = []

    def visit(self, node: Any) -> Any:
        """Return the expression with names in place of its leaves, which are collected from left to right."""
        if self._closed(node):
            return node
        plain_compare = isinstance(node, ast.Compare) and len(node.ops) == 1
        known_call = isinstance(node, ast.Call) and self._closed(node.func)
        if isinstance(node, _PLAIN_NODES) or plain_compare or known_call:
            fields = {name: value if name == "func" else self._inside(value) for name, value in ast.iter_fields(node)}
            return ast.copy_location(type(node)(**fields), node)
        self.leaves.append(node)
        return ast.copy_location(ast.Name(f"@{len(self.leaves) - 1}", ast.Load()), node)

    def _inside(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._inside(part) for part in value]
        return self.visit(value) if isinstance(value, (ast.expr, ast.keyword)) else value

    def _closed(self, node: ast.AST) -> bool:
        """Return whether the expression is the same in any process: all of its names are known, or its own."""
        names, own, modules = [], set(), set()
        for part in ast.walk(node):
            if not isinstance(part, _CLOSED_NODES) or (isinstance(part, ast.Attribute) and part.attr.startswith("_")):
                return False
            if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name):
                modules.add(part.value)
            if isinstance(part, ast.Attribute) and part.attr in ("format", "format_map"):
                return False
            if isinstance(part, ast.Name):
                (names.append(part) if isinstance(part.ctx, ast.Load) else own.add(part.id))
            own |= {part.arg} if isinstance(part, ast.arg) else set()
        if any(part.id in _MODULES and part not in modules for part in names):
            return False  # a module itself
        return all(part.id in own or part.id in self.known for part in names)

    def owners(self, leaf: ast.AST) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._owners(leaf, frozenset())))

    def _owners(self, node: Any, seen: frozenset[str]) -> Iterable[str]:
        """Yield the names that make the value: for a call its function, not its arguments."""
        if isinstance(node, (ast.Call, ast.Attribute, ast.Subscript, ast.Starred, ast.Await)):
            yield from self._owners(node.func if isinstance(node, ast.Call) else node.value, seen)
        elif isinstance(node, ast.Name) and node.id in seen:
            return
        elif isinstance(node, ast.Name) and node.id in self.origins:
            for origin in self.origins[node.id]:
                yield from self._owners(origin, seen | {node.id})
        elif isinstance(node, ast.Name):
            yield _NO_OWNER if node.id in self.bound else node.id
        elif isinstance(node, (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)):
            parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
            inner = _Splitter([ast.For(each.target, each.iter, [], []) for each in node.generators], frozenset())
            inner.origins = {**self.origins, **inner.origins}
            inner.bound = self.bound
            for part in parts:
                yield from inner._owners(part, seen)
        elif isinstance(node, (ast.List, ast.Tuple, ast.Set, ast.Constant)):
            for part in getattr(node, "elts", ()):
                yield from self._owners(part, seen)
        else:
            yield _NO_OWNER


def _bound(scope: Iterable[ast.stmt]) -> frozenset[str]:
    """Return the names that the statements bind."""
    names: set[str] = set()
    for part in (part for statement in scope for part in ast.walk(statement)):
        if isinstance(part, ast.Name) and not isinstance(part.ctx, ast.Load):
            names.add(part.id)
        elif isinstance(part, ast.alias):
            names.add((part.asname or part.name).partition(".")[0])
        elif isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.ExceptHandler)) and part.name:
            names.add(part.name)
    return frozenset(names)


def imports(tree: ast.Module) -> dict[str, str]:
    """Return the names that a module binds at its top, with the path of each import; "" for names it defines itself."""
    found: dict[str, str] = {}
    for statement in tree.body:
        if isinstance(statement, ast.Import):
            bound = {(a.asname or a.name.partition(".")[0]): a.name if a.asname else a.name.partition(".")[0]
                     for a in statement.names}  # fmt: skip
        elif isinstance(statement, ast.ImportFrom):
            bound = {alias.asname or alias.name: f"{statement.module}.{alias.name}" for alias in statement.names}
        else:
            bound = dict.fromkeys(_bound([_shallow(statement)]), "")
        for name, path in bound.items():
            found[name] = path if found.get(name, path) == path else ""
    return found


def _shallow(statement: ast.stmt) -> ast.stmt:
    """Return a function or class without its body, whose names are local."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return ast.ClassDef(statement.name, [], [], [], [])
    return statement


def opened(names: Iterable[str], bound: Mapping[str, str]) -> frozenset[str]:
    """Return the known names that a module binds to another meaning."""
    return frozenset(
        name for name in names if name in KNOWN and bound.get(name, PATHS.get(name, "?")) != PATHS.get(name, "?")
    )
