"""Near misses: every small edit of the kinds by which people get a program wrong.

The same edits break programs for training and repair them in the no-model baseline, so the kinds hold each
other's inverses wherever those can be enumerated. What a language takes for what stands in its `near_miss`
table; the shapes stand in `expression_kinds` and `statement_kinds`.
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
    """An edit of the program it was made for, with the kind of mistake that it is."""

    kind: str
    edit: Edit


# Each kind's edits in the order of their places, not yet checked: a few would not compile or change nothing.
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
    """Every near miss of every kind, not yet checked: some may be illegal, and some have one result."""
    return list(dict.fromkeys(edit for of_kind in CANDIDATES.values() for edit in of_kind(program)))


def near_misses(program: Program) -> list[Mutation]:
    """Every near miss of every kind, each resulting source once (under the first kind that gives it)."""
    seen, found = {program.source}, []
    for kind, of_kind in CANDIDATES.items():
        for edit in of_kind(program):
            result = edit.apply(program.source)
            if result not in seen:
                seen.add(result)
                if is_valid(program, edit):
                    found.append(Mutation(kind, edit))
    return found
