"""Edits that give the values the tests want: the third source of proposals.

Where the value of an expression is what a function returns, an assert says what it should be, and one run says what
the names in scope are then. So expressions can be enumerated by their values, and no test is run for them. That the
values at one place suffice to write its expression is from Nguyen et al. 2013, "SemFix", and Xuan et al. 2017, "Nopol",
which collects them in a run too.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from kelp.diffusion.shapes import child, nodes, operands, plays, put, statements
from kelp.execution.observation import CallResult
from kelp.search.asserts import Wanted, literal
from kelp.search.enumeration import Environment, expressions, longest
from kelp.syntax.edits import Edit
from kelp.syntax.program import Program
from kelp.syntax.python import PYTHON
from kelp.syntax.python_operations import MARK, WITNESS, is_plain

PLAIN = (0, 1, 2, " ")  # constants that any expression may have


def places(program: Program) -> list[int]:
    """Expressions whose value is what the function returns: what it returns, or has just assigned to return it.

    None where a call gives something else first: a generator, a coroutine.
    """
    if program.language is not PYTHON or {"yield", "async"} & set(program.kind):
        return []  # the operations that are known are Python's
    inner = nodes(program, "function")[1:]
    before = {block[i]: block[i - 1] for block in statements(program) for i in range(1, len(block))}
    found = []
    for node in nodes(program, "return"):
        given = operands(program, node)
        if not given or any(function < node < program.last[function] for function in inner):
            continue
        place = _inside(program, given[0])
        assignment = before.get(node, 0) + 1
        if plays(program, place, "name") and plays(program, assignment, "assignment"):
            value = child(program, assignment, "right")
            if value is not None and program.text(assignment + 1) == program.text(place):
                place = _inside(program, value)
        if not plays(program, place, "assignment"):  # a = b = c
            found.append(place)
    return found


def _inside(program: Program, node: int) -> int:
    while plays(program, node, "parentheses"):
        node = operands(program, node)[0]
    return node


def filled(
    program: Program,
    asserts: Sequence[Wanted],
    evaluate: Callable[[Sequence[Edit], Sequence[str]], list[CallResult]],
    bound: frozenset[str] | None = None,
) -> Iterator[list[Edit]]:
    """For each place: edits with which the calls that come by give what is wanted, the smallest first.

    `evaluate` gives what calls with these arguments give once the edits of the program are made. `bound` are the names
    that the file defines, which then mean nothing else.
    """
    there = places(program)
    if not there or longest([value for _, value in asserts]) < 1:  # there is nothing that it could find
        return
    witnesses = [Edit(program.start[node], program.end[node], WITNESS % i) for i, node in enumerate(there)]
    results = evaluate(witnesses, [arguments for arguments, _ in asserts])
    seen: list[list[tuple[list[tuple[str, str]], Any]]] = [[] for _ in there]
    for result, (_, value) in zip(results, asserts):
        match literal(result.repr or ""):  # what the program says, which may be anything
            case (mark, int(place), list(names)) if mark == MARK and 0 <= place < len(there):
                if all(map(_is_name_and_text, names)):
                    seen[place].append((names, value))
    constants = _constants(program)
    for node, pairs in zip(there, seen):
        if pairs:
            taken = frozenset(name for names, _ in pairs for name, _ in names) | (bound or frozenset())
            environments = [_environment(names) for names, _ in pairs]
            found = expressions(environments, [value for _, value in pairs], constants, taken)
            yield [put(program, node, each.text.encode(), each.level) for each in found]


def _is_name_and_text(pair: object) -> bool:
    match pair:
        case (str(name), str()):
            return name.isidentifier()
    return False


def _environment(names: Sequence[tuple[str, str]]) -> Environment:
    values = {name: literal(text, NotImplemented) for name, text in names}
    return {name: value for name, value in values.items() if is_plain(value)}


def _constants(program: Program) -> list[Any]:
    texts = dict.fromkeys(program.text(node) for role in ("literal", "string") for node in nodes(program, role))
    own = [literal(text.decode(), NotImplemented) for text in texts]
    return [*PLAIN, *(value for value in own if is_plain(value) and repr(value) not in map(repr, PLAIN))]
