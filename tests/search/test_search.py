"""The search by hand-made policies: what it tries, in which order, and when it stops."""

import heapq
import itertools
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from tests.programs import PYTHON

from kelp.encoding.condition import Condition
from kelp.execution.observation import CallResult, Observation, TestOutcome
from kelp.execution.sandbox import Sandbox
from kelp.search.baselines import NoModel
from kelp.search.node import Node, SearchResult
from kelp.search.policy import Bound, Policy, Proposal
from kelp.search.search import Search
from kelp.search.strategies import STRATEGIES, explore, run
from kelp.search.task import Budget, Target, Task
from kelp.syntax.edits import Edit
from kelp.syntax.program import Program

BROKEN = b"""\
def doubled(a, b):
    total = a - b
    return total * 3
"""
FIXED = BROKEN.replace(b"a - b", b"a + b").replace(b"* 3", b"* 2")
ASSERTS = ("assert doubled(0, 0) == 0", "assert doubled(2, 0) == 4", "assert doubled(1, 2) == 6")
TASK = Task(BROKEN, (Target("doubled", "Twice the sum.", ASSERTS),), PYTHON)
GOOD = (("a - b", "a + b", -3.0), ("* 3", "* 2", -3.0))
BAD = (("total = a", "total = b", -1.0), ("(a, b)", "(b, a)", -1.5), ("return total", "return a", -2.0))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_budget_that_allows_no_run_at_all_binds(strategy: str) -> None:
    with Sandbox() as sandbox:
        clock = iter([0.0, 2.0, 3.0]).__next__
        search = Search(TASK, Swaps(*GOOD), Recorder(sandbox), Budget(seconds=1.0), clock=clock)
        result = run(search, strategy)
    assert (result.stopped, result.runs, result.patches) == ("out of time", 0, ())
    assert result.closest is result.start and result.start.source == BROKEN


class Swaps(Policy):
    """Proposes to swap texts for others, wherever they stand; keeps what it was shown."""

    def __init__(self, *swaps: tuple[str, str, float]) -> None:
        self.swaps = swaps
        self.shown: list[Condition] = []

    def propose(self, program: Program, condition: Condition) -> Iterator[Proposal]:
        self.shown.append(condition)
        for old, new, log_prob in sorted(self.swaps, key=lambda swap: -swap[2]):
            at = program.source.find(old.encode())
            if at >= 0:
                yield Proposal(Edit(at, at + len(old), new.encode()), log_prob, "model")


@dataclass
class Recorder:
    """Runs asserts in a sandbox and keeps what it was asked for."""

    sandbox: Sandbox
    asserts: tuple[str, ...] = ASSERTS
    sources: list[bytes] = field(default_factory=list)
    firsts: list[str | None] = field(default_factory=list)

    def run(self, source: bytes, *, first: str | None, seconds: float | None, trace: bool = False) -> Observation:
        self.sources.append(source)
        self.firsts.append(first)
        return self.sandbox.run(source, first=first, asserts=self.asserts, trace=trace)

    def evaluate(self, source: bytes, calls: Sequence[str], *, seconds: float) -> list[CallResult]:
        return self.sandbox.evaluate(source, calls, seconds=seconds)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def tests(sandbox: Sandbox) -> Recorder:
    return Recorder(sandbox)


@dataclass
class Measuring:
    """A parser, or a compiler, that notes the length of each source."""

    wrapped: Callable[[bytes], Any]
    lengths: list[int] = field(default_factory=list)

    def parse(self, source: bytes) -> Any:
        self.lengths.append(len(source))
        return self.wrapped(source)


class Failing:
    """Reports the same failure of each program, and runs nothing."""

    def run(self, source: bytes, *, first: str | None, seconds: float | None, trace: bool) -> Observation:
        return Observation((TestOutcome("t", "fail", lines=frozenset({1, 2, 3})),), seconds=0.01)

    def evaluate(self, source: bytes, calls: Sequence[str], *, seconds: float) -> list[CallResult]:
        return [CallResult(call, exception="NotLoaded") for call in calls]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("asserts", [(), ASSERTS])
