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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Protocol

from kelp.diffusion.mutations import candidates
from kelp.encoding.condition import Condition
from kelp.execution.observation import CallResult, Observation
from kelp.search.policy import NEAR_MISS, Bound, Policy, Proposal, is_off_by_one, swaps
from kelp.search.ranking import Answers, fresh_calls, ranked
from kelp.search.suspicion import moved, suspicion
from kelp.search.synthesis.from_values import Found, filled
from kelp.search.task import Budget, Target, Task
from kelp.syntax.edits import Edit, apply_disjoint
from kelp.syntax.functions import Function
from kelp.syntax.program import parses

PASSED_WEIGHT = 8.0  # nats that passing all tests instead of none is worth to a state's rank
FURTHER = 1.5  # nats that each edit after the first costs it: most bugs are one mistake

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
    run: int | None = None  # which sandboxed run it was, from 1
    hope: float = 0.0  # nats that the asserts it is known to pass are worth to its rank: for all of them, the most
    guard: frozenset[int] = frozenset()  # the asserts whose calls the edit returns from, where it is a guard

    @property
    def promise(self) -> float:
        """What it ranks by before it is run."""
        return self.log_prob + self.hope

    @cached_property
    def guards(self) -> Guards:
        """Edits so far that are guards made from values; equal guards give the asserts equal results."""
        return frozenset((node.function, node.guard) for node in self.path() if node.guard)

    def path(self) -> list["Node"]:
        """From the start to here."""
        return [*(self.parent.path() if self.parent else []), self]


@dataclass(frozen=True)
class Result:
    """What a search found. `patches` are nodes whose tests all pass, best first."""

    start: Node
    patches: tuple[Node, ...]
    tried: tuple[Node, ...]  # every node that was run, in order; the start first, be it run or not
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


class Tests(Protocol):
    """What runs the tests: a sandbox, as a rule."""

    def run(self, source: bytes, *, first: str | None, seconds: float | None, trace: bool) -> Observation: ...
    def evaluate(self, source: bytes, calls: Sequence[str], *, seconds: float) -> list[CallResult]: ...


