"""Near misses that add or take off a piece around what is there: calls, receivers, keywords, copies.

Some kinds have both directions; the inverse of the others is a kind of `expression_mutations` or
`statement_mutations`. The pieces come from the tables of the language and from the names, attributes, subscripts and
conditions of the program itself.
"""

from collections.abc import Iterator
from itertools import pairwise

from kelp.diffusion.tree_queries import (
    SMALL,
    bindings,
    bodies,
    child,
    indentation,
    is_callee,
    is_target,
    is_use,
    is_value,
    lift,
    names_at,
    nodes,
    operands,
    others,
    plays,
    put,
    replace,
    simple,
    statements,
    values,
)
from kelp.syntax.edits import Edit
from kelp.syntax.program import Program
from kelp.syntax.sites import elements

COPIES = 4  # expressions of the program tried in one place, nearest first


def wrap(program: Program) -> Iterator[Edit]:
    """A value, or every argument of a call, converted (`int(x)` for `x`); the inverse belongs to `call`."""
    near = program.language.near_miss
    for node in values(program):
        text, above = program.text(node), program.parent[node]
        outer = program.text(program.parent[above] + 1) if plays(program, above, "arguments") else b""
        for callee in near.templates.wrappers:
            if callee != outer and not text.startswith(callee + b"("):
                yield replace(program, node, callee + b"(" + text + b")")
    for node in nodes(program, "arguments"):
        parts = elements(program, node)
        if 2 <= len(parts) <= 4 and all(is_value(program, part) and program.size(part) <= SMALL for part in parts):
            for callee in near.templates.wrappers:
                whole = b", ".join(callee + b"(" + program.text(part) + b")" for part in parts)
                yield replace(program, node, b"(" + whole + b")")


def method(program: Program) -> Iterator[Edit]:
    """A method called on a value (`x.strip()` for `x`); another way to look up an item (`x.get(k)` for `x[k]`)."""
    near = program.language.near_miss
    for node in values(program):
        if plays(program, node, "binary") or is_callee(program, node):
            continue
        looped = program.field[node] == "right" and not plays(program, program.parent[node], "assignment")
        for name in near.templates.iterated if looped else near.templates.methods:
            yield replace(program, node, program.text(node) + b"." + name + b"()")
    for before, after in near.templates.lookups:
        for node in nodes(program, "subscript"):
            parts = operands(program, node)
            if len(parts) == 2 and not is_target(program, node) and not plays(program, parts[1], "slice"):
                yield replace(program, node, program.text(parts[0]) + before + program.text(parts[1]) + after)
        for node in nodes(program, "call"):
            callee, arguments = operands(program, node)[:2]
            passed = elements(program, arguments) if plays(program, arguments, "arguments") else []
            dot = program.source.rfind(b".", 0, program.start[arguments])
            named = program.source[max(dot, 0) : program.start[arguments]] + b"("
            if plays(program, callee, "attribute") and named == before and passed:
                owner, index = program.text(callee + 1), program.text(passed[0])
                yield replace(program, node, owner + b"[" + index + b"]")
                if len(passed) == 2:
                    yield replace(program, node, owner + before + index + after)


def item(program: Program) -> Iterator[Edit]:
    """The first or last item, or a slice, of a value; the inverse belongs to `operand`."""
    near = program.language.near_miss
    for node in values(program):
        if not plays(program, node, "binary") and not is_callee(program, node):
            for index in near.templates.items:
                yield replace(program, node, program.text(node) + index)


def awaited(program: Program) -> Iterator[Edit]:
    """`await` put before a call of an async function, and taken away."""
    near = program.language.near_miss
    for node in nodes(program, "await"):
        if program.named[node]:  # and not the keyword
            yield lift(program, node, operands(program, node)[-1])
    if near.templates.suspends[0] and near.templates.suspends[1].match(program.source):
        for node in nodes(program, "call"):
            if not plays(program, program.parent[node], "await"):
                yield put(program, node, near.templates.suspends[0] + program.text(node), near.templates.suspends[2])


