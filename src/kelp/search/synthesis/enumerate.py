"""Expressions enumerated by their values: small ones first, each value once.

Bottom-up enumeration with observational equivalence is from Albarghouthi, Gulwani and Kincaid 2013, "Recursive program
synthesis", and Udupa et al. 2013, "TRANSIT". What has the wanted values is taken only where that is no chance among as
many as were tried (as Bonferroni corrects for comparisons): two truth values are not evidence for any expression, two
lists are for a long one.
"""

import marshal
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate, chain, count, pairwise
from typing import Any, NamedTuple

from kelp.search.synthesis.components import (
    ATOM,
    IN_COMPREHENSION,
    OPERATIONS,
    SIGNED,
    TRUTHS,
    Operation,
    is_plain,
    kind_of,
)

APPLIED = 300_000  # operations applied in one enumeration, to one environment each
INNER, INNER_TO = 0.02, 0.1  # of them for the inside of one comprehension, and of one whose values are known
LARGEST = 8  # cost of an expression
OVER, INSIDE = 2, 3  # what a comprehension goes over, and what is in it
LONGEST_OVER = 40  # items, in all environments together
ENOUGH = 4  # expressions
MARGIN = 7.0  # bits that the wanted values must take beyond those of the number of values tried
PARTLY, CONDITION = 0.25, 0.25  # of the operations, for what suits some environments, and for conditions
CONDITIONS, LONGEST_CONDITION = 12, 5  # how many, and their cost
ITEMS = frozenset(["list", "tuple", "str", "dict", "range"])  # what a comprehension goes over

Environment = Mapping[str, Any]


class Expression(NamedTuple):
    """A text, how tightly it binds, what it costs, and its value in each environment."""

    text: str
    level: int
    cost: int
    values: tuple[Any, ...]

    def within(self, demand: int) -> str:
        return self.text if self.level >= demand else f"({self.text})"


TOLD_APART = frozenset([set, range])  # by `marshal` alone, equal ones are


def _told_apart(value: Any) -> Any:
    """Something that only equal values of its kind have, and that `marshal` knows."""
    match value:
        case set():
            return ("set", *sorted(map(repr, value)))
        case range():
            return ("range", value.start, value.stop)
    return value


def _applied(operation: Operation, given: Sequence[Any]) -> Any:
    """What it gives, or `...`."""
    try:
        return ... if ... in given else operation.apply(*given)
    except Exception:
        return ...


def _written(operation: Operation, operands: Sequence[Expression]) -> str:
    return operation.template.format(*(each.within(demand) for each, demand in zip(operands, operation.demands)))


def information(values: Sequence[Any]) -> float:
    """Bits that it would take to write the values down, roughly, each of them once."""
    return sum(map(_bits, {repr(value): value for value in values}.values()))


def _bits(value: Any) -> float:
    match value:
        case bool() | None:
            return 1
        case int():
            return 1 + 1.5 * value.bit_length()
        case float():
            return 12
        case str():
            return 4 + 4 * len(value)
        case dict():
            return 4 + sum(map(_bits, value)) + sum(map(_bits, value.values()))
    return 4 + sum(map(_bits, value))


def are_evidence(wanted: Sequence[Any]) -> bool:
    """Could these values be evidence for any expression?"""
    return information(wanted) > MARGIN


def expressions(
    environments: Sequence[Environment],
    wanted: Sequence[Any],
    constants: Sequence[Any],
    taken: frozenset[str] = frozenset(),
) -> list[Expression]:
    """Those with the wanted value in each environment, the smallest first, where that is evidence for them.

    `taken` are names that have a meaning of their own there, besides those of the environments.
    """
    truth = all(isinstance(value, bool) for value in wanted)
    search = Enumeration(environments, constants, truth, APPLIED, tuple(wanted), taken, evident=True)
    search.run(LARGEST)
    return _smallest_first(search.found)


def partly(
    environments: Sequence[Environment],
    wanted: Sequence[Any],
    constants: Sequence[Any],
    taken: frozenset[str],
    least: int,
) -> list[Expression]:
    """Those with the wanted value in two environments, and more than `least`, but not in all; where that is evidence.

    Most of them come first; one that suits no others than those before is left out. Elsewhere they have another value,
    or none at all, which is `...`.
    """
    search = Enumeration(
        environments, constants, False, PARTLY * APPLIED, tuple(wanted), taken, evident=True, least=max(1, least)
    )
    search.run(LARGEST)

    def suited(found: Expression) -> frozenset[int]:
        return frozenset(i for i, (value, want) in enumerate(zip(found.values, wanted)) if value == want)

    kept: list[tuple[frozenset[int], Expression]] = []
    for found in sorted(search.partly, key=lambda found: (-len(suited(found)), found.cost)):
        some = suited(found)
        if len(some) < len(wanted) and not any(some <= others for others, _ in kept):
            kept.append((some, found))
    return [found for _, found in kept[:ENOUGH]]


