"""Edits that give the values the tests want: the third source of proposals.

Where the value of an expression is what a function returns, an assert says what it should be, and one run says what
the names in scope are then. So expressions can be enumerated by their values, and no test is run for them. That the
values at one place suffice to write its expression is from Nguyen et al. 2013, "SemFix", and Xuan et al. 2017, "Nopol",
which collects them in a run too.
"""

import ast
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from kelp.diffusion.shapes import nodes, operands, plays, put, statements
from kelp.execution.observation import CallResult
from kelp.search.asserts import Wanted
from kelp.search.enumeration import Environment, expressions
from kelp.syntax.edits import Edit
from kelp.syntax.program import Program
from kelp.syntax.python import PYTHON
from kelp.syntax.python_operations import MARK, WITNESS, is_plain

PLAIN = (0, 1, 2, " ")  # constants that any expression may have


def places(program: Program) -> list[int]:
    """Expressions whose value is what the function returns: what it returns, or has just assigned to return it."""
    inner = [node for node in nodes(program, "function") if node > program.root + 1]
    before = {block[i]: block[i - 1] for block in statements(program) for i in range(1, len(block))}
    found = []
    for node in nodes(program, "return"):
        given = operands(program, node)
        if not given or any(function < node < program.last[function] for function in inner):
            continue
        place = _inside(program, given[0])
        if plays(program, place, "name") and plays(program, before.get(node, 0) + 1, "assignment"):
            target, *_, value = operands(program, before[node] + 1)
            if program.text(target) == program.text(place):
                place = _inside(program, value)
        found.append(place)
    return found


def _inside(program: Program, node: int) -> int:
    while plays(program, node, "parentheses"):
        node = operands(program, node)[0]
    return node


def filled(
    program: Program, asserts: Sequence[Wanted], evaluate: Callable[[Sequence[Edit], Sequence[str]], list[CallResult]]
) -> list[Edit]:
    """Edits with which the calls that come by one of the places give what is wanted, the smallest of each place first.

    `evaluate` gives what calls with these arguments give once the edits of the program are made.
    """
    there = places(program) if program.language is PYTHON else []  # whose operations are those that are known
    if not there or not asserts:
        return []
    witnesses = [Edit(program.start[node], program.end[node], WITNESS % i) for i, node in enumerate(there)]
    results = evaluate(witnesses, [arguments for arguments, _ in asserts])
    seen = defaultdict[int, list[tuple[Environment, Any]]](list)
    for result, (_, value) in zip(results, asserts):
        with suppress(ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            mark, place, values = ast.literal_eval(result.repr or "")
            if mark == MARK:
                seen[place].append((_environment(values), value))
    constants = _constants(program)
    return [
        put(program, there[place], found.text.encode(), found.level)
        for place, pairs in sorted(seen.items())
        for found in expressions([names for names, _ in pairs], [value for _, value in pairs], constants)
    ]


def _environment(values: Sequence[tuple[str, str]]) -> Environment:
    environment = {}
    for name, text in values:
        with suppress(ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            value = ast.literal_eval(text)
            if is_plain(value):
                environment[name] = value
    return environment


def _constants(program: Program) -> list[Any]:
    texts = dict.fromkeys(program.text(node) for role in ("literal", "string") for node in nodes(program, role))
    own = []
    for text in texts:
        with suppress(ValueError, SyntaxError):
            own.append(ast.literal_eval(text.decode()))
    return [*PLAIN, *(value for value in own if is_plain(value) and repr(value) not in map(repr, PLAIN))]
