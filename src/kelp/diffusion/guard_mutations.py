"""Near misses that ask a question: whether a name is there, in a collection, within its bounds.

Guards, conditions, defaults and choices between two values.
"""

from collections.abc import Iterable, Iterator, Sequence

from kelp.diffusion.tree_queries import (
    SMALL,
    conditions,
    extensible,
    indentation,
    is_callee,
    is_use,
    lift,
    names_at,
    nodes,
    operands,
    operator,
    plays,
    put,
    results,
    statements,
    values,
)
from kelp.syntax.edits import Edit
from kelp.syntax.program import Program
from kelp.syntax.sites import tail

GUARDED = 3  # names that guards ask about at one statement, nearest first


def absence(program: Program) -> Iterator[Edit]:
    """`x is not None` for `x` as a condition and `x is None` for `not x`, and back."""
    near = program.language.near_miss
    if not near.templates.presence:
        return
    missing, present = near.templates.presence
    for node in nodes(program, "comparison"):
        parts = operands(program, node)
        if len(parts) == 2:
            glue = program.source[program.end[parts[0]] : program.end[parts[1]]]
            if glue == present:
                yield lift(program, node, parts[0])
            elif glue == missing:
                yield put(program, node, near.negation[0] + program.text(parts[0]), near.negation[1])
    for node in conditions(program):
        if plays(program, node, "not"):
            inside = operands(program, node)[-1]
            if plays(program, inside, "name") or plays(program, inside, "attribute") or plays(program, inside, "call"):
                yield put(program, node, program.text(inside) + missing, near.templates.comparison)
        elif any(plays(program, node, role) for role in ("name", "attribute", "call", "subscript")):
            yield put(program, node, program.text(node) + present, near.templates.comparison)
            yield put(program, node, program.text(node) + missing, near.templates.comparison)


def membership(program: Program) -> Iterator[Edit]:
    """A further condition about a name, or about a key and what is looked up by it (`k in x`)."""
    near = program.language.near_miss
    pairs = dict.fromkeys(lookups(program))
    for node in extensible(program):
        if program.size(node) > 4 * SMALL:
            continue
        text = program.text(node)
        extra = [part for name in names_at(program, node)[:GUARDED] for part in asked(program, name)]
        extra += [key + joint + of for key, of in pairs for joint in near.templates.contains]
        for other in dict.fromkeys(extra):
            if other == text:
                continue
            for joint in sorted(near.operators["boolean operator"][0]):
                if joint == b"and" or len(text) < 40:  # `or` seldom follows a long condition
                    yield Edit(program.end[node], program.end[node], b" " + joint + b" " + other)
                    yield Edit(program.start[node], program.start[node], other + b" " + joint + b" ")


def lookups(program: Program) -> Iterator[tuple[bytes, bytes]]:
    """(key, collection) of each item that the program looks up by a name or an attribute."""
    for node in nodes(program, "subscript"):
        parts = operands(program, node)
        if len(parts) == 2 and (plays(program, parts[1], "name") or plays(program, parts[1], "attribute")):
            yield program.text(parts[1]), program.text(parts[0])


def asked(program: Program, name: bytes) -> list[bytes]:
    """Conditions about a name alone: it is true, not true, there."""
    near = program.language.near_miss
    return [name, near.negation[0] + name, *(name + part for part in near.templates.presence if part)]