@dataclass
class Search:
    """The state that all strategies share. `clock` gives seconds; `watch` sees each node that was run."""

    task: Task
    policy: Policy
    sandbox: Tests
    budget: Budget = field(default_factory=Budget)
    clock: Callable[[], float] = time.monotonic
    watch: Callable[[Node], None] = lambda node: None
    spent: float = 0.0  # seconds of the budget that were used before
    seed: int = 0
    seen: set[bytes] = field(default_factory=set)
    guarded: set[Guards] = field(default_factory=set)  # the guards of each patch
    tried: list[Node] = field(default_factory=list)
    patches: list[Node] = field(default_factory=list)
    states: int = 0
    valid_states: int = 0
    probes: int = 0  # runs that only looked at values
    last_failure: str | None = None
    running: tuple[Node, Future[Observation]] | None = None

    def __post_init__(self) -> None:
        self.began = self.clock() - self.spent
        self.ids = itertools.count()
        self.background = ThreadPoolExecutor(1)

    def start(self, observation: Observation | None = None) -> Node:
        """The unchanged file; given its observation, it is not run again. Raises Stop."""
        node = self.first = Node(next(self.ids), None, 0, self.task.source, None, "", 0.0, "start")
        if observation is not None:
            self.seen.add(node.source)
            return self._record(node, observation)
        tested = self.test(node)
        if tested is None:
            raise Stop("the file does not parse")
        return tested

    def step(self, node: Node) -> Iterator[Node]:
        """The children of a node, likeliest first, not yet run, made as they are asked for.

        Programs seen before are left out.
        """
        return (child for child in self.unfold(node) if isinstance(child, Node))

    def unfold(self, node: Node) -> Iterator[Node | Bound]:
        """As `step`; before what takes work to make, how likely it can be at most.

        But for what is made from values, which is likelier than it seemed: its tests are known to pass.
        """
        self._check_time()
        if node.depth < self.budget.edits:
            windows = list(self.task.windows(node.source))
            latest = {target.qualname: (target, window) for target, window in windows}  # the one that the name means
            families = [self._children(node, *window) for window in windows]
            families += [self._from_values(node, *window) for window in latest.values()]
            for child in heapq.merge(*families, key=lambda child: -child.promise):
                self._check_time()
                if isinstance(child, Bound) or child.source not in self.seen:
                    yield child

    def _children(self, node: Node, target: Target, window: Function) -> Iterator[Node | Bound]:
        """Those by an edit of one function."""
        for proposal in self.policy.propose(window.program, self._condition(node, target, window)):
            if isinstance(proposal, Bound):
                yield Bound(node.log_prob + target.prior + proposal.log_prob)
            else:
                yield self._child(node, target, window, proposal)

    def _from_values(self, node: Node, target: Target, window: Function) -> Iterator[Node | Bound]:
        """Those by an edit after which calls are known to give what the tests want."""
        patience, seen = self.policy.patience, node.observation
        asserts = self.task.wanted[target] if patience < math.inf else []
        if not asserts or seen is None or not seen.total:
            return
        yield Bound(node.log_prob + target.prior - patience, runs=True)

        def evaluate(edits: Sequence[Edit], arguments: Sequence[str]) -> list[CallResult]:
            self._check_time()
            if self.runs >= self.budget.runs:
                raise Stop("test runs used up")
            self.probes += 1
            source = apply_disjoint(node.source, list(map(window.to_file, edits)))
            calls = [f"{target.qualname}({given})" for given in arguments]
            seconds = self.began + self.budget.seconds - self.clock()
            return self.sandbox.evaluate(source, calls, seconds=max(seconds, 0.01))

        found: dict[Edit, Found] = {}
        for of_place in filled(window.program, asserts, evaluate, self.task.names):
            self._check_time()
            found.update({each.edit: each for each in of_place})
        if found:
            wrong = 1 - seen.passed / seen.total
            hope = {e.edit: PASSED_WEIGHT * (1 if e.share == 1 else e.share * wrong) for e in found.values()}
            judged = self.policy.judge(window.program, self._condition(node, target, window), [*found])
            guarded = False
            for proposal in sorted(judged, key=lambda p: -p.log_prob - hope[p.edit]):
                child = self._child(node, target, window, proposal)
                child = replace(child, hope=hope[proposal.edit], guard=found[proposal.edit].guard)
                if child.guard and not guarded:
                    yield from (replace(swap, hope=child.promise - swap.log_prob) for swap in self._swaps)
                    guarded = True
                yield child

    @cached_property
    def _swaps(self) -> list[Node]:
        """Near misses of the unchanged file that are tried before any guard of any state.

        For almost every program with an operator off by one, some condition holds for the failing calls alone.
        """
        start = self.tried[0]
        found: list[tuple[bool, Node]] = []
        for target, window in self.task.windows(start.source):
            condition, program = self._condition(start, target, window), window.program
            for proposal in self.policy.judge(program, condition, swaps(program, condition.suspicion)):
                child = self._child(start, target, window, replace(proposal, origin=NEAR_MISS))
                found.append((is_off_by_one(program, proposal.edit), child))
        return [node for _, node in sorted(found, key=lambda pair: (not pair[0], -pair[1].log_prob))]

    def _condition(self, node: Node, target: Target, window: Function) -> Condition:
        said = node.observation.render(window.first_line) if node.observation else ""
        return replace(self.task.condition(target, said), suspicion=self._suspicion(node, window))

    def _child(self, node: Node, target: Target, window: Function, proposal: Proposal) -> Node:
        edit = window.to_file(proposal.edit)
        return Node(
            next(self.ids), node, node.depth + 1, edit.apply(node.source), edit, target.qualname,
            node.log_prob + target.prior + proposal.log_prob, proposal.origin,
        )  # fmt: skip

    def _suspicion(self, node: Node, window: Function) -> tuple[float, ...]:
        """Of the window's lines: that of the lines of the first state which they come from.

        What stands before the first line executed (signature, defaults) is as suspicious as that line.
        """
        first, by_line = self.tried[0], self._by_line
        if not by_line:
            return ()
        lines = list(range(1, first.source.count(b"\n") + 2))
        for child in node.path()[1:]:
            assert child.parent is not None and child.edit is not None
            lines = moved(lines, child.parent.source, child.edit)
        found = [by_line.get(line) for line in lines[window.first_line - 1 : window.last_line]]
        header = next((i for i, value in enumerate(found) if value is not None), 0)
        found[:header] = [found[header]] * header
        return tuple(value or 0.0 for value in found)

    @cached_property
    def _by_line(self) -> dict[int, float]:
        first = self.tried[0].observation
        return {} if first is None or first.error is not None else suspicion(first)

    def test(self, node: Node) -> Node | None:
        """Run the tests on a node: the node with its observation, or None where `begin` does not."""
        return self.end() if self.begin(node) else None

    def begin(self, node: Node) -> bool:
        """Start to run the tests on a node, in the background; False where it was seen or is no program. Raises Stop.

        One run goes on at a time: `end` waits for it.
        """
        if node.parent is not None and (node.source in self.seen or (node.guards and node.guards in self.guarded)):
            return False
        self.seen.add(node.source)
        self.states += 1
        if not parses(node.source, self.task.language):
            return False
        self.valid_states += 1
        self._check_time()
        if self.runs >= self.budget.runs:
            raise Stop("test runs used up")
        seconds = self.began + self.budget.seconds - self.clock()
        trace = node.parent is None  # once is enough to know which lines to suspect
        run = partial(self.sandbox.run, node.source, first=self.last_failure, seconds=max(seconds, 0.01), trace=trace)
        self.running = node, self.background.submit(run)
        return True

    def end(self) -> Node:
        """The node that is being run, with its observation. Raises Stop."""
        assert self.running is not None
        node, run = self.running
        observation = run.result()
        self.running = None
        return self._record(node, observation)

    def _record(self, node: Node, observation: Observation) -> Node:
        if observation.first_failure is not None:
            self.last_failure = observation.first_failure.name
        node = Node(
            node.id, node.parent, node.depth, node.source, node.edit, node.function, node.log_prob, node.origin,
            observation, self.runs + 1, guard=node.guard,
        )  # fmt: skip
        self.tried.append(node)
        self.watch(node)
        if solved(node):
            self.patches.append(node)
            self.guarded.add(node.guards)
        if len(self.patches) >= self.budget.patches:
            raise Stop("found enough patches")
        if self.patches and self.runs >= (self.patches[0].run or 0) + self.budget.more_runs:
            raise Stop("found a patch")
        return node

    @property
    def runs(self) -> int:
        return len(self.tried) + self.probes

    def _check_time(self) -> None:
        if self.clock() - self.began >= self.budget.seconds:
            raise Stop("out of time")

    def rank(self, node: Node) -> float:
        """How promising it is to run a node, or to look behind one that was run.

        Its likelihood, how many more tests pass than at the start, and how many edits there will be.
        """
        latest = node if node.observation is not None or node.parent is None else node.parent
        return self.rank_behind(latest, node.promise)

    def rank_behind(self, latest: Node, promise: float) -> float:
        """The rank of what promises this, and was tested last where `latest` was."""
        likely = promise - FURTHER * latest.depth
        if latest.observation is None or not self.tried or self.tried[0].observation is None:
            return likely
        now, first = latest.observation, self.tried[0].observation
        return likely + PASSED_WEIGHT * (now.passed - first.passed) / max(first.total, now.total, 1)

    def _answers(self) -> dict[int, Answers]:
        """What each patch gives for calls like those of the tests, as far as the budget goes for all of them."""
        calls = fresh_calls(self.task.targets, self.seed) if len(self.patches) > 1 else []
        if not calls or self.runs + len(self.patches) > self.budget.runs:
            return {}
        answers = {}
        for done, patch in enumerate(self.patches):
            left = self.began + self.budget.seconds - self.clock()
            if left <= 0:
                return {}
            results = self.sandbox.evaluate(patch.source, calls, seconds=left / (len(self.patches) - done))
            answers[patch.id] = tuple(r.repr if r.round_trips else r.exception for r in results)
        return answers

    def _doubtful(self) -> set[int]:
        """Ids of the patches with a guard made from values, where a single near miss passes the same tests."""
        guarded = {patch.id for patch in self.patches if patch.guards}
        if not guarded:
            return guarded
        windows = list(self.task.windows(self.first.source))
        near = ((window, edit) for _, window in windows for edit in candidates(window.program))
        sources = {window.to_file(edit).apply(self.first.source) for window, edit in near}
        return guarded if any(patch.source in sources for patch in self.patches) else set()

    def result(self, stopped: str) -> Result:
        # An interrupted sandbox may still hold the answer to what it was asked last.
        if self.running is not None and stopped != "interrupted":
            with suppress(Stop):
                self.end()
        self.background.shutdown(wait=False)
        patches = ranked(self.patches, {} if stopped == "interrupted" else self._answers(), self._doubtful())
        tried = self.tried or [self.first]  # where no run fitted into the budget
        return Result(
            tried[0], tuple(patches), tuple(tried), self.runs, self.clock() - self.began,
            self.states, self.valid_states, stopped,
        )  # fmt: skip


