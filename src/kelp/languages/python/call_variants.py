"""Variants of calls: the same function with other values in the place of literals."""

import ast
import contextlib
import random
from collections.abc import Sequence
from typing import Any


def arguments_like(asserts: Sequence[str], name: str, rng: random.Random, count: int) -> list[str]:
    """Return the arguments, as source, of up to `count` different calls of a function like those in its tests.

    A third are the tests' own, the others have other numbers, letters and lengths in their literals.
    """
    nodes: list[ast.AST] = []
    for line in asserts:
        with contextlib.suppress(SyntaxError, ValueError):
            nodes += ast.walk(ast.parse(line.strip()))
    calls = [n for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == name]
    found: dict[str, None] = {}
    for n in range(count if calls else 0):
        given = rng.choice(calls)
        parts = [("*", a.value) if isinstance(a, ast.Starred) else ("", a) for a in given.args]
        parts += [(f"{k.arg}=" if k.arg else "**", k.value) for k in given.keywords]
        texts = [(how, ast.unparse(value)) for how, value in parts]
        found.setdefault(", ".join(how + (text if n < count // 3 else _redrawn(text, rng)) for how, text in texts))
    return list(found)


def redrawn(call: str, rng: random.Random) -> str:
    """Return the call with other values in the place of some of its literals."""

    class Redraw(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> ast.AST:
            if isinstance(node, ast.Constant | ast.List | ast.Tuple | ast.Dict | ast.UnaryOp) and rng.random() < 0.7:
                with contextlib.suppress(ValueError, TypeError, SyntaxError):
                    return ast.parse(repr(_other(ast.literal_eval(node), rng)), mode="eval").body
            if isinstance(node, ast.Slice | ast.Lambda):
                return node
            return self.generic_visit(node)

    return ast.unparse(Redraw().visit(ast.parse(call, mode="eval")))


def _redrawn(argument: str, rng: random.Random) -> str:
    """Return the argument with other numbers, letters and lengths; unchanged where it is no literal."""
    try:
        value = ast.literal_eval(argument)
        other = _other(value, rng)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return argument
    return argument if other is value else repr(other)


def _other(value: Any, rng: random.Random) -> Any:
    if type(value) is int:
        return rng.choice((0, 1, value, value + rng.randint(-3, 3), rng.randint(-9, 12)))
    if isinstance(value, str) and value:
        return "".join(rng.choices(value + "ab ", k=rng.randint(1, 6)))
    if isinstance(value, list) and value:
        return [_other(rng.choice(value), rng) for _ in range(rng.randint(0, 5))]
    if isinstance(value, tuple):
        return tuple(_other(item, rng) for item in value)
    if isinstance(value, dict):
        return {key: _other(item, rng) for key, item in value.items()}
    return value