def test_a_step_reads_the_function_and_not_the_file_around_it(strategy: str, asserts: tuple[str, ...]) -> None:
    file = BROKEN + b"\n".join(b"def f%d(x):\n    return x\n" % n for n in range(300))
    parser, compiler = Measuring(PYTHON.parser.parse), Measuring(PYTHON.compiles)
    language = replace(PYTHON, parser=parser, compiles=compiler.parse)
    task = Task(file, (Target("doubled", "Twice the sum.", asserts),), language)
    before = task.names, [window.qualname for _, window in task.windows(file)], parser.lengths.clear()
    result = run(Search(task, NoModel(0), Failing(), Budget(runs=30)), strategy, Failing().run(file, **ANY_RUN))
    assert before[1] == ["doubled"] and result.runs == 30 and len({node.source for node in result.tried}) >= 29
    assert {node.depth for node in result.tried} > {1, 2} or strategy != "beam"
    read = [*parser.lengths, *compiler.lengths]
    assert len(read) > 60 and max(read) < 2 * len(BROKEN) < len(file) / 30


ANY_RUN: dict[str, Any] = {"first": None, "seconds": None, "trace": True}


def search(
    tests: Recorder, *swaps: tuple[str, str, float], strategy: str = "best-first", **budget: float
) -> SearchResult:
    return run(Search(TASK, Swaps(*swaps), tests, replace(Budget(), **budget)), strategy)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_finds_a_repair_of_two_edits(strategy: str, tests: Recorder) -> None:
    result = search(tests, *GOOD, *BAD, strategy=strategy, patches=1)
    [patch] = result.patches
    assert patch.source == FIXED
    assert [node.depth for node in patch.path()] == [0, 1, 2]
    assert patch.observation is not None and patch.observation.ok
    assert result.stopped == "found enough patches"


def test_best_first_looks_behind_the_state_that_passes_more_tests(tests: Recorder) -> None:
    result = search(tests, *GOOD, *((old, new, -2.5) for old, new, _ in BAD), patches=1)
    assert result.patches[0].source == FIXED
    pairs = [node for node in result.tried if node.depth == 2]
    # After `* 2` one test more passes, which is worth more than that all other single edits are likelier.
    assert pairs and all(node.parent.edit.text == b"* 2" for node in pairs)


def test_a_state_ranks_by_its_tests_and_its_likelihood(tests: Recorder) -> None:
    s = Search(TASK, Swaps(*GOOD, *BAD), tests)
    start = s.start()
    ran = {child.edit.text: s.test(child) for child in s.step(start)}
    better, likelier, unlikelier = ran[b"* 2"], ran[b"total = b"], ran[b"return a"]
    assert better.observation.passed > likelier.observation.passed == unlikelier.observation.passed
    assert better.log_prob < unlikelier.log_prob < likelier.log_prob
    assert s.rank(better) > s.rank(likelier) > s.rank(unlikelier)


def test_the_policy_sees_the_intent_the_tests_and_what_they_said(sandbox: Sandbox) -> None:
    policy = Swaps(*GOOD)
    run(Search(TASK, policy, Recorder(sandbox)))
    blame = (2 / 3,) * 3  # both lines of the body are executed by two tests that fail and one that passes
    said = "1/3 doubled(2, 0) got 6 want 4"
    seen = Condition("Twice the sum.", ASSERTS, said, blame, frozenset({"doubled"}), "AssertionError")
    assert policy.shown[0] == seen
    assert [shown.observation[:4] for shown in policy.shown] == ["1/3 ", "1/3 ", "2/3 "]


def test_suspicion_goes_with_the_lines_that_an_edit_moves(sandbox: Sandbox) -> None:
    policy = Swaps(("    total = a", "    # new\n    # lines\n    total = a", -1.0))
    run(Search(TASK, policy, Recorder(sandbox)))
    assert policy.shown[1].suspicion == (2 / 3,) * 5


def test_every_node_is_its_parent_with_the_edit(tests: Recorder) -> None:
    for node in search(tests, *GOOD, *BAD).tried[1:]:
        assert node.edit.apply(node.parent.source) == node.source


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_program_is_run_twice(strategy: str, tests: Recorder) -> None:
    there_and_back = [swap for old, new, p in (*GOOD, *BAD) for swap in ((old, new, p), (new, old, p))]
    result = search(tests, *there_and_back, strategy=strategy, patches=9, more_runs=99)
    assert len(set(tests.sources)) == len(tests.sources) == result.runs > 8


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("runs", [1, 3])
def test_test_runs_are_limited(strategy: str, runs: int, tests: Recorder) -> None:
    result = search(tests, *GOOD, *BAD, strategy=strategy, runs=runs)
    assert result.runs == len(tests.sources) == runs
    assert result.stopped == "test runs used up"
    assert not result.patches


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_time_is_limited(strategy: str, tests: Recorder) -> None:
    class Clock:
        now = 0.0

        def __call__(self) -> float:
            Clock.now += 1
            return Clock.now

    result = run(Search(TASK, Swaps(*BAD), tests, Budget(seconds=12), clock=Clock()), strategy)
    assert result.stopped == "out of time"
    assert 12 <= result.seconds <= 14


