"""Near misses within expressions: operators, names, constants, arguments, bounds, conditions."""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise

from kelp.diffusion.tree_queries import (
    bindings,
    child,
    conditions,
    editable,
    extensible,
    is_callee,
    is_use,
    lift,
    names_at,
    nodes,
    operands,
    operator,
    optional_removals,
    others,
    plays,
    prefixed,
    put,
    removals,
    replace,
    results,
    swap,
)
from kelp.syntax.edits import Edit
from kelp.syntax.program import Program
from kelp.syntax.sites import elements, tail

NAMES_PER_USE = 6  # other names tried for one use of a name, nearest first
LONGEST_STRING = 24  # bytes of strings that replace one another
FACTORS = (b"*", b"/", b"//", b"%")  # operators in whose operands numbers are off by one: `(page - 1) * size`
ORDERS = (b"<", b"<=", b">", b">=")


def operators(category: str) -> Callable[[Program], Iterator[Edit]]:
    """The mutation that replaces an operator of this category by others of its family."""

    def edits(program: Program) -> Iterator[Edit]:
        language, kind, parent = program.language, program.kind, program.parent
        families = language.near_miss.operators.get(category, ())
        for node in editable(program)["operator"]:
            if language.category(kind[node], program.field[node], kind[parent[node]], False) == category:
                first = parent[node] + 1
                if category == "binary operator" and plays(program, first, "string"):
                    continue  # % formats
                for other in others(families, program.text(node)):
                    yield replace(program, node, other)

    return edits


def negation(program: Program) -> Iterator[Edit]:
    """`not x` for `x` and back, where `x` is or may be a truth value."""
    near = program.language.near_miss
    for node in nodes(program, "not"):
        yield lift(program, node, operands(program, node)[-1])
    for node in truths(program):
        if not (plays(program, node, "not") or plays(program, node, "literal") or plays(program, node, "string")):
            if plays(program, node, "comparison") and len(operands(program, node)) == 2:
                continue  # the kind "comparison" has the opposite operator
            yield prefixed(program, node, near.negation)


def truths(program: Program) -> Iterator[int]:
    """Expressions used as truth values, and results that may be truth values."""
    near = program.language.near_miss
    yield from conditions(program)
    for node in results(program):
        if plays(program, node, "boolean") or plays(program, node, "comparison"):
            yield node
        elif plays(program, node, "call"):
            callee = program.text(program.last[node + 1] - 1)
            if near.truth.match(callee):
                yield node
        elif plays(program, node, "name") or plays(program, node, "subscript") or plays(program, node, "attribute"):
            yield node


def sign(program: Program) -> Iterator[Edit]:
    """`-x` for `x` and back; number literals are left to `constant`."""
    near = program.language.near_miss
    for node in nodes(program, "sign"):
        if operator(program, node) == near.sign[0] and not plays(program, operands(program, node)[0], "number"):
            yield lift(program, node, operands(program, node)[0])
    for node in nodes(program, "name"):
        place = program.parent[node]
        if is_use(program, node) and program.text(node) not in near.receivers and (
            plays(program, place, "arguments")
            or plays(program, place, "return")
            or plays(program, place, "sequence")
            or (plays(program, place, "subscript") and program.field[node] == "subscript")
            or (plays(program, place, "binary") and program.field[node] == "left")
        ):  # fmt: skip
            yield prefixed(program, node, near.sign)
    for node in nodes(program, "lambda"):  # the order that a key gives
        body = child(program, node, "body")
        keys = [] if body is None else elements(program, body) if plays(program, body, "sequence") else [body]
        yield from (prefixed(program, key, near.sign) for key in keys if may_be_negative(program, key))


def may_be_negative(program: Program, node: int) -> bool:
    """Return whether the form of an expression lets it be a number, which is not a name alone."""
    return is_number(program, node) or any(plays(program, node, role) for role in ("attribute", "subscript"))


