"""Proposals of edits, and the protocol of a policy that makes them.

A policy makes proposals as they are asked for: a search tests the first few dozen of several hundred, and the later
ones need be neither scored nor checked. Before a piece of work a `Bound` says how likely its yield can be at most, so
that a search may first attend to likelier edits elsewhere.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from kelp.encoding.condition import Condition
from kelp.syntax.edits import Edit
from kelp.syntax.program import Program
from kelp.syntax.sites import is_valid

MODEL, NEAR_MISS, VALUES = "model", "near-miss", "values"  # origins of proposals


@dataclass(frozen=True, slots=True)
class Proposal:
    """An edit of a program, its log-probability under the policy (nats), and its origin."""

    edit: Edit
    log_prob: float
    origin: str


class PointedSite(NamedTuple):
    """Bytes `start` to `end` of a program, and the probability of a policy's pointer that the next edit goes there."""

    start: int
    end: int
    probability: float


class Bound(NamedTuple):
    """Upper bound on the log-probability of all that follows; the next proposal takes some work to make."""

    log_prob: float
    runs: bool = False  # the work is a run of the program, and nothing is known before it
    pointer: tuple[PointedSite, ...] = ()  # the likeliest sites, where the policy has just found them

    @property
    def priority(self) -> float:
        return self.log_prob


class Policy(Protocol):
    def propose(self, program: Program, condition: Condition) -> Iterator[Proposal | Bound]:
        """Yield legal edits of the program, best first, no two with one result, and bounds among them."""
        ...

    def judge(self, program: Program, condition: Condition, edits: Sequence[Edit]) -> list[Proposal]:
        """Score edits of value-guided synthesis: the legal ones, best first."""
        return []

    @property
    def threads(self) -> int | None:
        """Threads of a product of matrices; None: as many as there are cores.

        Tests run beside a small model, and threads that wait for each other spin.
        """
        return 1

    @property
    def threshold(self) -> float:
        """Log-probability below which the search tries value-guided synthesis before this policy's next proposal.

        Minus infinity, the default: never.
        """
        return -math.inf


class Wrapper(Policy):
    """A policy around another, which answers what the wrapper does not."""

    policy: Policy

    def judge(self, program: Program, condition: Condition, edits: Sequence[Edit]) -> list[Proposal]:
        return self.policy.judge(program, condition, edits)

    @property
    def threads(self) -> int | None:
        return self.policy.threads

    @property
    def threshold(self) -> float:
        return self.policy.threshold


def proposals(policy: Policy, program: Program, condition: Condition) -> Iterator[Proposal]:
    """Yield a policy's proposals without the bounds."""
    return (found for found in policy.propose(program, condition) if isinstance(found, Proposal))


def legal(program: Program, found: Iterator[Proposal | Bound]) -> Iterator[Proposal | Bound]:
    """Yield the proposals that are legal edits, the first of each result, and all bounds."""
    seen = set()
    for proposal in found:
        if isinstance(proposal, Bound):
            yield proposal
            continue
        result = proposal.edit.apply(program.source)
        if result not in seen:
            seen.add(result)
            if is_valid(program, proposal.edit):
                yield proposal