def best_first(search: Search, start: Node) -> None:
    """Execution-guided best-first: always run, or look behind, what ranks highest.

    A node that was run comes back into the queue to be expanded, at the rank that its tests gave it; no child
    can rank higher before it is run itself, so this is uniform-cost search over -rank. A child waits in the
    queue with those after it, which are no likelier; so does a bound of theirs, until it is the highest, and what is
    unlikely is never made. Of equal ranks, what is not yet run goes first. (What is made from values may promise more
    than all that was before; to look at them is a run, which waits for the one that goes on.)

    While tests run, the policy works: at what comes after the child that is run, and at what ranks higher than all that
    is not yet run. The order of the runs is that of doing one thing after the other.
    """
    numbers = itertools.count()
    queue: list[tuple[float, int, int, Node | Bound, Node, Iterator[Node | Bound]]] = []

    def push(found: Node | Bound | None, parent: Node, after: Iterator[Node | Bound], number: int) -> None:
        if found is not None:
            # Of equal ranks, bounds go first, so that what they stand for is in time, and in the place they had.
            ran = not isinstance(found, Bound) and found.observation is not None
            turn = 2 if ran else 0 if isinstance(found, Bound) and not found.runs else 1
            heapq.heappush(queue, (-search.rank_behind(parent, found.promise), turn, number, found, parent, after))

    push(start, start, iter(()), next(numbers))
    while queue or search.running:
        if search.running and (not queue or queue[0][1] == 1):
            tested = search.end()
            if not solved(tested):
                push(tested, tested, iter(()), next(numbers))
            continue
        *_, number, found, parent, after = heapq.heappop(queue)
        if isinstance(found, Node):
            number = next(numbers)
            if found.observation is None:
                search.begin(found)
            else:
                parent, after = found, search.unfold(found)
        push(next(after, None), parent, after, number)
    raise Stop("nothing left to try")


