"""The one definition of where an edit may go, for mutation, diff, training targets, decoding and search."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from kelp.syntax.edits import Edit
from kelp.syntax.program import Program, tree_of

Key = tuple[int, int, str]  # start, end, op; unique among the sites of a program


class Site(NamedTuple):
    """A place where an edit may go: a span, an operation on it, and the category of the text to write.

    replace: any text of the category in place of the span. insert: at an empty span between two elements.
    delete: the span is one element with its separator, and the text is empty.
    """

    start: int
    end: int
    op: str
    category: str


def elements(program: Program, node: int) -> list[int]:
    """Children of a node that an edit may replace; the text between them is glue (separators, space)."""
    kind, category = program.kind, program.language.category
    return [
        child
        for child in program.children(node)
        if category(kind[child], program.field[child], kind[node], program.named[child]) is not None
    ]


def tail(program: Program, node: int) -> int:
    """End of an element, including a comment after it on its line."""
    after = program.last[node]
    end = program.end[node]
    if (
        after < len(program.kind)
        and program.parent[after] == program.parent[node]
        and program.kind[after] in program.language.comments
        and b"\n" not in program.source[end : program.end[after]]
    ):
        return program.end[after]
    return end


@lru_cache(maxsize=64)
def sites(program: Program) -> tuple[Site, ...]:
    """Every place where an edit may go, in preorder, at most one for each (start, end, op).

    Where several nodes have one span, the category is the outermost node's, since it admits the most texts.
    """
    language, source, root = program.language, program.source, program.root
    kind, field, named, parent = program.kind, program.field, program.named, program.parent
    start, end = program.start, program.end
    lists, optional, conditions, results = language.lists, language.optional, language.conditions, language.results
    found: dict[Key, str] = {}

    def add(start: int, end: int, op: str, category: str) -> None:
        found.setdefault((start, end, op), category)

    for node in range(1, len(kind)):
        above = parent[node]
        category = language.category(kind[node], field[node], kind[above], named[node])
        if category is not None and end[node] > start[node]:
            add(start[node], end[node], "replace", "program" if node == root else category)
        rule = lists.get(kind[node])
        if rule is not None:
            parts = elements(program, node)
            ends = [tail(program, part) for part in parts]
            for i, part in enumerate(parts):
                if i == 0:
                    add(start[part], start[part], "insert", rule.element)
                else:
                    glue = source[ends[i - 1] : start[part]]
                    add(start[parts[i - 1]], end[part], "replace", rule.plural)
                    if rule.element == "statement" and not glue.strip() and b"\n" in glue:
                        add(ends[i - 1], start[part], "replace", "indent")
                if len(parts) > rule.smallest and language.may_drop(program, part):
                    add(*element_span(program, parts, i), "delete", rule.element)
                add(ends[i], ends[i], "insert", rule.element)
            if not parts and rule.smallest == 0:
                inside = end[node] - (named[node] and end[node] > start[node])
                add(inside, inside, "insert", rule.element)
        if category is None:
            continue
        if kind[node] in optional:
            if language.may_drop(program, node):
                add(*optional_span(program, node), "delete", category)
            add(tail(program, node), tail(program, node), "insert", category)
        place = (kind[above], field[node])
        if place in conditions or place in results:
            add(end[node], end[node], "insert", "condition")
            add(start[node], start[node], "insert", "leading condition")
        if (kind[node], "left") in conditions:
            left, *_, right = elements(program, node)
            add(end[left], end[right], "delete", "condition")
            add(start[left], start[right], "delete", "leading condition")
    return tuple(Site(*key, category) for key, category in found.items())


def element_span(program: Program, parts: Sequence[int], i: int) -> tuple[int, int]:
    """Span to delete for the i-th element of a list: the element and the separator to one of its neighbors."""
    start, end = program.start, program.end
    if i > 0:
        return tail(program, parts[i - 1]), tail(program, parts[i])
    return start[parts[0]], start[parts[1]] if len(parts) > 1 else end[parts[0]]


def optional_span(program: Program, node: int) -> tuple[int, int]:
    """Span to delete for a node that its parent can do without."""
    siblings, comments = program.children(program.parent[node]), program.language.comments
    before, stop = max(c for c in siblings if c < node and program.kind[c] not in comments), tail(program, node)
    ends_line = program.source[stop:].lstrip(b" \t\f")[:1] in (b"\n", b"\r", b"")
    # Unless the line ends here, a comment in front is deleted too: it would swallow the rest of the line.
    return tail(program, before) if ends_line else program.end[before], stop


@lru_cache(maxsize=64)
def site_index(program: Program) -> dict[Key, int]:
    """Index into `sites` by (start, end, op)."""
    return {(site.start, site.end, site.op): i for i, site in enumerate(sites(program))}


def key(edit: Edit) -> Key:
    """Key of an edit's site."""
    op = "delete" if not edit.text else "insert" if edit.start == edit.end else "replace"
    return edit.start, edit.end, op


def make_edit(program: Program, site: Site, text: bytes) -> Edit | None:
    """The edit that writes `text` at the site; None where the result would not be valid."""
    if (site.op == "delete") == bool(text):
        return None
    edit = Edit(site.start, site.end, text)
    return edit if is_valid(program, edit) else None


def is_valid(program: Program, edit: Edit) -> bool:
    """Return whether the result is another valid program and still one whole definition."""
    result, language = edit.apply(program.source), program.language
    top = tree_of(result, language).root_node
    if result == program.source or top.has_error or top.child_count != len(program.children(0)):
        return False
    end = len(result) - (len(program.source) - program.end[program.root])
    return any(child.end_byte == end for child in top.children) and language.compiles(result)
