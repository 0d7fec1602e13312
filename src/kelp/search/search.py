"""Search: propose, run the tests, observe, go on. What all strategies (`strategies.py`) share.

A node is a state of the file; `Search.step` gives a node's children without running them, `Search.test` runs
one. Budgets bind all strategies, and each can be stopped at any time with what it has found.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from operator import itemgetter
from threading import Event
from typing import Protocol

from kelp.diffusion.mutations import breaking, candidates
from kelp.encoding.condition import Condition
from kelp.execution.observation import CallResult, Observation
from kelp.search.effects import Effects, effects, instrumented
from kelp.search.merged import Merged
from kelp.search.node import Guards, Node, SearchResult
from kelp.search.policy import NEAR_MISS, Bound, PointedSite, Policy, Proposal
from kelp.search.ranking import Answers, fresh_calls, ranked
from kelp.search.suspicion import may_matter, moved, suspicion
from kelp.search.swaps import is_off_by_one, swaps
from kelp.search.synthesis.from_values import Found, filled
from kelp.search.task import Budget, Target, Task
from kelp.syntax.bundle import split
from kelp.syntax.edits import Edit, apply_disjoint
from kelp.syntax.functions import Function
from kelp.syntax.program import parses
from kelp.syntax.quotes import with_quotes_of

PASSED_WEIGHT = 8.0  # nats for passing all tests instead of none
EDIT_PENALTY_NATS = 1.5  # for each edit after the first: most bugs are one mistake
MAX_SWAPS = 32  # tried before the first guard
UNHELPFUL_PENALTY_NATS = 3.0  # for a further edit where those before it made no more tests pass
PROBED_AFTER = 4  # edits tried before one more run looks at the effects of all edits
LOOK_SHARE = 0.25  # of the seconds left, for that run at most
HOPELESS_RUNS = 128  # without a program that passes more tests than all before, or half of a larger budget
INTERRUPTED = "interrupted"  # reason for the end of a search that was stopped from outside


class Stop(Exception):
    """The end of a search: a budget is used up, enough was found, or it was stopped from outside."""


class SuiteRunner(Protocol):
    """Runs the tests and calls: a sandbox, as a rule."""

    def run(self, source: bytes, *, first: str | None, seconds: float | None, trace: bool) -> Observation: ...
    def evaluate(self, source: bytes, calls: Sequence[str], *, seconds: float) -> list[CallResult]: ...


@dataclass
class Search:
    """The state that all strategies share. `clock` gives seconds; set `stopping`, from any thread, to end it."""

    task: Task
    policy: Policy
    tests: SuiteRunner
    budget: Budget = field(default_factory=Budget)
    clock: Callable[[], float] = time.monotonic
    spent: float = 0.0  # seconds of the budget that were used before
    seed: int = 0
    stopping: Event = field(default_factory=Event)
    seen: set[bytes] = field(default_factory=set)
    guarded: set[Guards] = field(default_factory=set)  # the guards of each patch
    tried: list[Node] = field(default_factory=list)
    patches: list[Node] = field(default_factory=list)
    helpful: list[tuple[Node, frozenset[str]]] = field(default_factory=list)  # with the tests that now pass
    states: int = 0
    valid_states: int = 0
    probes: int = 0  # runs that only evaluated calls
    pointer: dict[int, tuple[PointedSite, ...]] = field(default_factory=dict)  # of each node: sites in its source
    last_failure: str | None = None
    most: int = -1  # tests that a program has passed so far ...
    nearest: int = 0  # ... and the run of the first one that did
    running: tuple[Node, Future[Observation]] | None = None

    def __post_init__(self) -> None:
        self.began = self.clock() - self.spent
        self.ids = itertools.count()
        self.background = ThreadPoolExecutor(1)
        self._windows = lru_cache(64)(self._windows_after)
        self._looked = False  # at the effects of edits ...
        self._effects: dict[tuple[int, bytes], Effects] = {}  # ... which are these, by file and text of a function

    def start(self, observation: Observation | None = None) -> Node:
        """Return the unchanged file as a node; given its observation, it is not run again. Raises Stop."""
        node = self.first = Node(
            id=next(self.ids), parent=None, depth=0, source=self.task.source, edit=None, function="", log_prob=0.0,
            origin="start",
        )  # fmt: skip
        if observation is not None:
            self.seen.add(node.source)
            self.states, self.valid_states = 1, 1
            return self._record(node, observation)
        valid = all(parses(source, self.task.language) for source in split(node.source))
        tested = self.test(node) if valid else None
        if tested is None:
            raise Stop("the file does not parse")
        return tested

    def step(self, node: Node) -> Iterator[Node]:
        """Yield the children of a node, likeliest first, not yet run, made as they are asked for.

        Programs seen before are left out.
        """
        return (child for child in self.unfold(node) if isinstance(child, Node))

    def unfold(self, node: Node) -> Iterator[Node | Bound]:
        """As `step`, with a bound on the log-probability before each piece of work.

        The bound does not hold for children by value-guided synthesis, whose tests are known to pass.
        """
        self._check_time()
        if node.depth >= self.budget.edits:
            return
        windows = self._windows(node)
        latest = {target.qualname: (target, window) for target, window in windows}  # the one that the name means
        families = [self._children(node, *window) for window in windows]
        synthesized = [self._synthesized(node, *window) for window in latest.values()]
        merged, made = Merged([*families, *synthesized]), set[tuple[str, Edit | None]]()
        for child in merged:
            self._check_time()
            if node.parent is None and not self._looked and len(made) >= PROBED_AFTER:
                yield Bound(child.priority, runs=True)
                if self._look(windows):
                    self.pointer.pop(node.id, None)  # the sites are pointed at again
                    merged.exchange(families, [self._children(node, *window) for window in windows])
                if isinstance(child, Bound):
                    continue
            if isinstance(child, Bound):
                yield child
            elif child.source not in self.seen and (child.function, child.edit) not in made:
                made.add((child.function, child.edit))
                yield child

    def _look(self, windows: Sequence[tuple[Target, Function]]) -> bool:
        """Run the tests on the unchanged file with probes for the edits of all kinds; False if that told nothing."""
        self._looked = True
        first, functions = self.tried[0], [window for _, window in windows]
        if self.runs >= self.budget.runs or first.observation is None:
            return False
        conditions = [self._condition(first, *window) for window in windows]
        edits = [
            [*candidates(window.program, may_matter(window.program, condition.suspicion))]
            for window, condition in zip(functions, conditions)
        ]
        probes = instrumented(first.source, functions, edits)
        if probes is None:
            return False
        self.probes += 1
        seen = self.tests.run(probes.source, first=None, seconds=max(LOOK_SHARE * self.left, 0.01), trace=True)
        found = effects(first.observation, seen, probes, functions)
        self._effects = {(window.file, window.source): known for window, known in zip(functions, found or ())}
        return bool(found)

    def _windows_after(self, node: Node) -> tuple[tuple[Target, Function], ...]:
        """Return each target with its function in this state; raises SyntaxError where its edit leaves no program.

        Only the function that was edited is parsed, since a file may be a thousand times as long.
        """
        if node.parent is None or node.edit is None:
            return tuple(self.task.windows(node.source))
        before, edit = node.parent.source, node.edit
        moved = [(target, window, window.after(edit, before)) for target, window in self._windows(node.parent)]
        if not all(new is old or parses(new.source, new.language) for _, old, new in moved if old.raw != new.raw):
            raise SyntaxError("not a program")
        return tuple((target, new) for target, _, new in moved if new.qualname == target.qualname)

    def _children(self, node: Node, target: Target, window: Function) -> Iterator[Node | Bound]:
        """Yield the children by the policy's edits of one function."""
        for proposal in self.policy.propose(window.program, self._condition(node, target, window)):
            if isinstance(proposal, Bound):
                if proposal.pointer:
                    at, share = window.offsets, math.exp(target.prior)
                    found = (PointedSite(at[s.start], at[s.end], share * s.probability) for s in proposal.pointer)
                    self.pointer[node.id] = (*self.pointer.get(node.id, ()), *found)
                yield Bound(node.log_prob + target.prior + proposal.log_prob)
            else:
                yield self._child(node, target, window, proposal)

    def _synthesized(self, node: Node, target: Target, window: Function) -> Iterator[Node | Bound]:
        """Yield the children by value-guided synthesis: edits after which calls are known to give the wanted values."""
        threshold, seen = self.policy.threshold, node.observation
        asserts = self.task.wanted[target] if threshold > -math.inf else []
        if not asserts or seen is None or not seen.total:
            return
        yield Bound(node.log_prob + target.prior + threshold, runs=True)

        def evaluate(edits: Sequence[Edit], arguments: Sequence[str]) -> list[CallResult]:
            self._check_time()
            if self.runs >= self.budget.runs:
                raise Stop("test runs used up")
            self.probes += 1
            source = apply_disjoint(node.source, list(map(window.to_file, edits)))
            calls = [f"{target.qualname}({given})" for given in arguments]
            return self.tests.evaluate(source, calls, seconds=max(self.left, 0.01))

        found: dict[Edit, Found] = {}
        for of_place in filled(window.program, asserts, evaluate, self.task.names[target.file]):
            self._check_time()
            found.update({each.edit: each for each in of_place})
        if found:
            wrong = 1 - seen.passed / seen.total
            bonus = {e.edit: PASSED_WEIGHT * (1 if e.share == 1 else e.share * wrong) for e in found.values()}
            judged = self.policy.judge(window.program, self._condition(node, target, window), [*found])
            guarded = False
            for proposal in sorted(judged, key=lambda p: -p.log_prob - bonus[p.edit]):
                child = self._child(node, target, window, proposal)
                child = replace(child, progress_bonus=bonus[proposal.edit], guard=found[proposal.edit].guard)
                if child.guard and not guarded:
                    for swap in self._swaps:
                        yield replace(swap, progress_bonus=child.priority - swap.log_prob)
                    guarded = True
                yield child

    @cached_property
    def _swaps(self) -> list[Node]:
        """Swaps in the unchanged file, which are tried before any guard of any state.

        For almost every program with an operator off by one, some condition holds for the failing calls alone.
        """
        start = self.tried[0]
        found: list[tuple[bool, Node]] = []
        for target, window in self._windows(start):
            condition, program = self._condition(start, target, window), window.program
            for proposal in self.policy.judge(program, condition, swaps(program, condition.suspicion)):
                child = self._child(start, target, window, replace(proposal, origin=NEAR_MISS))
                found.append((is_off_by_one(program, proposal.edit), child))
        return [node for _, node in sorted(found, key=lambda pair: (not pair[0], -pair[1].log_prob))][:MAX_SWAPS]

    def _condition(self, node: Node, target: Target, window: Function) -> Condition:
        seen = node.observation
        failure = seen.first_failure if seen else None
        return replace(
            self.task.condition(target, seen.render(window.first_line) if seen else ""),
            suspicion=self._suspicion(node, window),
            exception=failure.exception if failure else None,
            effects=self._effects.get((window.file, window.source), {}) if node.parent is None else {},
        )

    def _child(self, node: Node, target: Target, window: Function, proposal: Proposal) -> Node:
        edit = window.to_file(with_quotes_of(window.program, proposal.edit))
        return Node(
            id=next(self.ids), parent=node, depth=node.depth + 1, source=edit.apply(node.source), edit=edit,
            function=self.task.label(target), log_prob=node.log_prob + target.prior + proposal.log_prob,
            origin=proposal.origin,
        )  # fmt: skip

    def joined(self, node: Node) -> Iterator[Node]:
        """Yield a node that was run joined with another one, where each passes a failing test that the other does not.

        So independent mistakes need no search of their own behind each other. One of the two is a first edit, which is
        made in the other's program; of several pairs, the one with the most tests is taken, if those are the most yet.
        """
        gained = node.passing - self.tried[0].passing
        if not gained:
            return
        pairs = [pair for other in self.helpful for pair in ((other, (node, gained)), ((node, gained), other))]
        self.helpful.append((node, gained))
        most = max(len(tests) for _, tests in self.helpful)
        found = (
            (len(has | more), len(more - has), base, one, edit)
            for (base, has), (one, more) in pairs
            if one.depth == 1 and base.depth < self.budget.edits and len(has | more) > most
            if (edit := one.edit_after(base)) is not None
        )
        for _, gain, base, one, edit in sorted(found, key=itemgetter(0), reverse=True)[:1]:
            bonus = PASSED_WEIGHT * gain / self._whole(base) - one.log_prob  # the edit is known to help
            yield replace(
                one, id=next(self.ids), parent=base, depth=base.depth + 1, source=edit.apply(base.source), edit=edit,
                log_prob=base.log_prob + one.log_prob, progress_bonus=bonus, observation=None, run=None,
            )  # fmt: skip

    def _suspicion(self, node: Node, window: Function) -> tuple[float, ...]:
        """Return the suspicion of each line of the window: that of the line of the first state which it comes from.

        Lines before the first one executed (signature, defaults) are as suspicious as that line.
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
        """Run the tests on a node and return it with its observation; None where `begin` refuses it. Raises Stop."""
        return self.end() if self.begin(node) else None

    def begin(self, node: Node) -> bool:
        """Start to run the tests on a node, in the background; False where it was seen or is no program. Raises Stop.

        One run goes on at a time: `end` waits for it.
        """
        if node.parent is not None and (node.source in self.seen or (node.guards and node.guards in self.guarded)):
            return False
        self.seen.add(node.source)
        self.states += 1
        try:
            self._windows(node)
        except SyntaxError:
            return False
        self.valid_states += 1
        self._check_time()
        if self.runs >= self.budget.runs:
            raise Stop("test runs used up")
        trace = node.parent is None  # once is enough to know which lines to suspect
        seconds = max(self.left, 0.01)
        run = partial(self.tests.run, node.source, first=self.last_failure, seconds=seconds, trace=trace)
        self.running = node, self.background.submit(run)
        return True

    def end(self) -> Node:
        """Wait for the run that `begin` started and return its node with the observation. Raises Stop."""
        assert self.running is not None
        node, run = self.running
        wait([run])
        self.running = None
        self._check_stopping()  # a run that was cut short says nothing
        return self._record(node, run.result())

    def _record(self, node: Node, observation: Observation) -> Node:
        if observation.first_failure is not None:
            self.last_failure = observation.first_failure.name
        seconds = self.clock() - self.began
        node = replace(node, observation=observation, run=self.runs + 1, seconds=seconds, progress_bonus=0.0)
        if observation.passed > self.most:
            self.most, self.nearest = observation.passed, self.runs + 1
        self.tried.append(node)
        if node.solved:
            self.patches.append(node)
            self.guarded.add(node.guards)
        return node

    @property
    def runs(self) -> int:
        return len(self.tried) + self.probes

    @property
    def left(self) -> float:
        """Seconds of the budget that are left."""
        return self.began + self.budget.seconds - self.clock()

    def _check_time(self) -> None:
        self._check_stopping()
        if self.left <= 0:
            raise Stop("out of time")

    def _check_stopping(self) -> None:
        if self.stopping.is_set():
            raise Stop(INTERRUPTED)

    def check_found(self) -> None:
        """Raise Stop where the patches found are enough."""
        if len(self.patches) >= self.budget.patches:
            raise Stop("found enough patches")
        if self.patches:
            first = self.patches[0]
            more_seconds = self.clock() - self.began - first.seconds
            if self.runs >= (first.run or 0) + self.budget.more_runs or more_seconds > self.budget.more_seconds:
                raise Stop("found a patch")
        elif self.runs - self.nearest >= max(HOPELESS_RUNS, self.budget.runs // 2) - 1:
            raise Stop("no edit gets nearer")

    def rank(self, node: Node) -> float:
        """Rank of a node, to be run or to be expanded, in nats.

        Its priority, the tests it passes beyond those at the start, and a penalty for the number of its edits.
        """
        latest = node if node.observation is not None or node.parent is None else node.parent
        return self.child_priority(latest, node.priority)

    def child_priority(self, latest: Node, priority: float) -> float:
        """Rank of a priority at or behind `latest`, the last node on its way that was tested."""
        likely = priority - EDIT_PENALTY_NATS * latest.depth
        if latest.observation is None or not self.tried or self.tried[0].observation is None:
            return likely
        now, first = latest.observation, self.tried[0].observation
        likely -= UNHELPFUL_PENALTY_NATS * (latest.depth > 0 and now.passed <= first.passed)
        return likely + PASSED_WEIGHT * (now.passed - first.passed) / self._whole(latest)

    def _whole(self, node: Node) -> int:
        """Number of tests that make up all of the progress."""
        totals = (each.observation.total for each in (self.tried[0], node) if each.observation)
        return self.task.goals or max(*totals, 1)

    def _answers(self) -> dict[int, Answers]:
        """Return each patch's answers to calls like those of the tests, if the budget suffices for all patches."""
        alone = len(self.patches) == 1 or self.task.files  # files of a project need the others to be called
        calls = [] if alone else fresh_calls(self.task.targets, self.task.language.specs, self.seed)
        if not calls or self.runs + len(self.patches) > self.budget.runs:
            return {}
        answers = {}
        for done, patch in enumerate(self.patches):
            if self.left <= 0 or self.stopping.is_set():
                return {}
            results = self.tests.evaluate(patch.source, calls, seconds=self.left / (len(self.patches) - done))
            answers[patch.id] = tuple(r.repr if r.round_trips else r.exception for r in results)
        return answers

    def _doubtful(self) -> set[int]:
        """Return the ids of the patches with a guard, where a single near miss passes the same tests."""
        guarded = {patch.id for patch in self.patches if patch.guards}
        if not guarded:
            return guarded
        near = {
            (target, edit.apply(window.source))
            for target, window in self._windows(self.first)
            for edit in breaking(window.program)
        }
        changed = map(self._changed, self.patches)
        return guarded if any(len(found) == 1 and found <= near for found in changed) else set()

    def _changed(self, node: Node) -> set[tuple[Target, bytes]]:
        """Return the targets whose functions a state changes, with their new texts."""
        now, before = ({(t, window.source) for t, window in self._windows(state)} for state in (node, self.first))
        return now - before

    def result(self, stopped: str) -> SearchResult:
        """Return what was found so far, patches ranked. An interrupted search runs nothing more."""
        self.background.shutdown(wait=False)
        answers = {} if stopped == INTERRUPTED else self._answers()
        tried = self.tried or [self.first]  # where no run fitted into the budget
        return SearchResult(
            start=tried[0],
            patches=tuple(ranked(self.patches, answers, last=self._doubtful())),
            tried=tuple(tried),
            runs=self.runs,
            seconds=self.clock() - self.began,
            states=self.states,
            valid_states=self.valid_states,
            stopped=stopped,
        )
