"""Queries on a program's tree by the roles that nodes play, and edits built from nodes, for mutations."""

from collections.abc import Iterator
from functools import lru_cache

from kelp.syntax.edits import Edit
from kelp.syntax.program import Binding, Families, Program
from kelp.syntax.sites import element_span, elements, optional_span, tail

SMALL = 10  # most leaves of an expression that is wrapped, replaced or copied


@lru_cache(maxsize=16)
def editable(program: Program) -> dict[str, list[int]]:
    """Nodes that may be mutated, in preorder, by kind; operators under "operator"."""
    by_kind: dict[str, list[int]] = {"operator": []}
    inert, kind, field, last = program.language.near_miss.inert, program.kind, program.field, program.last
    named = program.named
    node = 1
    while node < len(kind):
        if named[node] and inert(program, node):
            node = last[node]
            continue
        by_kind.setdefault(kind[node], []).append(node)
        if field[node] in ("operator", "operators"):
            by_kind["operator"].append(node)
        node += 1
    return by_kind


@lru_cache(maxsize=16)
def bindings(program: Program) -> list[Binding]:
    return program.language.near_miss.bindings(program)


def kinds(program: Program, role: str) -> frozenset[str]:
    """Node kinds that play this role."""
    return program.language.near_miss.roles.get(role, frozenset())


def nodes(program: Program, role: str) -> list[int]:
    """Editable nodes that play this role, in preorder."""
    by_kind = editable(program)
    lists = [by_kind[kind] for kind in kinds(program, role) if kind in by_kind]
    return lists[0] if len(lists) == 1 else sorted(node for some in lists for node in some)


def plays(program: Program, node: int, role: str) -> bool:
    return program.kind[node] in kinds(program, role)


def child(program: Program, node: int, field: str) -> int | None:
    return next((c for c in program.children(node) if program.field[c] == field), None)


def operands(program: Program, node: int) -> list[int]:
    """Named children without comments."""
    return [c for c in program.children(node) if program.named[c] and program.kind[c] not in program.language.comments]


def operator(program: Program, node: int) -> bytes:
    sign = child(program, node, "operator")
    return b"" if sign is None else program.text(sign)


def names_at(program: Program, node: int) -> list[bytes]:
    """Names in scope at a node, nearest binding first."""
    visible = [b for b in bindings(program) if b.first <= node < b.stop]
    visible.sort(key=lambda b: abs(b.node - node))
    return list(dict.fromkeys(b.name for b in visible if b.name not in program.language.near_miss.receivers))


def is_use(program: Program, node: int) -> bool:
    """Return whether this identifier reads a variable."""
    above = program.kind[program.parent[node]]
    category = program.language.category(program.kind[node], program.field[node], above, True)
    return category in ("expression", "argument", "element")


def is_callee(program: Program, node: int) -> bool:
    return program.field[node] == "function" and plays(program, program.parent[node], "call")


def indentation(program: Program, node: int) -> bytes | None:
    """Blanks before a node on its line; None where the line begins with something else."""
    before = program.source[program.source.rfind(b"\n", 0, program.start[node]) + 1 : program.start[node]]
    return None if before.strip() else before


@lru_cache(maxsize=16)
def statements(program: Program) -> list[list[int]]:
    """Statements of each block, outer blocks first."""
    lists = [kind for kind, rule in program.language.lists.items() if rule.element == "statement"]
    blocks = sorted(block for kind in lists for block in editable(program).get(kind, ()))
    return [elements(program, block) for block in blocks]


def simple(program: Program, node: int) -> bool:
    """Return whether the statement is code without a block inside."""
    return not plays(program, node, "compound") and not program.language.near_miss.inert(program, node)


def bodies(program: Program, node: int) -> list[int]:
    """Blocks of a statement and of its clauses."""
    lists = program.language.lists
    inside = [c for child in program.children(node) for c in (child, *program.children(child))]
    return [c for c in inside if program.kind[c] in lists and lists[program.kind[c]].element == "statement"]


def jumps(program: Program, block: int) -> bool:
    """Return whether a block ends in a jump (a return, a break)."""
    return plays(program, elements(program, block)[-1], "jump")


def results(program: Program) -> Iterator[int]:
    """Returned values and assigned values."""
    for node in nodes(program, "return"):
        yield from operands(program, node)[:1]
    for role in ("assignment", "update"):
        for node in nodes(program, role):
            right = child(program, node, "right")
            if right is not None:
                yield right


