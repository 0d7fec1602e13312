"""Value-guided synthesis: edits that give the values the tests want, the third source of proposals.

Where a function returns the value of an expression, an assert says what the value should be, and one run records the
names in scope. Expressions can then be enumerated by their values without running a test. Synthesis of an expression
from the values at one place is from Nguyen et al. 2013, "SemFix", and Xuan et al. 2017, "Nopol", which records them in
a run too. If no expression satisfies every call, one that satisfies more calls than now is a step on the way; if
some calls are right, a condition may separate the others and return from them before (terms and conditions one by one:
Alur et al. 2017, "Scaling enumerative program synthesis via divide and conquer").
"""

import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from keyword import iskeyword
from typing import Any, NamedTuple

from kelp.diffusion.tree_queries import (
    bodies,
    child,
    indentation,
    insert_after,
    nodes,
    operands,
    plays,
    put,
    statements,
)
from kelp.execution.observation import CallResult
from kelp.languages.python.flow import END, bound_before
from kelp.languages.python.test_files import literal
from kelp.search.synthesis.components import ATOM, GUARD, MARK, TOLD, WITNESS, is_plain
from kelp.search.synthesis.enumerate import Environment, are_evidence, conditions, expressions, information, partly
from kelp.syntax.edits import Edit
from kelp.syntax.program import Program, Wanted
from kelp.syntax.sites import elements

PLAIN = (0, 1, 2, " ")  # constants of every enumeration
SCALARS = (bool, int, float, str, type(None))
SIMPLE = 7.0  # bits of a constant that one call justifies; a larger constant would memorize the call
SHORT = 24  # characters of a constant taken from values
SEEN = 12  # values of names that become constants of conditions
EVIDENT = 2.0  # bits of the wrong calls' pattern before a condition may separate them


class Found(NamedTuple):
    """Edit with the share of the failing calls that it puts right."""

    edit: Edit
    share: float
    guard: frozenset[int] = frozenset()  # for a guard: the asserts whose calls it returns from


@dataclass(frozen=True)
class Place:
    """Place that determines a return value: an expression, or the end of the body (no expression).

    `block` holds the statements around it; the one at index `at` is the first that computes the value.
    """

    program: Program
    expression: int | None
    block: list[int]
    at: int

    def write(self, text: bytes, level: int) -> Iterator[Edit]:
        """Edits that write an expression at the place."""
        if self.expression is not None:
            yield put(self.program, self.expression, text, level)
        else:
            yield from insert_after(self.program, self.block[-1], self.program.language.near_miss.give + text)

    def guard(self, condition: str, value: str) -> Iterator[Edit]:
        """Edits that return a value before the place if the condition holds."""
        indent = indentation(self.program, self.block[min(self.at, len(self.block) - 1)])
        if indent is None:  # it shares its line with another
            return
        inner = indent + (indentation(self.program, _body(self.program)[0]) or b"    ")
        text = GUARD % (condition.encode(), inner, value.encode())
        if self.at:
            yield from insert_after(self.program, self.block[self.at - 1], text)
        else:
            start = self.program.start[self.block[0]]
            yield Edit(start, start, text + b"\n" + indent)


class Call(NamedTuple):
    """Call that reached a place: the names there, the wanted value, and whether the call is right already."""

    number: int  # index of its assert
    names: list[tuple[str, str]]
    wanted: Any
    right: bool


def places(program: Program) -> list[Place]:
    """Places of a function: returned expressions, values assigned just before a return, and the end of the body.

    Generators and coroutines have none.
    """
    if program.language.name != "python" or {"yield", "async"} & set(program.kind):
        return []  # the components are Python's
    inner = nodes(program, "function")[1:]
    at = {node: (block, i) for block in statements(program) for i, node in enumerate(block)}
    found = []
    for node in nodes(program, "return"):
        given = operands(program, node)
        if not given or any(other < node < program.last[other] for other in inner):
            continue
        place, (block, i) = _inside(program, given[0]), at[node]
        assignment = block[i - 1] + 1 if i else 0
        if plays(program, place, "name") and plays(program, assignment, "assignment"):
            value = child(program, assignment, "right")
            if value is not None and program.text(assignment + 1) == program.text(place):
                place, i = _inside(program, value), i - 1
        if not plays(program, place, "assignment"):  # a = b = c
            found.append(Place(program, place, block, i))
    body = _body(program)
    if not plays(program, body[-1], "jump"):
        found.append(Place(program, None, body, len(body)))
    return found


def _body(program: Program) -> list[int]:
    """Statements of the function."""
    return elements(program, bodies(program, nodes(program, "function")[0])[0])


def _inside(program: Program, node: int) -> int:
    while plays(program, node, "parentheses"):
        node = operands(program, node)[0]
    return node


