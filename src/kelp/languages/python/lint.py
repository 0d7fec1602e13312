"""Lint of Python: patterns that finished code seldom has and mistakes often leave, such as an unused variable.

Anomalies in the flow of data point to errors: Fosdick and Osterweil 1976, "Data Flow Analysis in Software
Reliability", ACM Computing Surveys 8(3).
"""

import ast
import warnings
from collections.abc import Iterator, Sequence

Function = ast.FunctionDef | ast.AsyncFunctionDef
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
JUMPS = (ast.Return, ast.Raise, ast.Break, ast.Continue)
POINTLESS = (ast.Sub, ast.Div, ast.FloorDiv, ast.Mod, ast.BitXor, ast.BitAnd, ast.BitOr)  # with equal operands
WITHOUT_EFFECT = (ast.Compare, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Name, ast.Attribute, ast.Subscript, ast.Tuple)


def lint(source: bytes) -> int:
    """Number of findings. Raises SyntaxError, and RecursionError where the source is nested too deeply."""
    with warnings.catch_warnings(action="ignore"):  # of `2or` and the like, which an edit may leave
        tree = ast.parse(source)
    return sum(_findings(node) + _unreached(node) for node in ast.walk(tree))


def _findings(node: ast.AST) -> int:
    """Findings at one node, unreachable statements apart."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return len(_unused(node)) + _loses_result(node)
        case ast.For(body=body) | ast.AsyncFor(body=body) | ast.While(body=body):
            return _only_once(body)
        case ast.If(body=body, orelse=otherwise):
            return _equal(body, otherwise)
        case ast.Expr(value=value):  # an unused value
            return isinstance(value, WITHOUT_EFFECT)
        case ast.Compare(left=left, comparators=[right]):
            return _equal([left], [right])
        case ast.BinOp(left=left, op=op, right=right):
            return isinstance(op, POINTLESS) and not isinstance(left, ast.Constant) and _equal([left], [right])
        case ast.BoolOp(values=values):
            return len({ast.dump(value) for value in values}) < len(values)
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Name(id=other)):
            return name == other
    return 0


def _unused(function: Function) -> set[str]:
    """Parameters and variables that nothing reads but assignments to themselves."""
    nodes, arguments = list(_own_nodes(function)), function.args
    bound = {parameter.arg for parameter in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
    bound |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    bound -= {name for node in nodes if isinstance(node, ast.Global | ast.Nonlocal) for name in node.names}
    return {name for name in bound - {"self", "cls", *_read(function, frozenset())} if not name.startswith("_")}


def _read(node: ast.AST, setting: frozenset[str]) -> Iterator[str]:
    """Names that are read, except in assignments to themselves (`setting`)."""
    match node:
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AugAssign(target=ast.Name(id=name)):
            setting |= {name}
        case ast.Name(id=name, ctx=ast.Load()) if name not in setting:
            yield name
    for child in ast.iter_child_nodes(node):
        yield from _read(child, setting)


def _own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """Nodes inside a function, without the insides of functions and classes in it."""
    for child in ast.iter_child_nodes(function):
        yield child
        if not isinstance(child, SCOPES):
            yield from _own_nodes(child)


def _loses_result(function: Function) -> bool:
    """Return whether the function returns a value on some paths only, or has neither a `return` nor a `raise`."""
    nodes = list(_own_nodes(function))
    if any(isinstance(node, ast.Yield | ast.YieldFrom) for node in nodes):
        return False
    returned = [node for node in nodes if isinstance(node, ast.Return)]
    if any(node.value is not None for node in returned):
        return _may_continue(function.body) or any(node.value is None for node in returned)
    return not any(isinstance(node, ast.Raise) for node in nodes)


def _may_continue(body: Sequence[ast.stmt]) -> bool:
    """Return whether execution may continue after these statements."""
    match body[-1] if body else None:
        case ast.Return() | ast.Raise() | ast.Continue() | ast.Break():
            return False
        case ast.If(body=then, orelse=otherwise):
            return _may_continue(then) or _may_continue(otherwise)
        case ast.With(body=inside) | ast.AsyncWith(body=inside):
            return _may_continue(inside)
        case ast.While(test=ast.Constant(value=value)) if value:
            return False
        case ast.Try(body=inside, handlers=handlers, orelse=otherwise, finalbody=final):
            ends = [otherwise or inside, *(handler.body for handler in handlers)]
            return any(map(_may_continue, ends)) and (not final or _may_continue(final))
        case ast.Match(cases=cases):
            return any(_may_continue(case.body) for case in cases)  # assumed to cover every value
    return True


def _only_once(body: Sequence[ast.stmt]) -> bool:
    """Return whether a loop with this body runs at most once."""
    last = body[-1]
    again = (node for statement in body for node in ast.walk(statement) if isinstance(node, ast.Continue))
    return isinstance(last, ast.Return | ast.Raise | ast.Break) and next(again, None) is None


def _unreached(node: ast.AST) -> int:
    """Number of blocks of a node with statements after a jump."""
    blocks = [getattr(node, name, None) for name in ("body", "orelse", "finalbody")]
    return sum(any(isinstance(s, JUMPS) for s in block[:-1]) for block in blocks if isinstance(block, list))


def _equal(some: Sequence[ast.AST], others: Sequence[ast.AST]) -> bool:
    """Return whether the nodes are equal, pair by pair."""
    return len(some) == len(others) and all(ast.dump(a) == ast.dump(b) for a, b in zip(some, others))
