"""Baselines without a model: every single near miss, in an order that takes no learning."""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from kelp.diffusion.forward import WEIGHTS
from kelp.diffusion.mutations import CANDIDATES, candidates
from kelp.encoding.condition import Condition
from kelp.search.policy import NEAR_MISS, VALUES, Bound, Policy, Proposal, legal
from kelp.search.suspicion import line_weights
from kelp.search.swaps import swaps
from kelp.syntax.edits import Edit
from kelp.syntax.program import Program
from kelp.syntax.sites import key, site_index

Order = Literal["random", "frequency", "spectrum", "swaps", "values"]


class NoModel(Policy):
    """Every single near miss, each as likely as the next, in one of these orders.

    random: shuffled. frequency: near misses of the mutation kinds with the greatest weight in training first. spectrum:
    near misses on the most suspicious lines first. swaps: the same, but the near misses of one operator or constant
    before all others. values: value-guided synthesis first, then shuffled.
    """

    def __init__(self, seed: int | str = 0, order: Order = "random", weights: Mapping[str, float] = WEIGHTS) -> None:
        self.rng, self.order, self.weights = random.Random(seed), order, weights

    def propose(self, program: Program, condition: Condition) -> Iterator[Proposal | Bound]:
        edits = candidates(program)
        self.rng.shuffle(edits)
        if self.order == "frequency":
            often: dict[Edit, float] = {}
            for kind, of_kind in CANDIDATES.items():
                for edit in of_kind(program):
                    often[edit] = max(often.get(edit, 0.0), self.weights[kind])
            edits.sort(key=lambda e: -often[e])
        elif self.order in ("spectrum", "swaps"):
            weight = line_weights(program, condition.suspicion)
            edits.sort(key=lambda e: -weight(e.start, e.end))
            if self.order == "swaps":
                edits = list(dict.fromkeys([*swaps(program, condition.suspicion), *edits]))
        log_prob = -math.log(max(1, len(edits)))
        return legal(program, (Proposal(edit, log_prob, NEAR_MISS) for edit in edits))

    @property
    def threshold(self) -> float:
        return 0.0 if self.order == "values" else -math.inf

    def judge(self, program: Program, condition: Condition, edits: Sequence[Edit]) -> list[Proposal]:
        log_prob = -math.log(max(1, len(edits)))
        made = (Proposal(edit, log_prob, VALUES) for edit in edits if key(edit) in site_index(program))
        return [each for each in legal(program, made) if isinstance(each, Proposal)]