def guard(program: Program) -> Iterator[Edit]:
    """An `if` with a jump put before a statement: for a name that is empty or missing, or a key that is not there."""
    templates = program.language.near_miss.templates
    if not templates.guard:
        return
    pairs, returned = list(dict.fromkeys(lookups(program))), small_results(program)
    loops = [range(program.start[loop] + 1, program.end[loop]) for loop in nodes(program, "loop")]
    for block in statements(program):
        for at, statement in enumerate(block):
            indent = indentation(program, statement)
            read = names_read(program, statement)
            if indent is None or program.language.near_miss.inert(program, statement) or (at and not read):
                continue
            looped = any(program.start[statement] in loop for loop in loops)
            place = program.start[statement] if at == 0 else tail(program, block[at - 1])
            before, after = (b"", b"\n" + indent) if at == 0 else (b"\n" + indent, b"")
            for ask in questions(program, statement, read, pairs):
                for jump in [*templates.skips * looped, *(returned if at == 0 or not looped else [])]:
                    text = templates.guard.replace(b"ASK", ask).replace(b"INDENT", indent).replace(b"JUMP", jump)
                    yield Edit(place, place, before + text + after)


def questions(
    program: Program, statement: int, read: set[bytes], pairs: Sequence[tuple[bytes, bytes]]
) -> Iterable[bytes]:
    """Conditions under which a statement may be skipped, about names and keys that it reads."""
    near, whole = program.language.near_miss, program.text(statement)
    names = [name for name in names_at(program, statement) if name in read][:GUARDED]
    keys = [(key, of) for key, of in pairs if key in read]
    asks = [near.negation[0] + name for name in names]
    asks += [name + near.templates.presence[0] for name in names]
    asks += [key + near.templates.contains[1] + of for key, of in keys if of in whole]
    asks += [key + end + of + b")" for key, of in keys for end in near.templates.ends]
    return dict.fromkeys(asks)


def small_results(program: Program) -> list[bytes]:
    """Statements that return a default or a small value which the program returns elsewhere."""
    near = program.language.near_miss
    returned = [value for node in nodes(program, "return") for value in operands(program, node)[:1]]
    texts = [program.text(value) for value in returned if program.size(value) <= 3]
    return list(dict.fromkeys(near.give + text for text in [*near.templates.defaults[:4], *texts]))


def names_read(program: Program, node: int) -> set[bytes]:
    """Names that a statement reads, its blocks left out where it is long."""
    stop = min(program.last[node], node + 6 * SMALL)
    return {program.text(n) for n in range(node, stop) if plays(program, n, "name") and is_use(program, n)}


def default(program: Program) -> Iterator[Edit]:
    """`x or []` for a value `x`, and back; a default for a name or attribute that is given."""
    near = program.language.near_miss
    tested = set(conditions(program))
    for node in nodes(program, "boolean"):
        if operator(program, node) == near.templates.otherwise[0] and node not in tested:
            yield lift(program, node, operands(program, node)[0])
    if not near.templates.otherwise[0]:
        return
    word, strength = near.templates.otherwise
    for node in values(program):
        if plays(program, node, "name") or plays(program, node, "attribute") or plays(program, node, "call"):
            above = program.parent[node]
            if is_callee(program, node) or plays(program, above, "binary") or plays(program, above, "comparison"):
                continue
            for value in near.templates.defaults[1:]:
                yield put(program, node, program.text(node) + b" " + word + b" " + value, strength)


def choice(program: Program) -> Iterator[Edit]:
    """A default where what a value is made of is empty or missing (`max(x) if x else 0`); the inverse is `operand`."""
    near = program.language.near_miss
    if not near.templates.choice:
        return
    for node in dict.fromkeys(results(program)):
        if program.size(node) > 2 * SMALL or any(
            plays(program, node, role) for role in ("choice", "literal", "assignment")
        ):
            continue
        names = [
            n for n in range(node, program.last[node])
            if (plays(program, n, "name") and is_use(program, n) and not is_callee(program, n))
            or (plays(program, n, "attribute") and not is_callee(program, n))
        ]  # fmt: skip
        for name in [*dict.fromkeys(program.text(n) for n in names)][:GUARDED]:
            for ask in (name, name + near.templates.presence[1]):
                for value in near.templates.defaults[:4]:
                    text = near.templates.choice.replace(b"VALUE", program.text(node)).replace(b"ASK", ask)
                    yield put(program, node, text.replace(b"ELSE", value), near.templates.choice_strength)
