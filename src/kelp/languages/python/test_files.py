"""What tests say of a function, as single asserts: for a model to read, and for what they want it to give."""

import ast
import copy
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from kelp.syntax.program import Wanted

LONGEST = 160  # characters of an assert
ROWS = 12  # of one test that is parametrised, or of one loop in it

Names = Mapping[str, ast.expr]  # what they stand for
UNREADABLE = (SyntaxError, ValueError, TypeError, MemoryError, RecursionError)  # raised for what is no literal
UNITTEST = {"assertEqual": ast.Eq, "assertIs": ast.Is, "assertIn": ast.In}


def literal(text: str, otherwise: Any = None) -> Any:
    """The value that a literal writes, whatever the text is."""
    with suppress(*UNREADABLE), warnings.catch_warnings(action="ignore"):
        return ast.literal_eval(text)
    return otherwise


def asserts_about(test_source: str, name: str, limit: int = 12) -> tuple[str, ...]:
    """The asserts of a test file that call a function of this name, each on one line: its spec, as a model reads it.

    Names that stand for a literal are written out: constants, what a test is parametrised with, what a loop goes over.
    Unittest's `assertEqual` and its like are asserts too.
    """
    try:
        tree = ast.parse(test_source)
    except SyntaxError:
        return ()
    found: dict[str, None] = {}
    for test, names in _tests(tree, _constants(tree.body)):
        calls = (node for node in ast.walk(test) if isinstance(node, ast.Call))
        if any(_called(call.func) == name for call in calls):
            line = "assert " + ast.unparse(_WrittenOut(names).visit(copy.deepcopy(test)))
            if len(line) <= LONGEST and "\n" not in line:
                found.setdefault(line)
    return tuple(found)[:limit]


def _tests(node: ast.AST, names: Names) -> Iterator[tuple[ast.expr, Names]]:
    """What is asserted in a node, with what its names stand for there, once for each row."""
    match node:
        case ast.Assert(test=test):
            yield test, names
            return
        case ast.Expr(value=ast.Call(func=ast.Attribute(attr=said), args=[left, right, *_])) if said in UNITTEST:
            yield ast.Compare(left, [UNITTEST[said]()], [right]), names
            return
        case ast.Expr(value=ast.Call(func=ast.Attribute(attr="assertTrue"), args=[test, *_])):
            yield test, names
            return
        case ast.Expr(value=ast.Call(func=ast.Attribute(attr="assertFalse"), args=[test, *_])):
            yield ast.UnaryOp(ast.Not(), test), names
            return
    rows: list[Names] = [{}]
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            given = {argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)}
            outside = {name: value for name, value in names.items() if name not in given}
            names = {**outside, **_constants(node.body)}
            rows = _parameters(node.decorator_list)
        case ast.For(target=target, iter=ast.List(elts=items) | ast.Tuple(elts=items)):
            rows = list(filter(None, (_row(target, item) for item in items[:ROWS]))) or [{}]
    for row in rows:
        for child in ast.iter_child_nodes(node):
            yield from _tests(child, {**names, **row})


def _constants(body: Sequence[ast.stmt]) -> Names:
    """Names that are given a literal, nothing else, and are not changed in place."""
    nodes = [node for statement in body for node in ast.walk(statement)]
    stored = Counter(node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load))
    changed = {node.value.id for node in nodes
               if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.value, ast.Name)}  # fmt: skip
    found = {}
    for statement in body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if stored[name] == 1 and name not in changed:
                with suppress(*UNREADABLE):
                    ast.literal_eval(value)
                    found[name] = value
    return found


def _parameters(decorators: Sequence[ast.expr]) -> list[Names]:
    """The rows of a test's parameters; where it has several lists of them, those of one alone."""
    for decorator in decorators:
        match decorator:
            case ast.Call(func=ast.Attribute(attr="parametrize"), args=[said, ast.List() | ast.Tuple() as given, *_]):
                with suppress(*UNREADABLE, AttributeError):
                    names = ast.literal_eval(said)
                    listed = [name.strip() for name in (names.split(",") if isinstance(names, str) else names)]
                    target = ast.Name(listed[0]) if len(listed) == 1 else ast.Tuple([ast.Name(n) for n in listed])
                    rows = [_row(target, _plain(row, len(listed))) for row in given.elts[:ROWS]]
                    return list(filter(None, rows)) or [{}]
    return [{}]


def _plain(row: ast.expr, width: int) -> ast.expr:
    """A row that is written as `pytest.param(...)` as if it were not."""
    match row:
        case ast.Call(func=ast.Attribute(attr="param"), args=values) if len(values) == width:
            return values[0] if width == 1 else ast.Tuple(values, ast.Load())
    return row


def _row(target: ast.expr, value: ast.expr) -> Names:
    """What the names of a target stand for; nothing where that is not plain to see."""
    match target, value:
        case ast.Name(id=name), _:
            return {name: value}
        case ast.Tuple(elts=names), ast.Tuple(elts=values) | ast.List(elts=values) if len(names) == len(values):
            return {each.id: part for each, part in zip(names, values) if isinstance(each, ast.Name)}
    return {}


class _WrittenOut(ast.NodeTransformer):
    """Puts in what names stand for."""

    def __init__(self, names: Names) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.names.get(node.id, node) if isinstance(node.ctx, ast.Load) else node


def wanted(asserts: Sequence[str], name: str) -> list[Wanted]:
    """What asserts say in so many words of calls of this function: those that compare one with a literal."""
    found = []
    for line in asserts:
        with suppress(*UNREADABLE), warnings.catch_warnings(action="ignore"):
            match ast.parse(line).body:
                case [ast.Assert(ast.Compare(ast.Call() as call, [ast.Eq() | ast.Is()], [right]))]:
                    value = ast.literal_eval(right)
                case [ast.Assert(ast.UnaryOp(ast.Not(), ast.Call() as call))]:
                    value = False
                case [ast.Assert(ast.Call() as call)]:
                    value = True
                case _:
                    continue
            if _called(call.func) == name:
                given = (*map(ast.unparse, call.args), *(ast.unparse(keyword) for keyword in call.keywords))
                found.append((", ".join(given), value))
    return found


def _called(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""