def test_a_test_run_gets_no_more_time_than_is_left(sandbox: Sandbox) -> None:
    class Slow(Recorder):
        def run(self, source: bytes, *, first: str | None, seconds: float | None, trace: bool = False) -> Observation:
            self.left = seconds
            return super().run(source, first=first, seconds=seconds, trace=trace)

    tests = Slow(sandbox)
    Search(TASK, Swaps(), tests, Budget(seconds=5), clock=lambda: 0.0).start()
    assert tests.left == 5
    Search(TASK, Swaps(), tests, Budget(seconds=5), clock=lambda: 0.0, spent=3.0).start()
    assert tests.left == 2


@dataclass
class Made(Policy):
    """A policy and tests, both made up: every program has a number, and what is said of it follows from that."""

    seed: int
    search: Search | None = None
    log: list[str] = field(default_factory=list)
    meanwhile: int = 0  # proposals that were made while tests ran
    proposed: int = 0
    bounds: bool = True  # does it say how likely its proposals can be, before it makes them?

    def propose(self, program: Program, condition: Condition) -> Iterator[Proposal | Bound]:
        rng = random.Random(f"{self.seed} {program.source!r}")
        log_prob, at = 0.0, program.source.rindex(b" ") + 1
        for _ in range(rng.randrange(6)):
            below = rng.choice((0.0, 0.5, 1.0, 4.0))
            if self.bounds:
                yield Bound(log_prob - random.Random(f"bound {log_prob} {below}").choice((0.0, below, below, below)))
            log_prob -= below
            assert self.search is not None
            self.meanwhile += self.search.running is not None
            self.proposed += 1
            yield Proposal(Edit(at, len(program.source), b"%d" % rng.randrange(10, 99)), log_prob, "model")

    def run(self, source: bytes, *, first: str | None, seconds: float | None, trace: bool = False) -> Observation:
        rng = random.Random(f"{self.seed} {source!r} {first}")
        passed = rng.choice((0, 0, 0, 0, 1, 1, 2, 3))
        outcomes = [TestOutcome(f"test {i}", "pass" if i < passed else "fail") for i in range(3)]
        rng.shuffle(outcomes)
        self.log.append("run")
        time.sleep(0.001)
        self.log.append("ran")
        return Observation(tuple(outcomes))

    def evaluate(self, source: bytes, calls: Sequence[str], *, seconds: float) -> list[CallResult]:
        return []


def one_after_the_other(search: Search, start: Node) -> Iterator[Node]:
    """Best-first with nothing in the background."""
    queue: list[tuple[float, bool, int, Node, Iterator[Node]]] = []

    def push(node: Node | None, after: Iterator[Node]) -> None:
        if node is not None:
            heapq.heappush(queue, (-search.rank(node), node.observation is not None, next(order), node, after))

    order = itertools.count()
    push(start, iter(()))
    while queue:
        *_, node, after = heapq.heappop(queue)
        if node.observation is None:
            push(next(after, None), after)
            tested = search.test(node)
            if tested is not None:
                yield tested
                if not tested.solved:
                    push(tested, iter(()))
        else:
            children = search.step(node)
            push(next(children, None), children)


