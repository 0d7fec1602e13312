"""Baselines without a model: every single near miss, in an order that takes no learning."""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np

from kelp.diffusion.mutations import KINDS, candidates, log_priors
from kelp.encoding.condition import Condition
from kelp.search.policy import NEAR_MISS, VALUES, Bound, Policy, Proposal, legal
from kelp.search.suspicion import edit_weights, line_weights, may_matter, spread
from kelp.search.swaps import swaps
from kelp.syntax.edits import Edit
from kelp.syntax.program import Program
from kelp.syntax.sites import key, site_index

Order = Literal["random", "frequency", "spectrum", "swaps", "values"]


class NoModel(Policy):
    """Every single edit of the kinds that break programs, each as likely as the next, in one of five orders.

    random: shuffled. spectrum: edits on the most suspicious lines first. swaps: the same, but edits of one operator or
    constant before all others. values: value-guided synthesis first, then shuffled. frequency: edits of all kinds, by
    how often people mend programs in that way (`log_priors`) and how suspicious the line is.
    """

    def __init__(self, seed: int | str = 0, order: Order = "random") -> None:
        self.rng, self.order = random.Random(seed), order

    def propose(self, program: Program, condition: Condition) -> Iterator[Proposal | Bound]:
        weight = line_weights(program, condition.suspicion)
        if self.order == "frequency":
            return legal(program, self._by_prior(program, condition))
        return legal(program, self._ordered(program, condition, weight))

    def _ordered(
        self, program: Program, condition: Condition, weight: Callable[[int, int], float]
    ) -> Iterator[Proposal | Bound]:
        """Yield the edits of the kinds that break programs; bounds, so that a search looks at its clock meanwhile."""
        found: dict[Edit, None] = {}
        for kind in KINDS.values():
            for number, edit in enumerate(kind.edits(program) if kind.breaks else ()):
                found[edit] = None
                if number % 1000 == 0:  # a literal of 20,000 elements has 100,000 edits
                    yield Bound(0.0)
        edits = [*found]
        self.rng.shuffle(edits)
        if self.order in ("spectrum", "swaps"):
            edits.sort(key=lambda e: -weight(e.start, e.end))
            yield Bound(0.0)
            if self.order == "swaps":
                edits = list(dict.fromkeys([*swaps(program, condition.suspicion), *edits]))
        log_prob = -math.log(max(1, len(edits)))
        yield from (Proposal(edit, log_prob, NEAR_MISS) for edit in edits)

    def _by_prior(self, program: Program, condition: Condition) -> Iterator[Proposal]:
        """Yield the edits of all kinds by prior and suspicion, equal ones shuffled."""
        kinds = candidates(program, may_matter(program, condition.suspicion))
        priors = log_priors(program, kinds, condition.exception, spread(condition))
        weight = edit_weights(program, condition)
        scores = {edit: prior + weight(edit) for edit, prior in priors.items()}
        total = float(np.logaddexp.reduce([*scores.values()]))
        edits = [*scores]
        self.rng.shuffle(edits)
        for edit in sorted(edits, key=lambda edit: -scores[edit]):
            yield Proposal(edit, scores[edit] - total, NEAR_MISS)

    @property
    def threshold(self) -> float:
        return 0.0 if self.order == "values" else -math.inf

    def judge(self, program: Program, condition: Condition, edits: Sequence[Edit]) -> list[Proposal]:
        log_prob = -math.log(max(1, len(edits)))
        made = (Proposal(edit, log_prob, VALUES) for edit in edits if key(edit) in site_index(program))
        return [each for each in legal(program, made) if isinstance(each, Proposal)]
