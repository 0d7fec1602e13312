"""Near misses within strings: values and formats in them, and regular expressions. A string is replaced as a whole."""

from collections.abc import Iterator
from itertools import chain, islice

from kelp.diffusion import expression_mutations as e
from kelp.diffusion.tree_queries import nodes, replace
from kelp.syntax.edits import Edit
from kelp.syntax.program import Program, parse

LONGEST = 200  # bytes of a string that is edited
FORMATS = 24  # of one string, at most
EMBEDDED = 8  # expressions within strings that are edited, at most
WITHIN = (
    *map(e.operators, ("comparison operator", "binary operator", "boolean operator")),
    e.negation, e.constant, e.variable, e.offset, e.order, e.call, e.attribute, e.slices, e.operand, e.extra_argument,
)  # fmt: skip


def embedded(program: Program) -> Iterator[Edit]:
    """An expression within a string edited as it would be outside of it (kinds `WITHIN`): the string as a whole."""
    spans = program.language.near_miss.templates.embedded
    every = ((node, *span) for node in _short(program) for span in spans(program.text(node)))
    for node, start, end in islice(every, EMBEDDED):
        text, at = program.text(node), program.start[node] + 1
        inner = text[start:end]
        outside = program.source[: at - 1] + b"(" + inner + b")" + program.source[program.end[node] :]
        try:
            whole = parse(outside, program.language)
        except SyntaxError:
            continue
        for edit in chain.from_iterable(edits(whole) for edits in WITHIN):
            if at <= edit.start and edit.end <= at + len(inner):
                new = inner[: edit.start - at] + edit.text + inner[edit.end - at :]
                yield replace(program, node, text[:start] + new + text[end:])


def string_format(program: Program) -> Iterator[Edit]:
    """Another format of a value in a string; the string as a whole."""
    formats = program.language.near_miss.templates.formats
    for node in _short(program):
        end = program.end[node]
        made = formats(program.text(node), program.source[end : end + 10])
        yield from (replace(program, node, text) for text in islice(made, FORMATS))


def pattern(program: Program) -> Iterator[Edit]:
    """An anchor or a quantifier of a regular expression; the string as a whole."""
    patterns = program.language.near_miss.templates.patterns
    for node in _short(program):
        yield from (replace(program, node, text) for text in islice(patterns(program.text(node)), FORMATS))


def _short(program: Program) -> Iterator[int]:
    """Strings that are short enough to be edited."""
    return (node for node in nodes(program, "string") if program.end[node] - program.start[node] <= LONGEST)
