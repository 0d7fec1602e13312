"""Near misses: the small edits by which people get a program wrong, by kind of mistake.

The same edits break programs for training and repair them in the no-model baseline, so the kinds contain each
other's inverses wherever those can be enumerated. The tables of a language are in its `near_miss`, the shapes of the
edits in the other modules `..._mutations`.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from kelp.diffusion import expression_mutations as e
from kelp.diffusion import guard_mutations as g
from kelp.diffusion import statement_mutations as s
from kelp.diffusion import string_mutations as x
from kelp.diffusion import template_mutations as t
from kelp.syntax.edits import Edit
from kelp.syntax.program import Program
from kelp.syntax.sites import is_valid


@dataclass(frozen=True, slots=True)
class Mutation:
    """A kind of mistake and the edit that makes it in one program."""

    kind: str
    edit: Edit


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of mistake: the edits that make or mend it, in program order, unchecked (a few change nothing).

    `breaks` is its weight in the forward process and in benchmarks, 0 for edits that only mend there. The others are
    percentages of the programs that have a place for it: `mistakes`, in which people made it, counted on 4,013 changes
    of 132 training packages, read backwards (`benchmarks/edit_space.py --reversed`; half a change is added to each);
    `repairs`, in which they mend programs by it: the mean of a share counted on 3,201 changes of 112 training packages
    (that of deletions times 0.4, since most of them change no test) and of one set by hand, since the counts of most
    kinds are below 20.
    """

    edits: Callable[[Program], Iterable[Edit]]
    breaks: float
    mistakes: float
    repairs: float


# The one table of kinds.
KINDS: dict[str, Kind] = {
    "comparison": Kind(e.operators("comparison operator"), breaks=9.0, mistakes=0.4, repairs=2.5),
    "binary operator": Kind(e.operators("binary operator"), breaks=7.0, mistakes=0.16, repairs=1.8),
    "boolean operator": Kind(e.operators("boolean operator"), breaks=3.0, mistakes=0.02, repairs=1.4),
    "assignment operator": Kind(e.operators("assignment operator"), breaks=2.0, mistakes=0.02, repairs=0.7),
    "negation": Kind(e.negation, breaks=3.0, mistakes=0.02, repairs=0.9),
    "constant": Kind(e.constant, breaks=7.0, mistakes=1.6, repairs=3.3),
    "variable": Kind(e.variable, breaks=14.0, mistakes=0.71, repairs=4.1),
    "offset": Kind(e.offset, breaks=3.0, mistakes=0.26, repairs=1.7),
    "sign": Kind(e.sign, breaks=0.5, mistakes=0.04, repairs=0.4),
    "order": Kind(e.order, breaks=4.0, mistakes=0.63, repairs=1.5),
    "call": Kind(e.call, breaks=6.0, mistakes=3, repairs=5.4),
    "attribute": Kind(e.attribute, breaks=3.0, mistakes=0.66, repairs=1.9),
    "slice": Kind(e.slices, breaks=3.0, mistakes=0.02, repairs=1.4),
    "operand": Kind(e.operand, breaks=4.0, mistakes=1.4, repairs=2.7),
    "missing argument": Kind(e.missing_argument, breaks=2.0, mistakes=5.8, repairs=2.9),
    "extra argument": Kind(e.extra_argument, breaks=1.0, mistakes=0.4, repairs=1.6),
    "missing element": Kind(e.missing_element, breaks=1.0, mistakes=6.8, repairs=1.0),
    "missing condition": Kind(e.missing_condition, breaks=4.0, mistakes=11.3, repairs=3.8),
    "extra condition": Kind(e.extra_condition, breaks=2.0, mistakes=0.05, repairs=1.9),
    "initial value": Kind(e.initial_value, breaks=4.0, mistakes=0.55, repairs=1.1),
    "update": Kind(s.update, breaks=2.0, mistakes=0.06, repairs=0.9),
    "statement": Kind(s.statement, breaks=2.0, mistakes=0.02, repairs=0.7),
    "indent": Kind(s.indent, breaks=4.0, mistakes=0.09, repairs=1.0),
    "missing return": Kind(s.missing_return, breaks=1.0, mistakes=3.5, repairs=1.3),
    "extra return": Kind(s.extra_return, breaks=0.5, mistakes=0.26, repairs=0.5),
    "return value": Kind(s.return_value, breaks=1.5, mistakes=0.2, repairs=0.9),
    "missing guard": Kind(s.missing_guard, breaks=4.0, mistakes=10.9, repairs=4.1),
    "else": Kind(s.alternative, breaks=2.0, mistakes=2, repairs=4.4),
    "moved statement": Kind(s.moved_statement, breaks=3.0, mistakes=0.17, repairs=1.1),
    "missing statement": Kind(s.missing_statement, breaks=5.0, mistakes=14.1, repairs=5.7),
    "extra statement": Kind(s.extra_statement, breaks=1.0, mistakes=0.02, repairs=0.6),
    "wrapped": Kind(t.wrap, breaks=0.0, mistakes=0.29, repairs=4.0),
    "method": Kind(t.method, breaks=0.0, mistakes=0.7, repairs=1.9),
    "item": Kind(t.item, breaks=0.0, mistakes=0.06, repairs=1.4),
    "await": Kind(t.awaited, breaks=0.0, mistakes=2, repairs=4.2),
    "keyword": Kind(t.keyword, breaks=0.0, mistakes=0.59, repairs=1.3),
    "receiver": Kind(t.receiver, breaks=0.0, mistakes=0.2, repairs=2.2),
    "copied": Kind(t.copied, breaks=0.0, mistakes=1.3, repairs=3.3),
    "absence": Kind(g.absence, breaks=0.0, mistakes=1.6, repairs=2.4),
    "membership": Kind(g.membership, breaks=0.0, mistakes=0.19, repairs=2.0),
    "extra guard": Kind(g.guard, breaks=0.0, mistakes=0.04, repairs=3.5),
    "accumulate": Kind(t.accumulate, breaks=0.0, mistakes=0.02, repairs=1.7),
    "default": Kind(g.default, breaks=0.0, mistakes=0.07, repairs=1.3),
    "choice": Kind(g.choice, breaks=0.0, mistakes=0.02, repairs=2.1),
    "produce": Kind(t.produce, breaks=0.0, mistakes=0.02, repairs=0.7),
    "exception": Kind(t.exception, breaks=0.0, mistakes=1.7, repairs=2.2),
    "embedded": Kind(x.embedded, breaks=0.0, mistakes=0.29, repairs=1.4),
    "format": Kind(x.string_format, breaks=0.0, mistakes=0.02, repairs=1.4),
    "pattern": Kind(x.pattern, breaks=0.0, mistakes=0.02, repairs=1.4),
    "shared default": Kind(t.shared_default, breaks=0.0, mistakes=0.02, repairs=12.0),
    "reset": Kind(t.reset, breaks=0.0, mistakes=0.26, repairs=0.7),
}