def filled(
    program: Program,
    asserts: Sequence[Wanted],
    evaluate: Callable[[Sequence[Edit], Sequence[str]], list[CallResult]],
    bound: frozenset[str] | None = None,
) -> Iterator[list[Found]]:
    """For each place: edits after which more of the calls that reach it give the wanted value, smallest first.

    `evaluate` runs calls with these arguments after the edits. `bound`: names that the file defines.
    """
    there = places(program)
    asserts = [(arguments, value) for arguments, value in asserts if is_plain(value)]
    evident = are_evidence([value for _, value in asserts]) or _evidence(len(asserts), len(asserts) // 2) >= EVIDENT
    if not there or not evident:  # nothing could be found
        return
    witnesses = [edit for i, place in enumerate(there) for edit in place.write(_witness(place, i), ATOM)]
    results = evaluate(witnesses, [arguments for arguments, _ in asserts])
    calls: list[list[Call]] = [[] for _ in there]
    wrong = 0
    for each, (result, (_, value)) in enumerate(zip(results, asserts)):
        given = literal(result.repr or "", NotImplemented)  # the program may report anything
        match given:
            case (mark, int(number), list(names), str(said)) if mark == MARK and 0 <= number < len(there):
                if all(map(_is_name_and_text, names)) and MARK not in said and len(said) < TOLD:
                    calls[number].append(Call(each, names, value, literal(said, NotImplemented) == value))
                    wrong += not calls[number][-1].right
            case _:
                wrong += given != value
    constants = _constants(program)
    before = _bound_before(program)
    for place, some in zip(there, calls):
        if not all(call.right for call in some):
            found = _found(place, some, constants, bound or frozenset(), before)
            yield [Found(edit, gained / wrong, guard) for edit, gained, guard in found]


def _witness(place: Place, number: int) -> bytes:
    text = b"None" if place.expression is None else place.program.text(place.expression)
    return WITNESS % (text, number, text)


def _bound_before(program: Program) -> Mapping[int, frozenset[str]]:
    """`bound_before`; the empty set if the program does not parse."""
    try:
        return bound_before(program.source)
    except (SyntaxError, ValueError, RecursionError):
        return {}


def _found(
    place: Place,
    calls: Sequence[Call],
    constants: list[Any],
    bound: frozenset[str],
    before: Mapping[int, frozenset[str]],
) -> Iterator[tuple[Edit, int, frozenset[int]]]:
    """Edits at one place, the number of calls gained, and the asserts whose calls a guard returns from.

    An edit reads no name that may be unbound there, except names that the expression reads already.
    """
    program, expression = place.program, place.expression
    start = program.start[place.block[place.at]] if place.at < len(place.block) else END
    sure = before.get(start, frozenset())
    read = {program.text(n).decode() for n in range(expression, program.last[expression])} if expression else set()
    named = [_environment(call.names) for call in calls]
    environments = [{name: value for name, value in each.items() if name in sure | read} for each in named]
    wanted, right = [call.wanted for call in calls], [call.right for call in calls]
    taken = frozenset(name for call in calls for name, _ in call.names) | bound
    found = expressions(environments, wanted, constants, taken)
    if not found:
        often = [value for value in wanted if wanted.count(value) > 1]
        found = partly(environments, wanted, _with(constants, often), taken, sum(right))
    for each in found:
        gained = sum(map(operator.eq, each.values, wanted)) - sum(right)
        for edit in place.write(each.text.encode(), each.level):
            yield edit, gained, frozenset()
    if not any(right):
        return
    environments = [{name: value for name, value in each.items() if name in sure} for each in named]
    known = _with(constants, [value for each in environments for value in each.values()][:SEEN])
    for group in _groups(calls):
        if _evidence(len(calls), len(group)) < EVIDENT:
            continue
        values = [wanted[i] for i in group]
        names = [name for name in environments[0] if [environments[i].get(name, ...) for i in group] == values]
        same = {repr(value) for value in values}
        if len(same) == 1 and (information(values) <= SIMPLE or (len(values) > 1 and len(repr(values[0])) <= SHORT)):
            names += same
        if not names:
            continue
        for condition in conditions(environments, [i in group for i in range(len(calls))], known, taken):
            for value in names:
                for edit in place.guard(condition.text, value):
                    yield edit, len(group), frozenset(calls[i].number for i in group)


def _evidence(calls: int, wrong: int) -> float:
    """Bits to say which of the calls are wrong."""
    return math.log2(math.comb(calls, wrong))


def _groups(calls: Sequence[Call]) -> list[list[int]]:
    """Groups of wrong calls: all of them, and those with equal wanted values."""
    wrong = [i for i, call in enumerate(calls) if not call.right]
    same: dict[str, list[int]] = {}
    for i in wrong:
        same.setdefault(repr(calls[i].wanted), []).append(i)
    return [wrong, *same.values()] if len(same) > 1 else [wrong]


def _with(constants: Sequence[Any], values: Sequence[Any]) -> list[Any]:
    """Constants, and values short enough to be one."""
    short = [value for value in values if type(value) in SCALARS and len(repr(value)) <= SHORT]
    return list({repr(value): value for value in [*constants, *short]}.values())


def _is_name_and_text(pair: object) -> bool:
    """Return whether this is a pair of a name and its value as text, not the record of an inner call."""
    match pair:
        case (str(name), str(text)):
            return name.isidentifier() and not iskeyword(name) and name != "__debug__" and MARK not in text
    return False


def _environment(names: Sequence[tuple[str, str]]) -> Environment:
    values = {name: literal(text, NotImplemented) for name, text in names}
    return {name: value for name, value in values.items() if is_plain(value)}


def _constants(program: Program) -> list[Any]:
    texts = dict.fromkeys(program.text(node) for role in ("literal", "string") for node in nodes(program, role))
    own = [literal(text.decode(), NotImplemented) for text in texts]
    return [*PLAIN, *(value for value in own if is_plain(value) and repr(value) not in map(repr, PLAIN))]
