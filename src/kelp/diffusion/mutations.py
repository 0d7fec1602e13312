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


# The one table of mutation kinds: the weight in the forward process, and the edits of a program, in its order and
# unchecked, so that a few do not compile or change nothing.
KINDS: dict[str, tuple[float, Callable[[Program], Iterable[Edit]]]] = {
    "comparison": (9.0, e.operators("comparison operator")),
    "binary operator": (7.0, e.operators("binary operator")),
    "boolean operator": (3.0, e.operators("boolean operator")),
    "assignment operator": (2.0, e.operators("assignment operator")),
    "negation": (3.0, e.negation),
    "constant": (7.0, e.constant),
    "variable": (14.0, e.variable),
    "offset": (3.0, e.offset),
    "sign": (0.5, e.sign),
    "order": (4.0, e.order),
    "call": (6.0, e.call),
    "attribute": (3.0, e.attribute),
    "slice": (3.0, e.slices),
    "operand": (4.0, e.operand),
    "missing argument": (2.0, e.missing_argument),
    "extra argument": (1.0, e.extra_argument),
    "missing element": (1.0, e.missing_element),
    "missing condition": (4.0, e.missing_condition),
    "extra condition": (2.0, e.extra_condition),
    "initial value": (4.0, e.initial_value),
    "update": (2.0, s.update),
    "statement": (2.0, s.statement),
    "indent": (4.0, s.indent),
    "missing return": (1.0, s.missing_return),
    "extra return": (0.5, s.extra_return),
    "return value": (1.5, s.return_value),
    "missing guard": (4.0, s.missing_guard),
    "else": (2.0, s.alternative),
    "moved statement": (3.0, s.moved_statement),
    "missing statement": (5.0, s.missing_statement),
    "extra statement": (1.0, s.extra_statement),
}
CANDIDATES = {kind: edits for kind, (_, edits) in KINDS.items()}


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