def variable(program: Program) -> Iterator[Edit]:
    """Another name in scope, where a name is read or where one of several assignments writes it."""
    called = {program.text(n) for n in nodes(program, "name") if is_callee(program, n)}
    bound = Counter(b.name for b in bindings(program))
    assigned = {b.name for b in bindings(program) if program.field[b.node] == "left"}
    receivers = program.language.near_miss.receivers
    for node in nodes(program, "name"):
        name, above = program.text(node), program.parent[node]
        if name not in bound or name in receivers:
            continue
        target = program.field[node] == "left" and (
            plays(program, above, "update") or (plays(program, above, "assignment") and bound[name] > 1)
        )
        if not target and not is_use(program, node):
            continue
        names = names_at(program, node)
        if not target and name not in names:
            continue
        if target or is_callee(program, node):
            names = [n for n in names if n in (assigned if target else called)]
        for other in [n for n in names if n != name][:NAMES_PER_USE]:
            yield replace(program, node, other)


def constant(program: Program) -> Iterator[Edit]:
    """Numbers off by one, other signs and truth values, other short strings."""
    near = program.language.near_miss
    for node in nodes(program, "literal"):
        for other in near.literals(program, node):
            yield put(program, node, other, near.sign[1] if other.startswith(near.sign[0]) else near.literal)
    texts = list(dict.fromkeys(program.text(n) for n in nodes(program, "string")))
    for node in nodes(program, "string"):
        text = program.text(node)
        near_texts = near.strings(text)
        if near_texts or len(text) <= LONGEST_STRING:
            at = texts.index(text)
            near_texts += [t for t in texts[max(0, at - 1) : at + 2] if len(t) <= LONGEST_STRING and b"\n" not in t]
        for other in dict.fromkeys(near_texts):
            if other != text:
                yield replace(program, node, other)


def call(program: Program) -> Iterator[Edit]:
    """A function or method of the same family; the argument or the object without the call."""
    near = program.language.near_miss
    bound = {b.name for b in bindings(program)}
    for node in nodes(program, "name"):
        if is_use(program, node) and program.text(node) not in bound:
            for other in others(near.names, program.text(node)):
                yield replace(program, node, other)
    for node in nodes(program, "attribute"):
        name = child(program, node, "attribute")
        if name is not None and is_callee(program, node):
            for other in others(near.names, program.text(name)):
                yield replace(program, name, other)
    for node in nodes(program, "call"):
        if plays(program, program.parent[node], "expression statement"):
            continue
        callee, arguments = operands(program, node)[:2]
        if not plays(program, arguments, "arguments"):
            continue
        passed = elements(program, arguments)
        if len(passed) == 1 and plays(program, callee, "name") and not plays(program, passed[0], "special argument"):
            yield lift(program, node, passed[0])
        elif not passed and plays(program, callee, "attribute"):
            yield lift(program, node, callee + 1)


def attribute(program: Program) -> Iterator[Edit]:
    """Another attribute that the program reads from the same object, or one of the same family."""
    near = program.language.near_miss
    seen: dict[tuple[bytes, bool], dict[bytes, None]] = {}
    attributes = []
    for node in nodes(program, "attribute"):
        name = child(program, node, "attribute")
        if name is not None:
            key = (program.text(node + 1), is_callee(program, node))
            seen.setdefault(key, {})[program.text(name)] = None
            attributes.append((name, key))
    for name, key in attributes:
        text = program.text(name)
        family = [] if key[1] else others(near.names, text)
        for other in dict.fromkeys([t for t in seen[key] if t != text][:NAMES_PER_USE] + family):
            yield replace(program, name, other)


