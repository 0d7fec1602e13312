"""What is compared: baselines without a model, and the model shown less than all there is to know."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import get_args

from kelp.diffusion.forward import WEIGHTS
from kelp.encoding.condition import Condition
from kelp.evaluation.run_cases import PolicyFor
from kelp.search.policy import Bound, NoModel, Order, Policy, Proposal
from kelp.syntax.edits import Edit
from kelp.syntax.program import Program

BASELINES: dict[str, Order] = {f"none-{order}": order for order in get_args(Order)}


class Sight(StrEnum):
    """How much of the condition a policy is shown.

    spec: intent and visible tests. observation: what the tests said of a state, and how suspicious that makes its
    lines. The program is shown always; so are, to the search that orders what is proposed, the tests' results.
    """

    all = "all"
    spec = "spec only"
    observation = "observation only"
    blind = "blind"


@dataclass(frozen=True)
class Blinkered(Policy):
    """A policy that is shown a part of the condition."""

    policy: Policy
    sight: Sight

    def propose(self, program: Program, condition: Condition) -> Iterator[Proposal | Bound]:
        return self.policy.propose(program, self._seen(condition))

    @property
    def patience(self) -> float:
        return self.policy.patience

    def judge(self, program: Program, condition: Condition, edits: Sequence[Edit]) -> list[Proposal]:
        return self.policy.judge(program, self._seen(condition), edits)

    def _seen(self, condition: Condition) -> Condition:
        if self.sight in (Sight.blind, Sight.observation):
            condition = replace(condition, intent="", asserts=())
        if self.sight in (Sight.blind, Sight.spec):
            condition = replace(condition, observation="", suspicion=())
        return condition


def no_model(seed: int = 0, order: Order = "random", kinds: Mapping[str, float] = MappingProxyType({})) -> PolicyFor:
    """A baseline, with an order of its own for every case. `kinds`: weights that a training recipe has of its own."""
    weights = {**WEIGHTS, **kinds}
    return lambda case: NoModel(f"{seed} {case.id}", order, weights)
