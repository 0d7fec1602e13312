"""A state of the file in a search, and the result of a search."""

from dataclasses import dataclass, replace
from functools import cached_property

from kelp.execution.observation import Observation
from kelp.syntax.edits import Edit

Guards = frozenset[tuple[str, frozenset[int]]]  # each: the function, and the asserts whose calls it returns from


@dataclass(frozen=True, eq=False)
class Node:
    """One state of the file. `log_prob` is the sum over its trajectory, in nats; offsets are in the parent's source."""

    id: int
    parent: "Node | None"
    depth: int
    source: bytes
    edit: Edit | None
    function: str  # qualname of the function edited
    log_prob: float
    origin: str  # "start", "model", "near-miss" or "values"
    observation: Observation | None = None  # None: not run
    run: int | None = None  # number of the sandboxed run, from 1
    seconds: float = 0.0  # of the budget, used up when its run ended
    progress_bonus: float = 0.0  # nats for the asserts that it is known to pass: for all of them, PASSED_WEIGHT
    guard: frozenset[int] = frozenset()  # the asserts whose calls the edit returns from, where it is a guard

    @property
    def priority(self) -> float:
        """Rank before it is run: its log-probability and progress bonus, in nats."""
        return self.log_prob + self.progress_bonus

    @property
    def solved(self) -> bool:
        return self.observation is not None and self.observation.ok

    @property
    def passing(self) -> frozenset[str]:
        """Names of the tests that it passes."""
        outcomes = self.observation.outcomes if self.observation else ()
        return frozenset(outcome.name for outcome in outcomes if outcome.status == "pass")

    @cached_property
    def guards(self) -> Guards:
        """The guards of value-guided synthesis on the way; equal guards give the asserts equal results."""
        return frozenset((node.function, node.guard) for node in self.path() if node.guard)

    def path(self) -> list["Node"]:
        """The trajectory from the start to this node."""
        return [*(self.parent.path() if self.parent else []), self]

    def edit_after(self, other: "Node") -> Edit | None:
        """The edit of this node, a first one, in the program of another node; None where that one's edits touch it."""
        edit = self.edit
        for step in other.path()[1:]:
            if edit is None or step.edit is None or (edit.start <= step.edit.end and step.edit.start <= edit.end):
                return None
            shift = len(step.edit.text) - (step.edit.end - step.edit.start) if step.edit.end < edit.start else 0
            edit = replace(edit, start=edit.start + shift, end=edit.end + shift)
        return edit


@dataclass(frozen=True)
class SearchResult:
    """Result of a search. `patches` are the nodes whose tests all pass, best first."""

    start: Node
    patches: tuple[Node, ...]
    tried: tuple[Node, ...]  # every node that was run, in order; the start first, be it run or not
    runs: int
    seconds: float
    states: int  # states made on the way ...
    valid_states: int  # ... and how many of them compiled
    stopped: str  # reason

    @property
    def validity(self) -> float:
        return self.valid_states / self.states if self.states else 1.0

    @property
    def closest(self) -> Node:
        """The node that passed the most tests; of equals the likeliest."""
        return max(self.tried, key=lambda n: (n.observation.passed if n.observation else 0, n.log_prob))
