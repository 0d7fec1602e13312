"""Search: propose, run the tests, look, go on. Best-first, beam and best-of-N over one step.

A node is a state of the file; `Search.step` gives a node's children without running them, `Search.test` runs
one. The strategies differ only in what they run next. Budgets bind all of them, and each can be stopped at
any time with what it has found.
"""

import heapq
import itertools
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from kelp.execution.observation import Observation
from kelp.execution.sandbox import Sandbox
from kelp.search.policy import Policy
from kelp.search.task import Budget, Task
from kelp.syntax.edits import Edit
from kelp.syntax.program import parses

PASSED_WEIGHT = 8.0  # nats that passing all tests instead of none is worth to a state's rank


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
    origin: str  # "start", "model" or "near-miss"
    observation: Observation | None = None  # None: not run
    run: int | None = None  # which sandboxed run it was, from 1

    def path(self) -> list["Node"]:
        """From the start to here."""
        return [*(self.parent.path() if self.parent else []), self]


@dataclass(frozen=True)
class Result:
    """What a search found. `patches` are nodes whose tests all pass, best first."""

    start: Node
    patches: tuple[Node, ...]
    tried: tuple[Node, ...]  # every node that was run, in order, the start first
    runs: int
    seconds: float
    states: int  # states on the way ...
    valid_states: int  # ... and how many of them compiled
    stopped: str  # why it ended

    @property
    def validity(self) -> float:
        return self.valid_states / self.states if self.states else 1.0

    @property
    def closest(self) -> Node:
        """The node that passed the most tests; of equals the likeliest."""
        return max(self.tried, key=lambda n: (n.observation.passed if n.observation else 0, n.log_prob))


class Stop(Exception):
    """A budget is used up, or enough was found."""


@dataclass
class Search:
    """The state that all strategies share. `clock` gives seconds; `watch` sees each node that was run."""

    task: Task
    policy: Policy
    sandbox: Sandbox
    budget: Budget = Budget()
    clock: Callable[[], float] = time.monotonic
    watch: Callable[[Node], None] = lambda node: None
    seen: set[bytes] = field(default_factory=set)
    tried: list[Node] = field(default_factory=list)
    patches: list[Node] = field(default_factory=list)
    states: int = 0
    valid_states: int = 0
    last_failure: str | None = None

    def __post_init__(self) -> None:
        self.began = self.clock()
        self.ids = itertools.count()

    def start(self, observation: Observation | None = None) -> Node:
        """The unchanged file; given its observation, it is not run again."""
        self.seen.add(self.task.source)
        node = Node(next(self.ids), None, 0, self.task.source, None, "", 0.0, "start")
        if observation is None:
            return self.test(node)
        return self._record(node, observation)

    def step(self, node: Node) -> list[Node]:
        """The children of a node, likeliest first, not yet run. Programs seen before are left out."""
        self._check_time()
        if node.depth >= self.budget.edits:
            return []
        children = []
        for target, window in self.task.windows(node.source):
            seen = node.observation.render(window.first_line) if node.observation else ""
            for proposal in self.policy.propose(window.program, self.task.condition(target, seen)):
                edit = window.to_file(proposal.edit)
                source = edit.apply(node.source)
                if source not in self.seen:
                    log_prob = node.log_prob + target.prior + proposal.log_prob
                    children.append(
                        Node(
                            next(self.ids),
                            node,
                            node.depth + 1,
                            source,
                            edit,
                            target.qualname,
                            log_prob,
                            proposal.origin,
                        )
                    )
            self._check_time()
        children.sort(key=lambda child: -child.log_prob)
        return children

    def test(self, node: Node) -> Node | None:
        """Run the tests on a node: the node with its observation, or None where it is a program seen before."""
        if node.parent is not None and node.source in self.seen:
            return None
        self.seen.add(node.source)
        self.states += 1
        if not parses(node.source):
            return None
        self.valid_states += 1
        self._check_time()
        if self.runs >= self.budget.runs:
            raise Stop("test runs used up")
        return self._record(node, self.sandbox.run(node.source, first=self.last_failure))

    def _record(self, node: Node, observation: Observation) -> Node:
        if observation.first_failure is not None:
            self.last_failure = observation.first_failure.name
        node = Node(
            node.id, node.parent, node.depth, node.source, node.edit, node.function, node.log_prob, node.origin,
            observation, len(self.tried) + 1,
        )  # fmt: skip
        self.tried.append(node)
        self.watch(node)
        if observation.ok:
            self.patches.append(node)
        if len(self.patches) >= self.budget.patches:
            raise Stop("found enough patches")
        if self.patches and self.runs >= (self.patches[0].run or 0) + self.budget.more_runs:
            raise Stop("found a patch")
        return node

    @property
    def runs(self) -> int:
        return len(self.tried)

    def _check_time(self) -> None:
        if self.clock() - self.began >= self.budget.seconds:
            raise Stop("out of time")

    def rank(self, node: Node) -> float:
        """How promising a node is: likelihood, and how many more tests pass than at the start."""
        observation = node.observation if node.observation is not None else node.parent and node.parent.observation
        first = self.tried[0].observation if self.tried else None
        if observation is None or first is None:
            return node.log_prob
        total = max(first.total, observation.total, 1)
        return node.log_prob + PASSED_WEIGHT * (observation.passed - first.passed) / total

    def result(self, stopped: str) -> Result:
        patches = sorted(self.patches, key=lambda n: (n.depth, -n.log_prob))
        return Result(
            self.tried[0], tuple(patches), tuple(self.tried), self.runs, self.clock() - self.began,
            self.states, self.valid_states, stopped,
        )  # fmt: skip


