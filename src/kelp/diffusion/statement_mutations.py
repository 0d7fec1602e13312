"""Near misses of statements: missing, extra, moved or mis-indented statements; returns, guards, else clauses."""

from collections.abc import Iterator
from itertools import pairwise

from kelp.diffusion.tree_queries import (
    bindings,
    bodies,
    child,
    indentation,
    insert_after,
    jumps,
    names_at,
    nodes,
    operands,
    optional_removals,
    others,
    plays,
    removals,
    replace,
    simple,
    statements,
    swap,
)
from kelp.syntax.edits import Edit
from kelp.syntax.program import Program
from kelp.syntax.sites import elements, tail

NAMES = 3  # names in scope tried as a returned value, nearest first
LARGE = 40  # most leaves rewritten to move a statement or change an else clause


def missing_guard(program: Program) -> Iterator[Edit]:
    """An if statement deleted, or replaced by its body."""
    for node, edit in removals(program, "statement"):
        if plays(program, node, "if"):
            yield edit
    for node in nodes(program, "if"):
        body = child(program, node, "consequence")
        if body is not None and program.last[body] == program.last[node]:
            inside = elements(program, body)
            if len(inside) == 1 and simple(program, inside[0]):
                yield replace(program, node, program.text(inside[0]))


def missing_return(program: Program) -> Iterator[Edit]:
    """A return statement deleted, or reduced to its value."""
    for node in nodes(program, "return"):
        for value in operands(program, node)[:1]:
            yield replace(program, node, program.text(value))
    for node, edit in removals(program, "statement"):
        if plays(program, node, "return"):
            yield edit


def extra_return(program: Program) -> Iterator[Edit]:
    """`return` before an expression statement; a name returned at the end of the function."""
    give = program.language.near_miss.give
    for node in nodes(program, "expression statement"):
        value = operands(program, node)[0]
        if not (plays(program, value, "assignment") or plays(program, value, "update")):
            yield replace(program, node, give + program.text(value))
    for node in nodes(program, "function"):
        body = child(program, node, "body")
        if body is not None:
            end = elements(program, body)[-1]
            if not plays(program, end, "return"):
                for name in names_at(program, program.last[end] - 1)[:NAMES]:
                    yield from insert_after(program, end, give + name)


def return_value(program: Program) -> Iterator[Edit]:
    """A name in scope, or none, instead of the returned value."""
    near = program.language.near_miss
    for node in nodes(program, "return"):
        for value in operands(program, node)[:1]:
            names = [] if plays(program, value, "name") else names_at(program, node)[:NAMES]
            for text in [*names, *near.absent]:
                yield replace(program, value, text)


def missing_statement(program: Program) -> Iterator[Edit]:
    """A statement deleted; the only one of an inner block replaced by a statement without effect."""
    kept: set[int] = set()
    for function in nodes(program, "function"):
        kept.update(elements(program, bodies(program, function)[0]))
    for node, edit in removals(program, "statement"):
        if not (plays(program, node, "if") or plays(program, node, "return")):
            yield edit
    for block in statements(program):
        if len(block) == 1 and block[0] not in kept and simple(program, block[0]):
            yield replace(program, block[0], program.language.near_miss.nothing)


def extra_statement(program: Program) -> Iterator[Edit]:
    """A call or an update repeated; a jump out of a loop inserted."""
    near = program.language.near_miss
    for node in nodes(program, "expression statement"):
        if plays(program, node + 1, "update") or plays(program, node + 1, "call"):
            yield from insert_after(program, node, program.text(node))
    for node in nodes(program, "loop"):
        body = child(program, node, "body")
        if body is not None:
            for block in statements(program):
                end = block[-1]
                if body < end < program.last[body] and simple(program, end) and not plays(program, end, "jump"):
                    yield from insert_after(program, end, near.leave)


def moved_statement(program: Program) -> Iterator[Edit]:
    """Two neighboring statements exchanged."""
    for block in statements(program):
        for first, second in pairwise(block):
            small = program.size(first) + program.size(second) <= LARGE
            if small and not program.language.near_miss.inert(program, first):
                yield swap(program, first, second)