def beam(search: Search, start: Node, width: int = 8, children: int = 16) -> None:
    """Beam search: of each state's likeliest children, keep the best `width` of the level after running them."""
    level = [start]
    while level:
        likeliest = (child for node in level for child in itertools.islice(search.step(node), children))
        tested = [node for child in likeliest if (node := search.test(child)) is not None and not solved(node)]
        level = sorted(tested, key=search.rank, reverse=True)[:width]
    raise Stop("nothing left to try")


def best_of_n(search: Search, start: Node) -> None:
    """Walks from the start, each step drawn from the policy's own distribution; what was run is walked through.

    The N is the budget of test runs.
    """
    rng = random.Random(search.seed)
    children: dict[int, list[Node]] = {}  # of every node walked through, without those that lead nowhere new
    while children.get(start.id) != []:
        node = start
        while options := children[node.id] if node.id in children else list(search.step(node)):
            children[node.id] = options
            weights = [math.exp(max(-50.0, option.promise - node.log_prob)) for option in options]
            at = rng.choices(range(len(options)), weights)[0]
            chosen = options[at] if options[at].observation is not None else search.test(options[at])
            if chosen is None or solved(chosen) or children.get(chosen.id) == []:
                del options[at]
            else:
                options[at] = node = chosen
        children[node.id] = []
    raise Stop("nothing left to try")


def solved(node: Node) -> bool:
    return node.observation is not None and node.observation.ok


STRATEGIES: dict[str, Callable[[Search, Node], None]] = {"best-first": best_first, "beam": beam, "best-of-n": best_of_n}


def run(search: Search, strategy: str = "best-first", observation: Observation | None = None) -> Result:
    """Search until a budget binds, enough patches are found or nothing is left. Never raises for those."""
    try:
        start = search.start(observation)
        STRATEGIES[strategy](search, start)
    except Stop as stop:
        return search.result(str(stop))
    raise AssertionError("a strategy ends with Stop")