def conditions(
    environments: Sequence[Environment], wanted: Sequence[bool], constants: Sequence[Any], taken: frozenset[str]
) -> list[Expression]:
    """Conditions that hold in these environments alone, the smallest first."""
    search = Enumeration(environments, constants, True, CONDITION * APPLIED, tuple(wanted), taken, enough=CONDITIONS)
    search.run(LONGEST_CONDITION)
    return _smallest_first(search.found)


def _smallest_first(found: Sequence[Expression]) -> list[Expression]:
    return sorted({each.text: each for each in found}.values(), key=lambda each: each.cost)


class Enumeration:
    """Bottom-up: from the expressions of each cost, those that cost more.

    Values are kept once, with the first expression that has them. `found` are those whose values are wanted, up to
    `enough` of them; `partly` those with more than `least` of these values. `evident`: only where that is evidence.
    """

    def __init__(
        self,
        environments: Sequence[Environment],
        constants: Sequence[Any],
        truth: bool,
        limit: float,
        wanted: tuple[Any, ...] | None = None,
        taken: frozenset[str] = frozenset(),
        *,
        enough: int = ENOUGH,
        evident: bool = False,
        least: int | None = None,
    ) -> None:
        self.environments, self.constants, self.limit, self.wanted = environments, constants, limit, wanted
        self.names = [name for name in environments[0] if all(name in each for each in environments)]
        self.taken = taken.union(*environments)
        self.item = next(name for name in chain("xyz", map("x{}".format, count())) if name not in self.taken)
        given = OPERATIONS + TRUTHS if truth else OPERATIONS
        usable = [each for each in given if not each.names & self.taken]
        kind = kind_of(wanted) if wanted else ""
        self.operations = sorted(usable, key=lambda each: each.gives not in ("", kind))  # what may be it goes first
        self.seen: set[bytes] = set()
        self.of: dict[int, dict[str, list[Expression]]] = {}  # by cost and kind
        self.found: list[Expression] = []
        self.partly: list[Expression] = []
        self.enough, self.evident, self.least = enough, evident, least
        self.inside: dict[tuple[str, bool], dict[int, dict[str, list[Expression]]]] = {}  # of comprehensions
        self.applied = 0

    def run(self, most: int) -> None:
        """All that cost up to `most`, as far as the limit goes; one more cost than the first that is found."""
        for name in self.names:
            self._keep(partial(str, name), ATOM, 1, tuple(each[name] for each in self.environments))
        if self.found:  # anything else would do the same, and say it in more words
            return
        for constant in self.constants:
            text = repr(constant)
            level = SIGNED if text.startswith("-") else ATOM
            self._keep(partial(str, text), level, 1, (constant,) * len(self.environments), constant=True)
        for cost in range(2, most + 1):
            if (self.found and self.found[0].cost < cost - 1) or not self._is_evidence(self.wanted or ()):
                return
            for operation in self.operations:
                for given in self._operands(operation.takes, cost - operation.cost):
                    self._apply(operation, given, cost)
                    if self.applied > self.limit or len(self.found) >= self.enough:
                        return
            if self.wanted is not None and self.least is None:
                self._comprehend(cost)
                self._comprehend_to(cost - 1, most)

    def _is_evidence(self, values: Sequence[Any]) -> bool:
        """That one has the wanted values, of all that were tried: is that more than chance?"""
        return not self.evident or math.log2(max(1, len(self.seen))) < information(values) - MARGIN

    def _operands(self, takes: Sequence[frozenset[str]], cost: int) -> Iterator[tuple[Expression, ...]]:
        """Of these kinds, which cost so much together."""
        first, *rest = takes
        if not rest:
            yield from ((each,) for kind, some in self.of.get(cost, {}).items() if kind in first for each in some)
            return
        for own in range(1, cost - len(rest) + 1):
            heads = [each for kind, some in self.of.get(own, {}).items() if kind in first for each in some]
            if heads:
                tails = list(self._operands(rest, cost - own))
                yield from ((head, *tail) for head in heads for tail in tails)

    def _apply(self, operation: Operation, given: tuple[Expression, ...], cost: int) -> None:
        self.applied += len(self.environments)
        operands = [operand.values for operand in given]
        try:
            if self.least is not None and any(... in values for values in operands):
                raise ValueError
            values = tuple(map(operation.apply, *operands))
        except Exception:  # whatever the operation does not take
            if self.least is None:
                return
            values = tuple([_applied(operation, each) for each in zip(*operands)])
        self._keep(partial(_written, operation, given), operation.level, cost, values)

    def _keep(
        self, text: Callable[[], str], level: int, cost: int, values: tuple[Any, ...], *, constant: bool = False
    ) -> None:
        if (
            values == self.wanted and not constant and (cost == 1 or self._is_evidence(self.wanted))
        ):  # a name needs none
            self.found.append(Expression(text(), level, cost, values))
            return
        plain = values if not TOLD_APART & {*map(type, values)} else [_told_apart(value) for value in values]
        try:
            key = marshal.dumps(plain, 2)
        except ValueError:  # a range within a list
            return
        if key not in self.seen:
            self.seen.add(key)
            there = values if self.least is None else tuple([value for value in values if value is not ...])
            if there and all(map(is_plain, there)):
                kept = Expression(text(), level, cost, values)
                self.of.setdefault(cost, {}).setdefault(kind_of(there), []).append(kept)
                if self.least is not None:
                    right = [want for value, want in zip(values, self.wanted or ()) if value == want]
                    if len(right) > self.least and self._is_evidence(right):
                        self.partly.append(kept)

    def _over(self, cost: int) -> Iterator[tuple[Expression, list[list[Any]], list[dict[str, Any]]]]:
        """What a comprehension may go over: its items, and the environments inside, of all environments in a row."""
        for over in [each for kind, some in self.of.get(cost, {}).items() if kind in ITEMS for each in some]:
            rows = [list(values) for values in over.values]
            if 2 <= sum(map(len, rows)) <= LONGEST_OVER:
                inside = [{**env, self.item: value} for env, row in zip(self.environments, rows) for value in row]
                yield over, rows, inside

    def _comprehend(self, cost: int) -> None:
        """Lists made of what is in another, one by one: changed, or chosen."""
        for own in range(max(1, cost - 1 - INSIDE), min(cost - 2, OVER) + 1):
            for over, rows, inside in self._over(own):
                for truth in (False, True):
                    if (over.text, truth) not in self.inside:
                        inner = Enumeration(inside, self.constants, truth, self.limit * INNER, taken=self.taken)
                        inner.run(INSIDE)
                        self.inside[over.text, truth] = inner.of
                        self.applied += inner.applied
                    for kind, some in self.inside[over.text, truth].get(cost - own - 1, {}).items():
                        for body in some if kind == "bool" or not truth else ():
                            if self.item in body.text and body.text != self.item:
                                self.applied += len(rows)
                                made = self._made(over, rows, body, truth)
                                self._keep(partial(str, made[0]), ATOM, cost, made[1])
                    if self.applied > self.limit or len(self.found) >= self.enough:
                        return

    def _made(
        self, over: Expression, rows: list[list[Any]], body: Expression, truth: bool
    ) -> tuple[str, tuple[Any, ...]]:
        """The text and the values of a comprehension."""
        cuts, x = pairwise(accumulate(map(len, rows), initial=0)), self.item
        cut = [body.values[a:b] for a, b in cuts]
        if not truth:
            return f"[{body.text} for {x} in {over.within(IN_COMPREHENSION)}]", tuple(map(list, cut))
        chosen = tuple([value for value, true in zip(row, trues) if true] for row, trues in zip(rows, cut))
        return f"[{x} for {x} in {over.within(IN_COMPREHENSION)} if {body.within(IN_COMPREHENSION)}]", chosen

    def _comprehend_to(self, own: int, most: int) -> None:
        """Comprehensions, from what their insides must give (as in Lambda^2: Feser et al. 2015)."""
        assert self.wanted is not None
        kind = kind_of(self.wanted)
        if kind not in ("list", "tuple") or (kind == "tuple" and kind in self.taken):
            return
        for over, rows, inside in self._over(own):
            for truth, goal in _goals(rows, [list(values) for values in self.wanted]):
                inner = Enumeration(inside, self.constants, truth, self.limit * INNER_TO, goal, self.taken)
                inner.run(most - own - 1)
                self.applied += inner.applied
                for body in inner.found:
                    text = self._made(over, rows, body, truth)[0]
                    text = text if kind == "list" else f"tuple({text})"
                    self.found.append(Expression(text, ATOM, own + body.cost + 1, self.wanted))
                if self.applied > self.limit:
                    return


def _goals(rows: list[list[Any]], wanted: list[list[Any]]) -> Iterator[tuple[bool, tuple[Any, ...]]]:
    """What the inside of a comprehension over the rows must give for each item: its value, or whether it is chosen."""
    if list(map(len, rows)) == list(map(len, wanted)):
        yield False, tuple(value for row in wanted for value in row)
    elif all(len(row) >= len(want) for row, want in zip(rows, wanted)):
        trues = tuple(value in want for row, want in zip(rows, wanted) for value in row)
        if [[value for value in row if value in want] for row, want in zip(rows, wanted)] == wanted:
            yield True, trues


ITEMS = frozenset(["list", "tuple", "str", "dict", "range"])  # what a comprehension goes over