def indent(program: Program) -> Iterator[Edit]:
    """A simple statement moved to the end of the block before it, or out of the block that it ends."""
    for block in statements(program):
        if indentation(program, block[0]) is None:
            continue
        for before, node in pairwise(block):
            start, end = tail(program, before), program.start[node]
            glue = program.source[start:end]
            if glue.strip() or b"\n" not in glue or not simple(program, node):
                continue
            lines, blanks = glue[: glue.rindex(b"\n") + 1], len(glue) - glue.rindex(b"\n") - 1
            widths: dict[bytes | None, None] = {}
            for deeper in statements(program):  # blocks that end with the statement before
                if before < deeper[0] and program.last[deeper[-1]] == program.last[before]:
                    widths[indentation(program, deeper[0])] = None
            if node == block[-1]:
                for outer in statements(program):
                    if outer[0] < node and any(
                        s < node < program.last[s] == program.last[node] for s in outer if s != node
                    ):
                        widths[indentation(program, outer[0])] = None
            for width in widths:
                if width is not None and len(width) != blanks:
                    yield Edit(start, end, lines + width)


def alternative(program: Program) -> Iterator[Edit]:
    """An else clause deleted, its statement or condition moved after the if statement; and the inverses.

    Nothing where every branch before ends in a jump: there an else clause changes nothing.
    """
    yield from optional_removals(program, "else")
    near, source, start, end = program.language.near_miss, program.source, program.start, program.end
    chain, alone = near.chained
    for node in nodes(program, "if"):
        clauses, indent = (
            [c for c in program.children(node) if plays(program, c, "else")],
            indentation(program, node),
        )
        if indent is None or program.size(node) > LARGE:
            continue
        for clause in clauses:
            if all(jumps(program, body) for body in bodies(program, node) if body < clause):
                continue
            if source.startswith(chain, start[clause]):
                rest = source[start[clause] + len(chain) : end[node]]
                yield replace(program, node, source[start[node] : start[clause]] + alone + rest)
            elif len(inside := elements(program, bodies(program, clause)[0])) == 1 and simple(program, inside[0]):
                kept = source[start[node] : start[clause]].rstrip()
                yield replace(program, node, kept + b"\n" + indent + program.text(inside[0]))
    for block in statements(program):
        for node, after in pairwise(block):
            if not plays(program, node, "if") or program.size(node) + program.size(after) > LARGE:
                continue
            before, last = bodies(program, node), program.children(node)[-1]
            if source.startswith(near.otherwise, start[last]) or all(jumps(program, body) for body in before):
                continue
            kept = source[start[node] : start[after]]
            inner = indentation(program, elements(program, before[0])[0])
            if plays(program, after, "if"):
                yield Edit(start[node], end[after], kept + chain + program.text(after)[len(alone) :])
            elif simple(program, after) and inner is not None:
                text = kept + near.otherwise + b"\n" + inner + program.text(after)
                yield Edit(start[node], end[after], text)


def statement(program: Program) -> Iterator[Edit]:
    """Another statement of the same family: break, continue, pass."""
    near = program.language.near_miss
    for block in statements(program):
        for node in block:
            for other in others(near.statements, program.text(node)):
                yield replace(program, node, other)


def update(program: Program) -> Iterator[Edit]:
    """`x = y` for `x += y`, and back where x is bound before."""
    for node in nodes(program, "update"):
        sign = child(program, node, "operator")
        if sign is not None:
            start, end = program.start[node], program.end[node]
            kept = program.source[start : program.start[sign]], program.source[program.end[sign] : end]
            yield Edit(start, end, b"=".join(kept))
    bound = {b.name: b for b in reversed(bindings(program))}
    for node in nodes(program, "assignment"):
        if not plays(program, program.parent[node], "expression statement"):
            continue
        left, right = child(program, node, "left"), child(program, node, "right")
        if left is None or right is None or child(program, node, "type") is not None:
            continue
        name = program.text(left)
        if plays(program, left, "name") and (name not in bound or bound[name].node >= left):
            continue
        glue = program.source[program.end[left] : program.start[right]]
        if not plays(program, left, "sequence") and glue.count(b"=") == 1:
            text = name + glue.replace(b"=", b"+=") + program.text(right)
            yield replace(program, node, text)