def order(program: Program) -> Iterator[Edit]:
    """Neighbors exchanged: arguments, elements, operands."""
    for role, most in (("arguments", 8), ("sequence", 4)):
        for node in nodes(program, role):
            parts = elements(program, node)
            if len(parts) <= most:
                for left, right in pairwise(parts):
                    yield swap(program, left, right)
    commutes = (b"*", b"&", b"|", b"^", b"==", b"!=", b"is", b"is not")
    near = program.language.near_miss
    for role in ("binary", "comparison"):
        for node in nodes(program, role):
            parts = operands(program, node)
            between = program.source[program.end[parts[0]] : program.start[parts[1]]].strip()
            if len(parts) == 2 and between not in commutes:
                demands = [near.demand(program, p) for p in parts]
                numbers = any(plays(program, p, "number") or is_number(program, p) for p in parts)
                if between in ORDERS or (between == b"+" and numbers):
                    continue  # a kind of its own mutates comparisons; sums are equal
                if near.strength(program, parts[0]) >= demands[1] and near.strength(program, parts[1]) >= demands[0]:
                    yield swap(program, *parts)


def missing_argument(program: Program) -> Iterator[Edit]:
    """An argument deleted."""
    for _, edit in removals(program, "argument"):
        yield edit


def missing_element(program: Program) -> Iterator[Edit]:
    """An element of a list, or a pair of a dictionary, deleted."""
    for category in ("element", "pair"):
        for _, edit in removals(program, category):
            yield edit


def extra_argument(program: Program) -> Iterator[Edit]:
    """An argument that the callee often takes, or a name in scope at the end."""
    near = program.language.near_miss
    for node in nodes(program, "call"):
        callee, arguments = operands(program, node)[:2]
        if not plays(program, arguments, "arguments"):
            continue
        passed = elements(program, arguments)
        texts = {program.text(part) for part in passed}
        usual = near.arguments.get(program.text(program.last[callee] - 1), ())
        extra = [(False, name) for name in names_at(program, node) if name not in texts][:2]
        for first, text in dict.fromkeys([*usual, *extra]):
            if not passed:
                at = program.end[arguments] - 1
                yield Edit(at, at, text)
            elif first:
                yield Edit(program.start[passed[0]], program.start[passed[0]], text + b", ")
            elif not plays(program, passed[-1], "special argument"):
                end = tail(program, passed[-1])
                yield Edit(end, end, b", " + text)


def offset(program: Program) -> Iterator[Edit]:
    """`x + 1` and `x - 1` for a number `x` that is no literal, and back."""
    near = program.language.near_miss
    for node in nodes(program, "binary"):
        left, right = operands(program, node)[:2]
        if operator(program, node) in (b"+", b"-") and program.text(right) == b"1":
            above = program.parent[node]
            yield lift(program, above if plays(program, above, "parentheses") else node, left)
    for node in dict.fromkeys(countables(program)):
        if plays(program, node, "binary") and plays(program, operands(program, node)[1], "number"):
            continue  # left to `constant`
        text = program.text(node)
        if near.strength(program, node) < near.sum:
            text = b"(" + text + b")"
        for more in (b" + 1", b" - 1"):
            yield put(program, node, text + more, near.sum)


def countables(program: Program) -> Iterator[int]:
    """Expressions that seem to be numbers, in places where mistakes by one are common."""
    for node in nodes(program, "subscript"):
        for index in program.children(node):
            if program.field[index] == "subscript":
                bounds = operands(program, index) if plays(program, index, "slice") else [index]
                yield from (b for b in bounds if plays(program, b, "name") or is_number(program, b))
    for node in nodes(program, "call"):
        callee, arguments = operands(program, node)[:2]
        if plays(program, arguments, "arguments"):
            counting = program.text(callee) in program.language.near_miss.arguments
            for part in elements(program, arguments):
                if is_number(program, part) or (counting and plays(program, part, "name")):
                    yield part
    for node in nodes(program, "comparison"):
        signs = [program.text(c) for c in program.children(node) if program.field[c] == "operators"]
        if all(s in ORDERS for s in signs):
            yield from (c for c in operands(program, node)[1:] if plays(program, c, "name") or is_number(program, c))
            yield from (c for c in operands(program, node)[:1] if is_number(program, c))
    for node in results(program):
        if is_number(program, node) or (plays(program, node, "name") and plays(program, node - 1, "return")):
            yield node
    for node in nodes(program, "binary"):
        parts = operands(program, node)
        if operator(program, node) in FACTORS and not any(plays(program, part, "string") for part in parts):
            yield from (part for part in parts if plays(program, part, "name") or is_number(program, part))