def test_work_in_the_background_changes_no_run_and_goes_on_while_tests_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STRATEGIES, "plain", one_after_the_other)
    monkeypatch.setattr("kelp.search.search.PROBED_AFTER", 99)  # a run of its own, which comes earlier there
    meanwhile = 0
    for seed in range(60):
        budget = Budget(runs=30, patches=2, more_runs=5)
        task = Task(b"def f():\n    return 0\n", (Target("f"),), PYTHON)
        results = []
        for strategy in ("plain", "best-first"):
            made = Made(seed)
            made.search = Search(task, made, made, budget)
            results.append(run(made.search, strategy))
            assert made.log == ["run", "ran"] * (len(made.log) // 2)  # none beside another, and none is left
        plain, overlapped = results
        meanwhile += made.meanwhile
        assert [node.source for node in overlapped.tried] == [node.source for node in plain.tried]
        assert [node.source for node in overlapped.patches] == [node.source for node in plain.patches]
        assert overlapped.stopped == plain.stopped
    assert meanwhile > 200


def test_what_cannot_be_likely_enough_is_not_made_and_changes_no_run() -> None:
    proposed = {True: 0, False: 0}
    for seed in range(60):
        tried = []
        for bounds in proposed:
            made = Made(seed, bounds=bounds)
            task = Task(b"def f():\n    return 0\n", (Target("f"),), PYTHON)
            made.search = Search(task, made, made, Budget(runs=10, patches=2))
            tried.append([node.source for node in run(made.search).tried])
            proposed[bounds] += made.proposed
        assert tried[0] == tried[1]
    assert proposed[True] < proposed[False] - 20


def test_a_patch_whose_tests_run_when_time_is_up_is_found(sandbox: Sandbox) -> None:
    clock = iter([0.0] * 8 + [9.0] * 99)  # time is up while the first child is run
    made = Recorder(sandbox)
    task = Task(FIXED.replace(b"a + b", b"a - b"), TASK.targets, PYTHON)
    policy = Swaps(GOOD[0], ("total = a", "total = b", -5.0))
    result = run(Search(task, policy, made, Budget(seconds=5), clock=lambda: next(clock)))
    assert (result.stopped, [node.source for node in result.patches]) == ("out of time", [FIXED])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_edits_are_limited(strategy: str, tests: Recorder) -> None:
    result = search(tests, *GOOD, *BAD, strategy=strategy, edits=1)
    assert {node.depth for node in result.tried} == {0, 1}
    assert len(result.tried) == 1 + len(GOOD) + len(BAD)
    assert result.stopped == "nothing left to try"


def test_a_search_goes_on_for_more_patches_but_not_for_long(tests: Recorder) -> None:
    ways = (("a - b", "a + b", -1.0), ("a - b", "b + a", -2.0), ("* 3", "* 2", -1.0), ("* 3", "+ total", -2.0))
    result = search(tests, *ways, patches=2)
    assert len(result.patches) == 2 and result.stopped == "found enough patches"
    result = search(tests, *ways, *BAD, patches=9, more_runs=1)
    assert result.stopped == "found a patch"
    assert result.runs == min(node.run for node in result.patches) + 1


def test_patches_come_with_the_fewest_edits_and_then_the_likeliest_first(tests: Recorder) -> None:
    whole = ("total = a - b\n    return total * 3", "return (a + b) * 2", -9.0)
    result = search(tests, *GOOD, ("a - b", "b + a", -2.0), whole, patches=9, more_runs=99)
    assert [(patch.depth, patch.log_prob) for patch in result.patches] == [(1, -9.0), (2, -5.0), (2, -6.0)]


def test_the_test_that_failed_last_goes_first(tests: Recorder) -> None:
    search(tests, *GOOD, ("return total", "return 1 + total", -1.0), patches=1)
    assert tests.firsts[:3] == [None, ASSERTS[1], ASSERTS[1]]
    assert b"* 2" in tests.sources[-2] and tests.firsts[-1] == ASSERTS[2]  # ASSERTS[1] passes by then


def test_states_that_do_not_compile_are_counted_and_not_run(tests: Recorder) -> None:
    result = search(tests, *GOOD, ("return total", "return return", -1.0), ("return total * 3", "break", -1.5))
    assert result.patches
    assert result.validity == result.valid_states / result.states < 1
    assert result.valid_states == result.runs == len(tests.sources)
    assert not any(b"return return" in source or b"break" in source for source in tests.sources)


def test_the_closest_state_passes_the_most_tests(tests: Recorder) -> None:
    result = search(tests, GOOD[1], *BAD)
    assert not result.patches
    assert b"* 2" in result.closest.source
    assert result.closest.observation.passed == 2


def test_a_known_observation_is_not_made_again(tests: Recorder) -> None:
    known = tests.run(BROKEN, first=None, seconds=None)
    result = run(Search(TASK, Swaps(*GOOD), tests, Budget(patches=1)), observation=known)
    assert tests.sources.count(BROKEN) == 1
    assert result.start.observation is known and result.start.run == 1
    assert result.runs == len(tests.sources)


def test_a_file_that_passes_needs_no_search(tests: Recorder) -> None:
    result = run(Search(Task(FIXED, TASK.targets, PYTHON), Swaps(*BAD), tests, Budget(patches=1)))
    assert [patch.depth for patch in result.patches] == [0]


def test_children_of_several_functions_come_likeliest_first(tests: Recorder) -> None:
    file = BROKEN + b"\n\n" + BROKEN.replace(b"doubled", b"other")
    task = Task(file, (Target("doubled", prior=-2.0), Target("other", prior=-0.1)), PYTHON)
    s = Search(task, Swaps(*GOOD, *BAD), tests)
    children = list(s.step(s.start()))
    assert [child.log_prob for child in children] == sorted((child.log_prob for child in children), reverse=True)
    assert {child.function for child in children} == {"doubled", "other"}
    assert (children[0].function, children[0].log_prob) == ("other", -1.1)
    assert all(child.edit.start > len(BROKEN) for child in children if child.function == "other")


def test_without_a_model_single_edits_come_before_pairs(tests: Recorder) -> None:
    hopeless = replace(TASK, source=BROKEN.replace(b"doubled", b"halved"), targets=(Target("halved"),))
    s = Search(hopeless, NoModel(), tests, Budget(runs=60, seconds=600))
    result = run(s)  # the tests call another function: nothing passes any
    depths = [node.depth for node in result.tried]
    assert depths == sorted(depths)
    assert set(depths) == {0, 1, 2}


def test_without_a_model_every_seed_has_its_order(sandbox: Sandbox) -> None:
    def order(seed: int) -> list[bytes]:
        tests = Recorder(sandbox)
        run(Search(TASK, NoModel(seed), tests, Budget(runs=12, seconds=600)))
        return tests.sources

    assert order(1) == order(1) != order(2)


def test_every_node_run_is_yielded(tests: Recorder) -> None:
    search = Search(TASK, Swaps(*GOOD, *BAD), tests)
    seen = list(explore(search))
    result = search.result("")
    assert tuple(seen) == result.tried
    assert [node.seconds for node in seen] == sorted(node.seconds for node in seen)
    runs = [node.run for node in seen]
    assert runs == sorted(set(runs)) and len(runs) + search.probes == result.runs
    assert search.probes == 1  # the look at the effects of edits


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_search_that_is_stopped_ends_with_what_it_has(strategy: str, tests: Recorder) -> None:
    search = Search(TASK, Swaps(*GOOD, *BAD), tests)
    exploring = explore(search, strategy)
    first, second = next(exploring), next(exploring)
    search.stopping.set()
    assert list(exploring) == []
    result = search.result("interrupted")
    assert result.tried == (first, second)


ASKED = ('assert greet("a") == "hello a"',)


def test_strings_of_a_patch_have_the_quotes_of_the_program() -> None:
    source = b'def greet(name):\n    return "hello " + nam\n'
    task = Task(source, (Target("greet", "", ASKED),), PYTHON)
    with Sandbox() as sandbox:
        policy = Swaps(('"hello " + nam', "'hello ' + name", -1.0), ("+ nam", "+ name", -2.0))
        result = run(Search(task, policy, Recorder(sandbox, ASKED), Budget(runs=8)), "best-first")
    assert [patch.source for patch in result.patches] == [source.replace(b"+ nam", b"+ name")]  # one, not two


def test_two_edits_that_each_pass_another_test_are_joined_at_once() -> None:
    source = b"def both(a):\n    if a > 3:\n        return a - 1\n    return a * 3\n"
    asserts = ("assert both(9) == 10", "assert both(2) == 4", "assert both(-1) == -2")
    task = Task(source, (Target("both", "", asserts),), PYTHON)
    wrong = [("a >", "a <", -1.5), ("(a)", "(a, b)", -1.6), ("a -", "a //", -4.5), ("a -", "a %", -4.6)]
    with Sandbox() as sandbox:
        policy = Swaps(("a - 1", "a + 1", -4.0), ("* 3", "* 2", -4.2), *wrong)
        result = run(Search(task, policy, Recorder(sandbox, asserts), Budget(runs=32, patches=1)), "best-first")
    [patch] = result.patches
    assert patch.source == source.replace(b"a - 1", b"a + 1").replace(b"* 3", b"* 2")
    before, last = result.tried[-2:]  # the second edit was tried alone, and joined to the first one
    assert (before.depth, before.source) == (1, source.replace(b"* 3", b"* 2")) and last.source == patch.source
    assert patch.parent is not None and patch.edit is not None
    assert patch.edit.apply(patch.parent.source) == patch.source


def test_the_clock_is_looked_at_while_a_long_literal_is_read(tests: Recorder) -> None:
    file = b"def doubled(a, b):\n    values = [%s]\n    return a\n" % b", ".join(b"%d" % n for n in range(2000))
    task = Task(file, (Target("doubled", "Twice the sum.", ASSERTS),), PYTHON)
    s = Search(task, NoModel(0, "swaps"), tests)
    start = s.start(Failing().run(file, **ANY_RUN))
    before = list(itertools.takewhile(lambda each: isinstance(each, Bound), s.unfold(start)))
    assert len(before) > 10 and {each.priority for each in before} == {0.0}
