"""Names that are bound on every path to a statement: definite assignment (Java Language Specification, chapter 16).

A name that only a loop's body, one branch or the block of a `with` assigns may be unbound after it: a context manager
may suppress the exception that ended its block. A name counts as unbound where it is deleted anywhere, is bound by an
`except` clause, which deletes it at its end, or is bound within an expression.
"""

import ast
from collections.abc import Iterable, Sequence

END = -1  # the offset that stands for the end of a function

Names = frozenset[str]


def bound_before(source: bytes) -> dict[int, Names]:
    """The names bound before each statement of a function, by its offset, and before its `END`.

    A statement that cannot be reached has no entry. Raises SyntaxError, and RecursionError for deeply nested code.
    """
    function = next(node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef))
    lines = [0]
    for line in source.split(b"\n"):
        lines.append(lines[-1] + len(line) + 1)
    unbound = {node.id for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Del)}
    unbound |= {node.name for node in ast.walk(function) if isinstance(node, ast.ExceptHandler) and node.name}
    before: dict[ast.stmt, Names] = {}
    parameters = frozenset(node.arg for node in ast.walk(function.args) if isinstance(node, ast.arg))
    end = _after_body(function.body, parameters, before, [])
    found = {lines[at.lineno - 1] + at.col_offset: names - unbound for at, names in before.items()}
    return found if end is None else found | {END: end - unbound}


def _after_body(
    body: Sequence[ast.stmt], names: Names | None, before: dict[ast.stmt, Names], breaks: list[Names]
) -> Names | None:
    """The names bound after these statements, None where their end is not reached.

    Adds to `before` the names bound before each statement, and to `breaks` those at each `break` of the loop around.
    """
    for statement in body:
        if names is None:
            return None
        before[statement] = names
        names = _after(statement, names, before, breaks)
    return names


def _after(statement: ast.stmt, names: Names, before: dict[ast.stmt, Names], breaks: list[Names]) -> Names | None:
    leaves: list[Names] = []
    match statement:
        case ast.Return() | ast.Raise() | ast.Continue():
            return None
        case ast.Break():
            breaks.append(names)
            return None
        case ast.If(body=body, orelse=otherwise):
            return _common(_after_body(block, names, before, breaks) for block in (body, otherwise))
        case ast.For(target=target, body=body, orelse=otherwise):
            _after_body(body, names | _stored(target), before, leaves)
            return _common([_after_body(otherwise, names, before, breaks), *leaves])
        case ast.While(test=test, body=body, orelse=otherwise):
            _after_body(body, names, before, leaves)
            forever = isinstance(test, ast.Constant) and test.value
            return _common([None if forever else _after_body(otherwise, names, before, breaks), *leaves])
        case ast.With(items=[first, *rest], body=body):
            _after_body(body, names.union(*map(_stored, [first, *rest])), before, breaks)
            return names | _stored(first)
        case (
            ast.Try(body=body, handlers=handlers, orelse=otherwise, finalbody=final)
            | ast.TryStar(body=body, handlers=handlers, orelse=otherwise, finalbody=final)
        ):
            tried = _after_body(otherwise, _after_body(body, names, before, breaks), before, breaks)
            end = _common([tried, *(_after_body(handler.body, names, before, breaks) for handler in handlers)])
            last = _after_body(final, names, before, breaks)
            return None if end is None or last is None else end | last
        case ast.Match(cases=cases):
            ends = [_after_body(case.body, names | _captured(case.pattern), before, breaks) for case in cases]
            match cases[-1]:
                case ast.match_case(pattern=ast.MatchAs(pattern=None), guard=None):
                    return _common(ends)
            return _common([*ends, names])
        case ast.Assign(targets=targets):
            return names.union(*map(_stored, targets))
        case ast.AnnAssign(target=target, value=ast.expr()) | ast.AugAssign(target=target):
            return names | _stored(target)
        case ast.Import(names=given) | ast.ImportFrom(names=given):
            return names | {alias.asname or alias.name.partition(".")[0] for alias in given}
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return names | {name}
    return names


def _common(states: Iterable[Names | None]) -> Names | None:
    """The names bound in all states that are reached."""
    reached = [state for state in states if state is not None]
    return frozenset.intersection(*reached) if reached else None


def _stored(target: ast.AST) -> Names:
    return frozenset(n.id for n in ast.walk(target) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))


def _captured(pattern: ast.pattern) -> Names:
    found = (getattr(node, "name", None) or getattr(node, "rest", None) for node in ast.walk(pattern))
    return frozenset(name for name in found if isinstance(name, str))
