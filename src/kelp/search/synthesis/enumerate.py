"""Enumerate expressions bottom-up by their values: small ones first, each value once.

Bottom-up enumeration with observational equivalence is from Albarghouthi, Gulwani and Kincaid 2013, "Recursive program
synthesis", and Udupa et al. 2013, "TRANSIT". An expression with the wanted values is accepted only if that cannot be
chance among as many as were tried (as Bonferroni corrects for comparisons): two truth values are evidence for no
expression, two lists are evidence for a long one.
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
INNER, INNER_TO = 0.02, 0.1  # share of them for the inside of one comprehension, and of one whose values are known
LARGEST = 8  # cost of the largest expression
OVER, INSIDE = 2, 3  # cost of the iterable and of the inside of a comprehension
LONGEST_OVER = 40  # items, in all environments together
ENOUGH = 4  # expressions that end the enumeration
MARGIN = 7.0  # bits of the wanted values beyond log2 of the number of values tried
PARTLY, CONDITION = 0.25, 0.25  # share of the operations for partial expressions, and for conditions
CONDITIONS, LONGEST_CONDITION = 12, 5  # number, and largest cost
ITEMS = frozenset(["list", "tuple", "str", "dict", "range"])  # iterables of a comprehension

Environment = Mapping[str, Any]


class Expression(NamedTuple):
    """Expression: text, precedence, cost, and value in each environment."""

    text: str
    level: int
    cost: int
    values: tuple[Any, ...]

    def within(self, demand: int) -> str:
        return self.text if self.level >= demand else f"({self.text})"


TOLD_APART = frozenset([set, range])  # kinds that `marshal` alone would distinguish although equal


def _told_apart(value: Any) -> Any:
    """Key that only equal values of a kind share, made of types that `marshal` knows."""
    match value:
        case set():
            return ("set", *sorted(map(repr, value)))
        case range():
            return ("range", value.start, value.stop)
    return value


def _applied(operation: Operation, given: Sequence[Any]) -> Any:
    """Value of an operation; `...` if it fails."""
    try:
        return ... if ... in given else operation.apply(*given)
    except Exception:
        return ...


def _written(operation: Operation, operands: Sequence[Expression]) -> str:
    return operation.template.format(*(each.within(demand) for each, demand in zip(operands, operation.demands)))


def information(values: Sequence[Any]) -> float:
    """Bits to write down the distinct values, roughly."""
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
    """Return whether these values could be evidence for any expression."""
    return information(wanted) > MARGIN


def expressions(
    environments: Sequence[Environment],
    wanted: Sequence[Any],
    constants: Sequence[Any],
    taken: frozenset[str] = frozenset(),
) -> list[Expression]:
    """Expressions with the wanted value in each environment, smallest first, as far as the values are evidence.

    `taken`: further names that are bound there, besides those of the environments.
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
    """Expressions with the wanted value in some environments: two or more, over `least`, as far as it is evidence.

    Expressions that satisfy most environments come first; one that satisfies no further environment is left out. In
    the others the value is another one, or `...` for none.
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
    """Conditions that hold in exactly these environments, smallest first."""
    search = Enumeration(environments, constants, True, CONDITION * APPLIED, tuple(wanted), taken, enough=CONDITIONS)
    search.run(LONGEST_CONDITION)
    return _smallest_first(search.found)


def _smallest_first(found: Sequence[Expression]) -> list[Expression]:
    return sorted({each.text: each for each in found}.values(), key=lambda each: each.cost)


class Enumeration:
    """Bottom-up enumeration: expressions of each cost are built from cheaper ones.

    Each tuple of values is kept once, with its first expression. `found` holds up to `enough` expressions with the
    wanted values, `partly` those with more than `least` of them. `evident`: accept only if the values are evidence.
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
        self.operations = sorted(
            usable, key=lambda each: each.gives not in ("", kind)
        )  # those of the wanted kind first
        self.seen: set[bytes] = set()
        self.of: dict[int, dict[str, list[Expression]]] = {}  # by cost and kind
        self.found: list[Expression] = []
        self.partly: list[Expression] = []
        self.enough, self.evident, self.least = enough, evident, least
        self.inside: dict[tuple[str, bool], dict[int, dict[str, list[Expression]]]] = {}  # of comprehensions
        self.applied = 0

    def run(self, most: int) -> None:
        """Enumerate up to cost `most`, within the limit; one cost level beyond the first expression found."""
        for name in self.names:
            self._keep(partial(str, name), ATOM, 1, tuple(each[name] for each in self.environments))
        if self.found:  # a larger expression would do the same
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
        """Return whether the wanted values are more than chance among all values tried."""
        return not self.evident or math.log2(max(1, len(self.seen))) < information(values) - MARGIN

    def _operands(self, takes: Sequence[frozenset[str]], cost: int) -> Iterator[tuple[Expression, ...]]:
        """Operands of these kinds whose costs add up to the given one."""
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
        except Exception:  # operands outside the operation's domain
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
        """Iterables of a comprehension: items and inner environments, over all environments in a row."""
        for over in [each for kind, some in self.of.get(cost, {}).items() if kind in ITEMS for each in some]:
            rows = [list(values) for values in over.values]
            if 2 <= sum(map(len, rows)) <= LONGEST_OVER:
                inside = [{**env, self.item: value} for env, row in zip(self.environments, rows) for value in row]
                yield over, rows, inside

    def _comprehend(self, cost: int) -> None:
        """Comprehensions that map or filter an iterable."""
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
        """Text and values of a comprehension."""
        cuts, x = pairwise(accumulate(map(len, rows), initial=0)), self.item
        cut = [body.values[a:b] for a, b in cuts]
        if not truth:
            return f"[{body.text} for {x} in {over.within(IN_COMPREHENSION)}]", tuple(map(list, cut))
        chosen = tuple([value for value, true in zip(row, trues) if true] for row, trues in zip(rows, cut))
        return f"[{x} for {x} in {over.within(IN_COMPREHENSION)} if {body.within(IN_COMPREHENSION)}]", chosen

    def _comprehend_to(self, own: int, most: int) -> None:
        """Comprehensions, deduced from the values that their insides must give (Lambda^2: Feser et al. 2015)."""
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
    """Values that the inside of a comprehension must give for each item: its result, or whether it is selected."""
    if list(map(len, rows)) == list(map(len, wanted)):
        yield False, tuple(value for row in wanted for value in row)
    elif all(len(row) >= len(want) for row, want in zip(rows, wanted)):
        trues = tuple(value in want for row, want in zip(rows, wanted) for value in row)
        if [[value for value in row if value in want] for row, want in zip(rows, wanted)] == wanted:
            yield True, trues


ITEMS = frozenset(["list", "tuple", "str", "dict", "range"])  # iterables of a comprehension