def keyword(program: Program) -> Iterator[Edit]:
    """An argument given by keyword, by position, or under another keyword."""
    near = program.language.near_miss
    for node in nodes(program, "call"):
        callee, arguments = operands(program, node)[:2]
        if not plays(program, arguments, "arguments"):
            continue
        known = near.templates.keywords.get(program.text(program.last[callee] - 1), ())
        for part in elements(program, arguments):
            text = program.text(part)
            if plays(program, part, "keyword argument"):
                label, value = child(program, part, "name"), child(program, part, "value")
                if label is not None and value is not None:
                    yield replace(program, part, program.text(value))
                    for other in known:
                        if other != program.text(label):
                            yield replace(program, label, other)
            elif not plays(program, part, "special argument"):
                names = [text] if plays(program, part, "name") else []
                for name in dict.fromkeys([*known, *names]):
                    yield replace(program, part, name + b"=" + text)


def receiver(program: Program) -> Iterator[Edit]:
    """An attribute of the object for a bare name, the bare name for the attribute, and another object before it."""
    near = program.language.near_miss
    bound = {b.name for b in bindings(program)}
    own = bound & near.receivers
    members = dict.fromkeys(
        program.text(node + 2)
        for node in nodes(program, "attribute")
        if program.text(node + 1) in own and program.last[node] > node + 2
    )
    objects = dict.fromkeys(
        program.text(node + 1) for node in nodes(program, "attribute") if plays(program, node + 1, "name")
    )
    for node in nodes(program, "name"):
        name = program.text(node)
        if not is_use(program, node) or name in near.receivers:
            continue
        for owner in sorted(own):
            if name not in bound or name in members or not is_callee(program, node):
                yield replace(program, node, owner + b"." + name)
    for node in nodes(program, "attribute"):
        member = child(program, node, "attribute")
        if member is None or not plays(program, node + 1, "name"):
            continue
        owner = program.text(node + 1)
        if owner in own and program.text(member) in bound and not is_callee(program, node):
            yield replace(program, node, program.text(member))
        for other in [o for o in [*sorted(own), *objects] if o != owner and o in bound][:COPIES]:
            yield replace(program, node + 1, other)
        if owner not in own:
            for each in sorted(own):
                yield replace(program, node + 1, each + b"." + owner)


def copied(program: Program) -> Iterator[Edit]:
    """A small expression of the function where another stands, or a name in scope for an expression."""
    known = [
        node
        for role in ("attribute", "call", "subscript")
        for node in nodes(program, role)
        if program.size(node) <= SMALL // 2 + 2 and not is_callee(program, node) and not is_target(program, node)
        and not plays(program, program.parent[node], "expression statement")
    ]  # fmt: skip
    for node in values(program):
        if is_callee(program, node):
            continue
        inside = range(node, program.last[node])
        near = sorted((k for k in known if k not in inside), key=lambda k: abs(k - node))
        texts = dict.fromkeys(program.text(k) for k in near)
        texts.pop(program.text(node), None)
        for text in [*texts][:COPIES]:
            yield replace(program, node, text)
        if not plays(program, node, "name"):
            for name in names_at(program, node)[:COPIES]:
                yield replace(program, node, name)


def accumulate(program: Program) -> Iterator[Edit]:
    """`x = max(x, y)` for `x = y`, `x.append(y)` for `x[i] = y` or `x = y`, and back."""
    near = program.language.near_miss
    for node in nodes(program, "assignment"):
        left, right = child(program, node, "left"), child(program, node, "right")
        if left is None or right is None or not plays(program, program.parent[node], "expression statement"):
            continue
        if plays(program, right, "assignment"):
            continue
        target, text = program.text(left), program.text(right)
        if plays(program, left, "sequence") or program.size(right) > 2 * SMALL:
            continue
        for chooser in near.templates.choosers:
            head = chooser + b"(" + target + b", "
            if text.startswith(head) and text.endswith(b")"):
                yield replace(program, right, text[len(head) : -1])
            elif not text.startswith(chooser):
                yield replace(program, right, head + text + b")")
        if plays(program, left, "subscript"):
            for name in near.templates.collects:
                yield replace(program, node, program.text(left + 1) + b"." + name + b"(" + text + b")")
    for node in nodes(program, "expression statement"):
        inner = node + 1
        if not plays(program, inner, "call"):
            continue
        callee, arguments = operands(program, inner)[:2]
        if plays(program, callee, "attribute") and plays(program, arguments, "arguments"):
            passed = elements(program, arguments)
            if len(passed) == 1 and program.text(program.last[callee] - 1) in near.templates.collects:
                of, value = program.text(callee + 1), program.text(passed[0])
                for index in (b"[0]", b"[-1]"):
                    yield replace(program, inner, of + index + b" = " + value)
                yield replace(program, inner, of + b" = " + value)
                yield replace(program, inner, of + b" += " + value)