def best_first(search: Search, start: Node) -> None:
    """Execution-guided best-first: always run, or look behind, what ranks highest.

    A node that was run comes back into the queue to be expanded, at the rank that its tests gave it; no child
    can rank higher before it is run itself, so this is uniform-cost search over -rank.
    """
    order = itertools.count()
    queue: list[tuple[float, int, Node]] = [(-search.rank(start), next(order), start)]
    while queue:
        _, _, node = heapq.heappop(queue)
        if node.observation is None:
            tested = search.test(node)
            if tested is not None and not (tested.observation and tested.observation.ok):
                heapq.heappush(queue, (-search.rank(tested), next(order), tested))
        else:
            for child in search.step(node):
                heapq.heappush(queue, (-search.rank(child), next(order), child))
    raise Stop("nothing left to try")


def beam(search: Search, start: Node, width: int = 8, children: int = 16) -> None:
    """Beam search: of each state's likeliest children, keep the best `width` of the level after running them."""
    level = [start]
    while level:
        found = []
        for node in level:
            for child in search.step(node)[:children]:
                tested = search.test(child)
                if tested is not None and not (tested.observation and tested.observation.ok):
                    found.append(tested)
        level = sorted(found, key=search.rank, reverse=True)[:width]
    raise Stop("nothing left to try")


def best_of_n(search: Search, start: Node, n: int = 64, seed: int = 0) -> None:
    """N walks from the start, each step drawn from the policy's own distribution."""
    rng = random.Random(seed)
    children: dict[int, list[Node]] = {}
    for _ in range(n):
        node: Node | None = start
        while node is not None and node.depth < search.budget.edits:
            if node.id not in children:
                children[node.id] = search.step(node)
            fresh = [child for child in children[node.id] if child.source not in search.seen]
            if not fresh:
                break
            weights = [math.exp(max(-50.0, child.log_prob - node.log_prob)) for child in fresh]
            node = search.test(rng.choices(fresh, weights)[0])
            if node is not None and node.observation is not None and node.observation.ok:
                break
    raise Stop("nothing left to try")


STRATEGIES: dict[str, Callable[[Search, Node], None]] = {"best-first": best_first, "beam": beam, "best-of-n": best_of_n}


def run(search: Search, strategy: str = "best-first", observation: Observation | None = None) -> Result:
    """Search until a budget binds, enough patches are found or nothing is left. Never raises for those."""
    try:
        start = search.start(observation)
        STRATEGIES[strategy](search, start)
    except Stop as stop:
        return search.result(str(stop))
    raise AssertionError("a strategy ends with Stop")
