"""Swaps: near misses of one operator or constant, the first thing that a person tries."""

from kelp.diffusion.mutations import KINDS
from kelp.search.suspicion import line_weights, may_matter
from kelp.syntax.edits import Edit
from kelp.syntax.program import Program

SWAPS = ("comparison", "constant", "offset", "binary operator", "boolean operator", "assignment operator")


def swaps(program: Program, suspicion: tuple[float, ...]) -> list[Edit]:
    """Return the swaps on lines that failing tests execute: comparisons off by one, then the most suspicious lines."""
    weight, relevant = line_weights(program, suspicion), may_matter(program, suspicion)
    found = dict.fromkeys(edit for kind in SWAPS for edit in KINDS[kind].edits(program))
    return sorted(
        filter(relevant, found), key=lambda edit: (not is_off_by_one(program, edit), -weight(edit.start, edit.end))
    )


def is_off_by_one(program: Program, edit: Edit) -> bool:
    """Return whether an edit takes `<` for `<=`, `>` for `>=`, or the other way round."""
    operator = program.source[edit.start : edit.end]
    return {operator, edit.text} in ({b"<", b"<="}, {b">", b">="})
