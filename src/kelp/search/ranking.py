"""Ranking of patches that pass all tests, by their answers to calls that the tests do not make.

Patches that give the same answers are one opinion of the function's behavior; the likeliest opinion wins, as in the
consensus of sampled programs (Li et al. 2022, "Competition-level code generation with AlphaCode", section 4.6, and Chen
et al. 2022, CodeT, arXiv 2207.10397).
"""

import random
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol, TypeVar

import numpy as np

from kelp.search.task import Target
from kelp.syntax.program import SpecReader

CALLS = 24

Answers = tuple[str | None, ...]  # of a program to each call: the value's repr, or the exception's name

P = TypeVar("P", bound="Patch")


class Patch(Protocol):
    @property
    def id(self) -> int: ...
    @property
    def depth(self) -> int: ...
    @property
    def log_prob(self) -> float: ...


def fresh_calls(targets: Sequence[Target], specs: SpecReader, seed: int) -> list[str]:
    """Return calls like those in the asserts about the targets; none where there are no such asserts."""
    return [
        f"{target.qualname}({given})"
        for target in targets
        for given in specs.arguments_like(target.asserts, target.qualname, random.Random(seed), CALLS)
    ]


def ranked(patches: Sequence[P], answers: Mapping[int, Answers], last: Collection[int] = ()) -> list[P]:
    """Sort patches, best first: the likeliest behavior, then the fewest edits, then the likeliest patch.

    Patches whose ids are in `last` come behind all others. `answers` are those of each patch by its id, where they are
    known.
    """
    groups: dict[Answers, list[float]] = defaultdict(list)
    for patch in patches:
        groups[answers.get(patch.id, ())].append(patch.log_prob)
    weight = {given: float(np.logaddexp.reduce(group)) for given, group in groups.items()}
    return sorted(patches, key=lambda p: (p.id in last, -weight[answers.get(p.id, ())], p.depth, -p.log_prob))
