"""Arms of a comparison: baselines without a model, and the model with a part of the condition masked."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import get_args

from kelp.encoding.condition import Condition
from kelp.evaluation.run_cases import PolicyFor
from kelp.search.baselines import NoModel, Order
from kelp.search.policy import Bound, Policy, Proposal, Wrapper
from kelp.syntax.edits import Edit
from kelp.syntax.program import Program

BASELINES: dict[str, Order] = {f"none-{order}": order for order in get_args(Order)}


class ConditionMask(StrEnum):
    """The part of the condition that a policy is given.

    spec: intent and visible tests. observation: the tests' results on a state, and the suspicion of its lines. blind:
    neither. The policy always gets the program, and the search always orders proposals by the tests' results.
    """

    all = "all"
    spec = "spec only"
    observation = "observation only"
    blind = "blind"


@dataclass(frozen=True)
class MaskedCondition(Wrapper):
    """A policy with a part of the condition masked."""

    policy: Policy
    mask: ConditionMask

    def propose(self, program: Program, condition: Condition) -> Iterator[Proposal | Bound]:
        return self.policy.propose(program, self._masked(condition))

    def judge(self, program: Program, condition: Condition, edits: Sequence[Edit]) -> list[Proposal]:
        return self.policy.judge(program, self._masked(condition), edits)

    def _masked(self, condition: Condition) -> Condition:
        if self.mask in (ConditionMask.blind, ConditionMask.observation):
            condition = replace(condition, intent="", asserts=())
        if self.mask in (ConditionMask.blind, ConditionMask.spec):
            condition = replace(condition, observation="", suspicion=())
        return condition


def no_model(seed: int = 0, order: Order = "random") -> PolicyFor:
    """Return a baseline with an order of its own for every case."""
    return lambda case: NoModel(f"{seed} {case.id}", order)