def produce(program: Program) -> Iterator[Edit]:
    """`return x` for `yield x`, `yield from x` for `yield x`, and back."""
    near = program.language.near_miss
    for block in statements(program):
        for node in block:
            text = program.text(node)
            for family in near.templates.produces:
                begins = max((begin for begin in family if text.startswith(begin)), key=len, default=None)
                if begins is not None:
                    for other in others((family,), begins):
                        yield replace(program, node, other + text[len(begins) :])


def exception(program: Program) -> Iterator[Edit]:
    """A broader exception caught, or one more; one of several, alone."""
    near = program.language.near_miss
    for node in nodes(program, "handler"):
        for caught in operands(program, node)[:1]:
            text = program.text(caught)
            if plays(program, caught, "sequence"):
                for part in elements(program, caught):
                    yield replace(program, caught, program.text(part))
            elif plays(program, caught, "name"):
                for other in [*others(near.names, text), *near.templates.catches]:
                    if other != text:
                        yield replace(program, caught, b"(" + text + b", " + other + b")")
                        yield replace(program, caught, other)


def reset(program: Program) -> Iterator[Edit]:
    """An assignment before a loop moved to the loop's first line, and back."""
    for within in statements(program):
        for first, second in pairwise(within):
            if plays(program, second, "loop") and simple(program, first) and plays(program, first + 1, "assignment"):
                inside = bodies(program, second)[:1]
                parts = elements(program, inside[0]) if inside else []
                indent = indentation(program, parts[0]) if parts else None
                outer = indentation(program, first)
                if indent is None or outer is None or program.size(second) > 60:
                    continue
                at, start, end = program.start[parts[0]], program.start[second], program.end[second]
                line = program.text(first) + b"\n" + indent
                moved = program.source[start:at] + line + program.source[at:end]
                yield Edit(program.start[first], end, moved)
                yield Edit(at, at, line)
    for loop in nodes(program, "loop"):
        outer = indentation(program, loop)
        for block in bodies(program, loop)[:1]:
            parts = elements(program, block)
            if outer is None or len(parts) < 2 or not simple(program, parts[0]) or program.size(loop) > 60:
                continue
            if plays(program, parts[0] + 1, "assignment"):
                text = program.text(parts[0]) + b"\n" + outer
                rest = program.source[program.start[loop] : program.start[parts[0]]]
                rest += program.source[program.start[parts[1]] : program.end[loop]]
                yield Edit(program.start[loop], program.end[loop], text + rest)


def shared_default(program: Program) -> Iterator[Edit]:
    """None for a default that all calls share, which is made in the function instead, and back: the whole function."""
    near = program.language.near_miss
    missing = near.templates.presence[0] if near.templates.presence else None
    for function in nodes(program, "function")[:1]:
        first, indent = first_statement(program, function)
        if missing is None or indent is None or program.size(function) > 30 * SMALL:
            continue
        start, end = program.start[program.root], program.end[program.root]
        for parameter in nodes(program, "default"):
            name, value = child(program, parameter, "name"), child(program, parameter, "value")
            if name is None or value is None or program.parent[program.parent[parameter]] != function:
                continue
            text, absent = program.text(value), near.absent[0]
            ask = b"if " + program.text(name) + missing + b":\n" + indent + b"    " + program.text(name) + b" = "
            at, stop = program.start[value], program.end[value]
            if plays(program, value, "shared"):
                place = program.start[first]
                made = ask + text + b"\n" + indent
                yield Edit(start, end, program.source[start:at] + absent + program.source[stop:place] + made
                           + program.source[place:end])  # fmt: skip
            elif text == absent and program.text(first).startswith(ask):
                made = program.text(first)[len(ask) :]
                place = program.end[first]
                rest = program.source[place:end].lstrip()
                if b"\n" not in made and rest:
                    yield Edit(start, end, program.source[start:at] + made + program.source[stop : program.start[first]]
                               + rest)  # fmt: skip


def first_statement(program: Program, function: int) -> tuple[int, bytes | None]:
    """The first statement of a function that is no documentation, and its indentation."""
    body = elements(program, bodies(program, function)[0])
    first = next((node for node in body if not program.language.near_miss.inert(program, node)), body[0])
    return first, indentation(program, first)
