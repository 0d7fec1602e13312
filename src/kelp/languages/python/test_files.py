"""Test files of Python: asserts that call a function, one by one, and the values that they expect."""

import ast
import copy
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from kelp.syntax.program import Wanted

LONGEST = 160  # characters of an assert
ROWS = 12  # most parameter sets of a test, or items of a loop in it

Names = Mapping[str, ast.expr]  # name -> the expression it stands for
UNREADABLE = (SyntaxError, ValueError, TypeError, MemoryError, RecursionError)  # of text that is no literal
UNITTEST = {"assertEqual": ast.Eq, "assertIs": ast.Is, "assertIn": ast.In}


def literal(text: str, otherwise: Any = None) -> Any:
    """The value of a literal; `otherwise` for any other text."""
    with suppress(*UNREADABLE), warnings.catch_warnings(action="ignore"):
        return ast.literal_eval(text)
    return otherwise


def asserts_about(test_source: str, name: str, limit: int = 12) -> tuple[str, ...]:
    """Asserts of a test file that call a function of this name, one line each.

    Names that stand for a literal are replaced by it: constants, parameters of a test, loop variables. Unittest's
    `assertEqual` and the like count as asserts.
    """
    try:
        tree = ast.parse(test_source)
    except SyntaxError:
        return ()
    asserts: dict[str, None] = {}
    for test, names in _tests(tree, _constants(tree.body)):
        calls = (node for node in ast.walk(test) if isinstance(node, ast.Call))
        if any(_called(call.func) == name for call in calls):
            line = "assert " + ast.unparse(_Substitute(names).visit(copy.deepcopy(test)))
            if len(line) <= LONGEST and "\n" not in line:
                asserts.setdefault(line)
    return tuple(asserts)[:limit]


def _tests(node: ast.AST, names: Names) -> Iterator[tuple[ast.expr, Names]]:
    """Asserted expressions in a node with the values of names there, once for each row of parameters or of a loop."""
    match node:
        case ast.Assert(test=test):
            yield test, names
            return
        case ast.Expr(value=ast.Call(func=ast.Attribute(attr=method), args=[left, right, *_])) if method in UNITTEST:
            yield ast.Compare(left, [UNITTEST[method]()], [right]), names
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
            parameters = {argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)}
            outside = {name: value for name, value in names.items() if name not in parameters}
            names = {**outside, **_constants(node.body)}
            rows = _parameters(node.decorator_list)
        case ast.For(target=target, iter=ast.List(elts=items) | ast.Tuple(elts=items)):
            rows = list(filter(None, (_row(target, item) for item in items[:ROWS]))) or [{}]
    for row in rows:
        for child in ast.iter_child_nodes(node):
            yield from _tests(child, {**names, **row})


def _constants(body: Sequence[ast.stmt]) -> Names:
    """Names that are assigned once, a literal, and are not changed in place."""
    nodes = [node for statement in body for node in ast.walk(statement)]
    stored = Counter(node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load))
    changed = {node.value.id for node in nodes
               if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.value, ast.Name)}  # fmt: skip
    constants = {}
    for statement in body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if stored[name] == 1 and name not in changed:
                with suppress(*UNREADABLE):
                    ast.literal_eval(value)
                    constants[name] = value
    return constants


def _parameters(decorators: Sequence[ast.expr]) -> list[Names]:
    """The parameter sets of a test; of several `parametrize` decorators only one is read."""
    for decorator in decorators:
        match decorator:
            case ast.Call(func=ast.Attribute(attr="parametrize"), args=[first, ast.List() | ast.Tuple() as sets, *_]):
                with suppress(*UNREADABLE, AttributeError):
                    names = ast.literal_eval(first)
                    listed = [name.strip() for name in (names.split(",") if isinstance(names, str) else names)]
                    target = ast.Name(listed[0]) if len(listed) == 1 else ast.Tuple([ast.Name(n) for n in listed])
                    rows = [_row(target, _plain(row, len(listed))) for row in sets.elts[:ROWS]]
                    return list(filter(None, rows)) or [{}]
    return [{}]


def _plain(row: ast.expr, width: int) -> ast.expr:
    """The values of a parameter set that is written as `pytest.param(...)`; others as they are."""
    match row:
        case ast.Call(func=ast.Attribute(attr="param"), args=values) if len(values) == width:
            return values[0] if width == 1 else ast.Tuple(values, ast.Load())
    return row


def _row(target: ast.expr, value: ast.expr) -> Names:
    """The expression that each name of an assignment target stands for; none where the two do not match in shape."""
    match target, value:
        case ast.Name(id=name), _:
            return {name: value}
        case ast.Tuple(elts=names), ast.Tuple(elts=values) | ast.List(elts=values) if len(names) == len(values):
            return {each.id: part for each, part in zip(names, values) if isinstance(each, ast.Name)}
    return {}


class _Substitute(ast.NodeTransformer):
    """Replaces names by the expressions that they stand for."""

    def __init__(self, names: Names) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.names.get(node.id, node) if isinstance(node.ctx, ast.Load) else node


def wanted(asserts: Sequence[str], name: str) -> list[Wanted]:
    """(arguments, value) of asserts that compare a call of this function with a literal."""
    calls = []
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
                arguments = (*map(ast.unparse, call.args), *(ast.unparse(keyword) for keyword in call.keywords))
                calls.append((", ".join(arguments), value))
    return calls


def _called(function: ast.expr) -> str:
    """Plain name of a called function or method; empty where there is none."""
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""