def conditions(program: Program) -> Iterator[int]:
    """Conditions of statements and choices, and the operands of `and` and `or`."""
    for node in nodes(program, "tested"):
        condition = child(program, node, "condition")
        yield condition if condition is not None else operands(program, node)[0]
    for node in nodes(program, "choice"):
        yield operands(program, node)[1]
    for node in nodes(program, "boolean"):
        yield from operands(program, node)


def extensible(program: Program) -> list[int]:
    """Conditions to which `and` or `or` and another condition may be added, in preorder."""
    return sorted(
        {
            node
            for kind, field in program.language.conditions
            for above in editable(program).get(kind, ())
            for node in program.children(above)
            if program.field[node] == field
        }
    )


def replace(program: Program, node: int, text: bytes) -> Edit:
    return Edit(program.start[node], program.end[node], text)


def put(program: Program, place: int, text: bytes, strength: int) -> Edit:
    """Replace an expression by a text of this strength, in parentheses where the place demands them."""
    if strength < program.language.near_miss.demand(program, place):
        text = b"(" + text + b")"
    return replace(program, place, text)


def lift(program: Program, place: int, node: int) -> Edit:
    """Replace an expression by another one of the program."""
    return put(program, place, program.text(node), program.language.near_miss.strength(program, node))


def prefixed(program: Program, node: int, prefix: tuple[bytes, int]) -> Edit:
    """Insert a prefix operator before an expression."""
    (sign, level), text = prefix, program.text(node)
    if program.language.near_miss.strength(program, node) < level:
        text = b"(" + text + b")"
    return put(program, node, sign + text, level)


def swap(program: Program, left: int, right: int) -> Edit:
    """Exchange two nodes; `left` comes before `right`."""
    glue = program.source[program.end[left] : program.start[right]]
    text = program.text(right) + glue + program.text(left)
    return Edit(program.start[left], program.end[right], text)


def removals(program: Program, category: str) -> Iterator[tuple[int, Edit]]:
    """Each list element of the category that can be deleted, with the edit that deletes it."""
    language = program.language
    for kind, rule in language.lists.items():
        if rule.element != category:
            continue
        for node in editable(program).get(kind, ()):
            parts = elements(program, node)
            if len(parts) <= rule.smallest:
                continue
            for i, part in enumerate(parts):
                if language.near_miss.inert(program, part) or not language.may_drop(program, part):
                    continue
                yield part, Edit(*element_span(program, parts, i), b"")


def optional_removals(program: Program, role: str) -> Iterator[Edit]:
    """Deletions of the nodes of a role that their parents can do without."""
    for node in nodes(program, role):
        if program.kind[node] in program.language.optional and program.language.may_drop(program, node):
            yield Edit(*optional_span(program, node), b"")


def insert_after(program: Program, statement: int, text: bytes) -> Iterator[Edit]:
    """Insert a statement on the line after another; nothing where that one does not begin its line."""
    indent = indentation(program, statement)
    if indent is not None:
        end = tail(program, statement)
        yield Edit(end, end, b"\n" + indent + text)


def others(families: Families, text: bytes) -> list[bytes]:
    """All other members of the families that contain the text, sorted."""
    return sorted({other for family in families if text in family for other in family} - {text})


@lru_cache(maxsize=16)
def values(program: Program) -> list[int]:
    """Expressions that a program reads and that may be wrapped: arguments, results, operands, what a loop goes over."""
    places: list[int] = []
    for role in ("arguments", "sequence"):
        for node in nodes(program, role):
            places += elements(program, node)
    for role in ("binary", "comparison", "boolean"):
        for node in nodes(program, role):
            places += operands(program, node)
    places += results(program)
    for role in ("loop", "clause"):
        for node in nodes(program, role):
            over = child(program, node, "right")
            places += [] if over is None else [over]
    for node in nodes(program, "subscript"):
        places += [c for c in program.children(node) if program.field[c] == "subscript"]
    for node in nodes(program, "keyword argument"):
        value = child(program, node, "value")
        places += [] if value is None else [value]
    small = (node for node in sorted(set(places)) if program.named[node] and program.size(node) <= SMALL)
    return [node for node in small if is_value(program, node)]


def is_value(program: Program, node: int) -> bool:
    """Return whether the node is a name, attribute, subscript, call or operation that is read, not written."""
    if plays(program, node, "name"):
        return is_use(program, node) or plays(program, program.parent[node], "keyword argument")
    return not is_target(program, node) and any(
        plays(program, node, role) for role in ("attribute", "subscript", "call", "binary")
    )


def is_target(program: Program, node: int) -> bool:
    """Return whether an assignment or a loop writes to the node."""
    above = program.parent[node]
    writes = any(plays(program, above, role) for role in ("assignment", "update", "loop", "clause"))
    return writes and program.field[node] == "left"