def breaking(program: Program) -> dict[Edit, str]:
    """Every edit of the kinds that break programs, unchecked, with the first kind that makes it."""
    return _edits(program, [name for name, kind in KINDS.items() if kind.breaks])


def candidates(program: Program, relevant: Callable[[Edit], bool] = lambda edit: True) -> dict[Edit, str]:
    """Every edit of every kind, unchecked, with the first kind that makes it: several may have the same result.

    Kinds that only mend have many edits: those that are not `relevant` are left out.
    """
    mending = _edits(program, [name for name, kind in KINDS.items() if not kind.breaks])
    found = breaking(program)  # goes first, and keeps the edits that both make
    return found | {edit: kind for edit, kind in mending.items() if edit not in found and relevant(edit)}


def _edits(program: Program, kinds: Iterable[str]) -> dict[Edit, str]:
    found: dict[Edit, str] = {}
    for name in kinds:
        for edit in KINDS[name].edits(program):
            found.setdefault(edit, name)
    return found


def log_priors(
    program: Program,
    kinds: Mapping[Edit, str],
    exception: str | None = None,
    part: Callable[[Edit], float] = lambda edit: 1.0,
) -> dict[Edit, float]:
    """Log-probability (nats) of each edit before the program is read: its kind's share, spread over the kind.

    The shares are `Kind.repairs`, times the language's factors for the `exception` that a failing test ends with. An
    edit counts by its `part` (0 to 1) of one: what cannot help makes the others of its kind no less likely.
    """
    factors = program.language.near_miss.templates.after.get(exception or "", {})
    count = Counter[str]()
    for edit, kind in kinds.items():
        count[kind] += part(edit)  # type: ignore[assignment]
    shares = {name: KINDS[name].repairs * factors.get(name, 1.0) for name in count}
    total = sum(share * min(1.0, count[name]) for name, share in shares.items())
    return {edit: math.log(shares[name] / (total * max(1.0, count[name]))) for edit, name in kinds.items()}


def near_misses(program: Program) -> list[Mutation]:
    """Every valid near miss that breaks programs, one per resulting source (of the first kind that makes it)."""
    seen, mutations = {program.source}, []
    for edit, kind in breaking(program).items():
        result = edit.apply(program.source)
        if result not in seen:
            seen.add(result)
            if is_valid(program, edit):
                mutations.append(Mutation(kind, edit))
    return mutations
