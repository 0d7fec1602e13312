"""Python expressions and simple statements as terms: a form with holes, and a term for each hole.

Parentheses and the amount of space are no part of a term, so `f( a,b )` and `(f(a, b))` are equal. A place where only
truth counts (a condition, the operand of `not`) makes a term of its own, since more terms are equal there.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from kelp.diffusion.tree_queries import child, operands, plays
from kelp.languages.registry import by_name
from kelp.syntax.program import Program, parse

Form = tuple[bytes | None, ...]  # lexical tokens; None for each hole
HOLES = frozenset({"expression", "argument", "element", "block"})  # categories
LANGUAGE = by_name("python")  # of rules and terms
TRUTH: Form = (b"truth", None)  # its first token writes no text


@dataclass(frozen=True, slots=True)
class Term:
    """A form and the terms in its holes. `node`, its place in the program it was read from, does not count in `==`."""

    form: Form
    parts: tuple["Term", ...] = ()
    node: int = -1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Term) and self.form == other.form and self.parts == other.parts

    def __hash__(self) -> int:
        return hash((self.form, self.parts))

    def walk(self) -> Iterator["Term"]:
        """The term and all of its parts, in preorder."""
        yield self
        for part in self.parts:
            yield from part.walk()


def read(program: Program, node: int) -> Term | None:
    """Read the term of a node; None where a comment stands between its parts."""
    node = bare(program, node)
    if plays(program, node, "expression statement") and is_hole(program, node + 1):
        return read(program, node + 1)
    if program.kind[node] == "block" and len(program.children(node)) == 1:
        return read(program, node + 1) or Term((program.text(node),), (), node)
    shape = form(program, node)
    if shape is None:
        return None
    parts = []
    for hole in shape[1]:
        part = read(program, hole)
        if part is None:
            return None
        parts.append(part)
    found = Term(shape[0], tuple(parts), node)
    return Term(TRUTH, (found,), node) if is_tested(program, node) else found


def bare(program: Program, node: int) -> int:
    """The node inside any parentheses around it."""
    while plays(program, node, "parentheses") and len(program.children(node)) == 3:  # no comment beside it
        node = program.children(node)[1]
    return node


def form(program: Program, node: int) -> tuple[Form, list[int]] | None:
    """The form of a node and the nodes in its holes; None where a comment stands between them."""
    if program.is_leaf(node) or program.kind[node] == "block":
        return (program.text(node),), []
    tokens: list[bytes | None] = []
    holes = []
    left = program.children(node)[::-1]
    while left:
        at = left.pop()
        if program.kind[at] in program.language.comments:
            return None
        if is_hole(program, at):
            tokens.append(None)
            holes.append(at)
        elif program.is_leaf(at):
            tokens.append(b" ".join(program.text(at).split()) if not program.named[at] else program.text(at))
        else:
            left += program.children(at)[::-1]
    return tuple(tokens), holes


def is_hole(program: Program, node: int) -> bool:
    """Return whether the node is a part that may be any expression: a hole of the form."""
    kind, above = program.kind[node], program.kind[program.parent[node]]
    category = program.language.category(kind, program.field[node], above, program.named[node])
    if category in HOLES:
        inline = plays(program, node, "special argument") or plays(program, node, "slice") or kind == "expression_list"
        return not inline or (kind == "generator_expression" and above != "call")
    targets = plays(program, node, "name") or plays(program, node, "attribute") or plays(program, node, "subscript")
    return category in ("pattern", "parameter") and targets


def is_tested(program: Program, node: int) -> bool:
    """Return whether only the truth of the node's value counts in its place."""
    above = program.parent[node]
    while above >= 0 and plays(program, above, "parentheses"):
        node, above = above, program.parent[above]
    if above < 0:
        return False
    if plays(program, above, "not"):
        return True
    if plays(program, above, "tested"):
        return node == (child(program, above, "condition") or operands(program, above)[0])
    if plays(program, above, "choice"):
        return node == operands(program, above)[1]
    return plays(program, above, "boolean") and is_tested(program, above)


@lru_cache(maxsize=4096)
def binding(shape: Form) -> tuple[int, tuple[int, ...]] | None:
    """Precedence of a form: its strength, and the demand of each hole (see `NearMiss`).

    None where the form with a name in each hole is no expression or statement of one line.
    """
    near = LANGUAGE.near_miss
    try:
        program = parse(join([b"x" if token is None else token for token in shape]), LANGUAGE)
    except SyntaxError:
        return None
    node = 1
    if plays(program, node, "expression statement") and is_hole(program, node + 1):
        node += 1
    same = form(program, node)
    if same is None or same[0] != shape:
        return None
    return near.strength(program, node), tuple(near.demand(program, hole) for hole in same[1])


def write(term: Term) -> bytes | None:
    """The usual text of a term; None where a part of it does not go on one line."""
    found = pieces(term)
    return None if found is None else join(found[0])


def pieces(term: Term) -> tuple[list[bytes], int] | None:
    """The tokens of a term with the parentheses that it needs, and its strength; None as for `write`."""
    if term.form == TRUTH:
        return pieces(term.parts[0])
    bound = binding(term.form)
    if bound is None:
        return None
    found: list[bytes] = []
    parts = iter(zip(term.parts, bound[1]))
    for token in term.form:
        if token is not None:
            found.append(token)
            continue
        part, demand = next(parts)
        inner = pieces(part)
        if inner is None:
            return None
        found += inner[0] if inner[1] >= demand else [b"(", *inner[0], b")"]
    return found, bound[0]


def join(tokens: list[bytes]) -> bytes:
    """Join tokens with the usual space between them."""
    text, before, left = b"", b"", b""
    brackets: list[bytes] = []
    for token in tokens:
        if not token:
            continue
        after = b"x" if left in (b"-", b"~") and token in (b"(", b"[") else token  # no space after a sign
        bound = brackets[-1:] == [b"["] and (left == b":" or token == b":")  # the colon of a slice
        text += (b"" if bound else LANGUAGE.default_gap(before, left, after, bool(brackets))) + token
        if token in (b"(", b"[", b"{"):
            brackets.append(token)
        elif token in (b")", b"]", b"}"):
            brackets.pop()
        before, left = left, token.split()[-1] if token[:1].isalpha() else token  # `not in` spaces as `in`
    return text