def is_number(program: Program, node: int) -> bool:
    """Return whether the form of an expression suggests that it is a number, as of `a + b` or `len(x)`."""
    if plays(program, node, "binary"):
        parts = operands(program, node)
        return operator(program, node) in (b"+", b"-", b"*", b"//") and not any(
            plays(program, p, "string") or plays(program, p, "sequence") for p in parts
        )
    if plays(program, node, "call"):
        return program.text(program.last[node + 1] - 1) in program.language.near_miss.numeric
    return False


def operand(program: Program) -> Iterator[Edit]:
    """One operand alone, one arm of a choice, the object instead of its item."""
    for node in nodes(program, "binary"):
        for part in operands(program, node)[:2]:
            yield lift(program, node, part)
    for node in nodes(program, "choice"):
        parts = operands(program, node)
        yield lift(program, node, parts[0])
        yield lift(program, node, parts[-1])
    for node in nodes(program, "subscript"):
        if program.field[node] != "left":
            yield lift(program, node, node + 1)


def slices(program: Program) -> Iterator[Edit]:
    """Slice bounds deleted and inserted."""
    for node in nodes(program, "slice"):
        bounds: list[bytes] = [b""]
        for part in program.children(node):
            if program.text(part) == b":":
                bounds.append(b"")
            elif program.named[part]:
                bounds[-1] = program.text(part)
        lower, upper, step = (bounds + [b""])[:3]
        variants = [(b"", upper, step), (lower, b"", step), (lower, upper, b"")]
        if not lower:
            variants.append((b"1", upper, step))
        if not upper:
            variants.append((lower, b"-1", step))
        if not step and not (lower and upper):
            variants += [(lower, upper, b"-1"), (lower, upper, b"2")]
        for low, high, by in variants:
            yield replace(program, node, low + b":" + high + (b":" + by if by else b""))


def missing_condition(program: Program) -> Iterator[Edit]:
    """One side of `and` or `or`, or the condition of a comprehension, deleted."""
    for node in nodes(program, "boolean"):
        left, right = operands(program, node)[:2]
        yield Edit(program.end[left], program.end[right], b"")
        yield Edit(program.start[left], program.start[right], b"")
    yield from optional_removals(program, "filter")


def extra_condition(program: Program) -> Iterator[Edit]:
    """A further condition: the nearest other one of the function, or a name."""
    places = extensible(program)
    known = [node for node in places if not plays(program, node, "boolean") and program.size(node) <= 8]
    for node in places:
        inside = range(node, program.last[node])
        texts = [program.text(k) for k in sorted(known, key=lambda k: abs(k - node)) if k not in inside]
        texts = [t for t in dict.fromkeys(texts) if t != program.text(node) and b"\n" not in t][:1]
        for text in texts + names_at(program, node)[:1]:
            for joint in sorted(program.language.near_miss.operators["boolean operator"][0]):
                if program.text(node) != text:
                    yield Edit(program.end[node], program.end[node], b" " + joint + b" " + text)


def initial_value(program: Program) -> Iterator[Edit]:
    """Another initial value of the same family, in an assignment or a default."""
    near = program.language.near_miss
    places = [child(program, node, "right") for node in nodes(program, "assignment")]
    places += [child(program, node, "value") for node in nodes(program, "default")]
    for node in places:
        if node is not None:
            for other in others(near.values, program.text(node)):
                yield replace(program, node, other)
