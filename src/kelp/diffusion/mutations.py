"""Near misses: the small edits by which people get a program wrong, by kind of mistake.

The same edits break programs for training and repair them in the no-model baseline, so the kinds contain each
other's inverses wherever those can be enumerated. The tables of a language are in its `near_miss`, the shapes of the
edits in `expression_mutations` and `statement_mutations`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from kelp.diffusion import expression_mutations as e
from kelp.diffusion import statement_mutations as s
from kelp.syntax.edits import Edit
from kelp.syntax.program import Program
from kelp.syntax.sites import is_valid


@dataclass(frozen=True, slots=True)
class Mutation:
    """A kind of mistake and the edit that makes it in one program."""

    kind: str
    edit: Edit


# The one table of mutation kinds: edits in program order, unchecked, so that a few do not compile or change nothing.
CANDIDATES: dict[str, Callable[[Program], Iterable[Edit]]] = {
    "comparison": e.operators("comparison operator"),
    "binary operator": e.operators("binary operator"),
    "boolean operator": e.operators("boolean operator"),
    "assignment operator": e.operators("assignment operator"),
    "negation": e.negation,
    "constant": e.constant,
    "variable": e.variable,
    "offset": e.offset,
    "sign": e.sign,
    "order": e.order,
    "call": e.call,
    "attribute": e.attribute,
    "slice": e.slices,
    "operand": e.operand,
    "missing argument": e.missing_argument,
    "extra argument": e.extra_argument,
    "missing element": e.missing_element,
    "missing condition": e.missing_condition,
    "extra condition": e.extra_condition,
    "initial value": e.initial_value,
    "update": s.update,
    "statement": s.statement,
    "indent": s.indent,
    "missing return": s.missing_return,
    "extra return": s.extra_return,
    "return value": s.return_value,
    "missing guard": s.missing_guard,
    "else": s.alternative,
    "moved statement": s.moved_statement,
    "missing statement": s.missing_statement,
    "extra statement": s.extra_statement,
}


def candidates(program: Program) -> list[Edit]:
    """Every near miss of every kind, unchecked: some are not valid, and several may have the same result."""
    return list(dict.fromkeys(edit for of_kind in CANDIDATES.values() for edit in of_kind(program)))


def near_misses(program: Program) -> list[Mutation]:
    """Every valid near miss, one per resulting source (of the first kind that makes it)."""
    seen, mutations = {program.source}, []
    for kind, of_kind in CANDIDATES.items():
        for edit in of_kind(program):
            result = edit.apply(program.source)
            if result not in seen:
                seen.add(result)
                if is_valid(program, edit):
                    mutations.append(Mutation(kind, edit))
    return mutations
