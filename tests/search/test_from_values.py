"""Edits from values: where they are looked at, and that a search repairs with them."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from tests.programs import PYTHON, parse

from kelp.encoding.condition import Condition
from kelp.execution.observation import CallResult, Observation
from kelp.execution.sandbox import Sandbox
from kelp.languages.python.test_files import wanted
from kelp.search.baselines import NoModel, Order
from kelp.search.node import SearchResult
from kelp.search.policy import Bound, Proposal
from kelp.search.search import Search
from kelp.search.strategies import STRATEGIES, run
from kelp.search.suspicion import suspicion
from kelp.search.swaps import swaps
from kelp.search.synthesis.from_values import filled, places
from kelp.search.task import Budget, Target, Task
from kelp.syntax.edits import Edit, apply_disjoint
from kelp.syntax.program import Program
from kelp.syntax.sites import is_valid, key, site_index

pytestmark = pytest.mark.slow

PLACES = b"""\
@decorated
def f(xs, flag):
    def inner(y):
        return y + 1
    if flag:
        return (xs[0])
    total = 0
    for x in xs:
        if x < 0:
            return
        total += x
    if total > 9:
        least: int
        return least
    if total > 8:
        most: int = max(xs)
        return most
    if total > 7:
        first = last = xs[1]
        return first
    result = (inner(total) * 2)
    return result
"""


def test_places_are_where_what_is_returned_is_made() -> None:
    program = parse(PLACES)
    assert [place.expression and program.text(place.expression) for place in places(program)] == [
        b"xs[0]", b"least", b"max(xs)", b"inner(total) * 2",
    ]  # fmt: skip
    [first, end] = places(parse(b"def f(x):\n    if x:\n        return 1\n"))
    assert first.expression is not None and end.expression is None
    for other in (b"def f(xs):\n    yield 1\n    return xs\n", b"async def f(xs):\n    return xs\n"):
        assert places(parse(other)) == []


BROKEN = b"""\
def common(left, right):
    found = [x for x in left]
    result = found
    return result
"""
ASSERTS = (
    "assert common([3, 1, 2], [2, 3, 9]) == [2, 3]",
    "assert common([5, 8], [8, 5, 7]) == [5, 8]",
    "assert common([1], [4]) == []",
)
TASK = Task(BROKEN, (Target("common", "", ASSERTS),), PYTHON)


class Recorder:
    """Runs asserts in a sandbox, and counts."""

    def __init__(self, sandbox: Sandbox, asserts: tuple[str, ...] = ASSERTS) -> None:
        self.sandbox, self.asserts, self.runs = sandbox, asserts, 0

    def run(self, source: bytes, *, first: str | None, seconds: float | None, trace: bool = False) -> Observation:
        self.runs += 1
        return self.sandbox.run(source, first=first, asserts=self.asserts, trace=trace)

    def evaluate(self, source: bytes, calls: Sequence[str], *, seconds: float) -> list[CallResult]:
        self.runs += 1
        return self.sandbox.evaluate(source, calls, seconds=seconds)


@pytest.fixture(scope="module")
def sandbox() -> Any:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_search_repairs_with_what_values_say(strategy: str, sandbox: Sandbox) -> None:
    tests = Recorder(sandbox)
    budget = Budget(runs=64, patches=1)
    result = run(Search(TASK, NoModel(0, "values"), tests, budget), strategy)
    [patch] = result.patches
    assert patch.origin == "values"
    assert patch.observation is not None and patch.observation.ok
    assert result.runs == tests.runs  # to look at values is a run too
    assert patch.run == result.runs
    for order in ("random", "spectrum"):
        assert run(Search(TASK, NoModel(0, order), Recorder(sandbox), budget), strategy).patches == ()


class Patient(NoModel):
    """Values have their turn when some near misses have had theirs."""

    threshold = -4.0

    def propose(self, program: Program, condition: Condition) -> Iterator[Proposal | Bound]:
        found = (each for each in super().propose(program, condition) if isinstance(each, Proposal))
        yield from (replace(each, log_prob=-number / 2) for number, each in enumerate(found))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_looking_at_values_keeps_to_the_budget(strategy: str, sandbox: Sandbox) -> None:
    for runs in range(1, 16):
        tests = Recorder(sandbox)
        result = run(Search(TASK, Patient(0, "values"), tests, Budget(runs=runs, patches=1)), strategy)
        assert tests.runs == result.runs <= runs
        assert [node.run for node in result.tried] == sorted({node.run for node in result.tried})


def test_edits_give_what_is_wanted_of_the_calls_that_come_by(sandbox: Sandbox) -> None:
    source = b"def f(xs, n):\n    if n < 0:\n        return []\n    return xs\n"
    asserts = ("assert f([1, 2, 3, 4], 2) == [3, 4]", "assert f([5, 6, 7], 1) == [6, 7]", "assert f([1, 2], -1) == []")
    program = parse(source)

    def evaluate(edits: Sequence[Edit], arguments: Sequence[str]) -> list[CallResult]:
        return sandbox.evaluate(apply_disjoint(source, list(edits)), [f"f({given})" for given in arguments])

    found = [each for of_place in filled(program, wanted(asserts, "f"), evaluate) for each in of_place]
    edits = [each.edit for each in found if each.share == 1]
    assert (
        edits and len(edits) == len(found) and edits[0].apply(source) == source.replace(b"return xs", b"return xs[n:]")
    )
    assert all(sandbox.run(edit.apply(source), asserts=asserts).ok for edit in edits)


def found_in(source: bytes, texts: Sequence[str], sandbox: Sandbox) -> dict[bytes, float]:
    """What is found for the function f: the programs, with the share of what is wrong that they put right."""
    program = parse(source)
    asserts = [f"assert f{text}" for text in texts]

    def evaluate(edits: Sequence[Edit], arguments: Sequence[str]) -> list[CallResult]:
        return sandbox.evaluate(apply_disjoint(source, list(edits)), [f"f({given})" for given in arguments])

    made = [each for of_place in filled(program, wanted(asserts, "f"), evaluate) for each in of_place]
    before = sandbox.run(source, asserts=asserts).passed
    for edit, share, _ in made:
        assert is_valid(program, edit) and key(edit) in site_index(program)
        gained = sandbox.run(edit.apply(source), asserts=asserts).passed - before
        assert gained == pytest.approx(share * (len(asserts) - before))
    return {edit.apply(source): share for edit, share, _ in made}


DIVISION = ("(6, 3) == 2", "(7, 2) == 3", "(5, 0) == 0", "(0, 4) == 0", "(9, 1) == 9", "(1, 2) == 0")
GRADE = ("(80) == 'merit'", "(70) == 'merit'", "(69) == 'pass'", "(50) == 'pass'", "(49) == 'fail'", "(0) == 'fail'")


def test_what_suits_more_calls_is_a_step_and_the_others_are_told_apart(sandbox: Sandbox) -> None:
    step = b"def f(a, b):\n    return a // b\n"
    assert found_in(step.replace(b"a // b", b"None"), DIVISION, sandbox)[step] == pytest.approx(5 / 6)
    guarded = b"def f(a, b):\n    if not b:\n        return 0\n    return a // b\n"
    assert found_in(step, DIVISION, sandbox)[guarded] == 1
    few = found_in(step, DIVISION[:3], sandbox)
    assert not any(b"if " in program for program in few)  # three tests say too little of a condition


def test_a_condition_is_told_even_where_one_expression_suits_all(sandbox: Sandbox) -> None:
    source = b"def f(values):\n    return sum(values) / len(values)\n"
    texts = ("([1, 2, 3]) == 2", "([]) == 0", "([5]) == 5", "([2, 4]) == 3", "([10, 20, 60]) == 30")
    found = found_in(source, texts, sandbox)
    assert found[source.replace(b"/ len(values)", b"// max(1, len(values))")] == 1
    assert found[source.replace(b"    return", b"    if not values:\n        return 0\n    return")] == 1


def test_a_guard_comes_behind_what_stands_before_and_gives_what_is_wanted(sandbox: Sandbox) -> None:
    source = b"""\
def f(points):
    if points >= 70:
        return 'merit'
    grade = 'fail'
    return grade
"""
    found = found_in(source, GRADE, sandbox)
    guarded = source.replace(b"    grade =", b"    if points >= 50:\n        return 'pass'\n    grade =")
    assert found[guarded] == 1


FIRST = b"def f(a, b):\n    return a\n"


@pytest.mark.parametrize(
    ("source", "texts"),
    [
        (FIRST, ("(1, 2) == 1j", "(2, 3) == 2j", "(3, 4) == 3", "(4, 5) == 4", "(5, 5) == 5")),
        (FIRST, ("(1, 0) == 1e999", "(2, 0) == 1e999", "(3, 4) == 3", "(4, 5) == 4", "(5, 5) == 5")),
        (FIRST, ("(1, 0) == ...", "(2, 0) == ...", "(3, 4) == 3", "(4, 5) == 4", "(5, 5) == 5")),
        (b"def f(a, b):\n    c = a; return c // b\n", DIVISION),
        (b"def f(n):\n    return list(range(n))\n", (*(f"({n}) == {[*range(n)]}" for n in (90, 99, 3, 4)), "(0) == 1")),
    ],
)
def test_no_edit_promises_more_than_it_keeps(source: bytes, texts: Sequence[str], sandbox: Sandbox) -> None:
    found_in(source, texts, sandbox)


def test_no_guard_is_a_call_learnt_by_heart(sandbox: Sandbox) -> None:
    source = b"def f(xs):\n    return xs[1:]\n"
    texts = (
        "([1, 2, 3]) == [2, 3]",
        "([5, 6]) == [6]",
        "([8]) == []",
        "([4, 9, 7]) == [9, 7]",
        "([1, 9]) == [5, 6, 7, 8]",
    )
    assert not found_in(source, texts, sandbox)
    assert found_in(source, (*texts[:4], "([1, 9]) == []"), sandbox)


def test_the_end_of_a_function_is_a_place_too(sandbox: Sandbox) -> None:
    source = b"def f(points):\n    if points >= 70:\n        return 'merit'\n"
    assert found_in(source, GRADE, sandbox)[source + b"    return 'fail'\n"] == pytest.approx(0.5)
    source = b"def f(xs, n):\n    xs = list(xs)\n"
    texts = ("([1, 2, 3, 4], 2) == [3, 4]", "([5, 6, 7], 1) == [6, 7]")
    assert found_in(source, texts, sandbox)[source + b"    return xs[n:]\n"] == 1


def test_a_call_of_the_function_within_what_it_returns_does_what_it_did(sandbox: Sandbox) -> None:
    source = b"def f(n):\n    if n == 0:\n        return 1\n    return n * f(n - 1)\n"
    texts = ("(0) == 1", "(1) == 1", "(3) == 6", "(4) == 24", "(-1) == 0", "(-5) == 0")
    found = found_in(source, texts, sandbox)
    guards = [program for program in found if b"return 0" in program]
    assert source.replace(b"    return n *", b"    if n < 0:\n        return 0\n    return n *") in guards


@pytest.mark.parametrize(
    "source",
    [
        b"def f(x):\n    raise ValueError\n    return x\n",
        b"def f(x):\n    yield x\n",
        b"def f(x):\n    while True:\n        pass\n    return x\n",
        b"def f(x):\n    pass\n",
        b"repr = lambda value: ')' * 300\ndef f(x):\n    return x\n",
        b"repr = lambda value: '(' * 300\ndef f(x):\n    return x\n",
        b"locals = None\ndef f(x):\n    return x\n",
        b"class Odd(dict):\n    def items(self): return [('x', 'y' * 10**6), (1,), None, ('__import__', b'')]\n"
        b"locals = Odd\ndef f(x):\n    return x\n",
        b"f = 3\n",
        b"f = lambda x: ('a place that is looked at', x or None, [], '')\n",
        b"f = lambda x: ('a place that is looked at', 7, [('x', '\"some other text\"')], '')\n",
        b"f = lambda x: ('a place that is looked at', -1, [('x', '\"some other text\"')], '')\n",
        b"f = lambda x: ('a place that is looked at', 0, [('x', '\"some other text\"')], 3)\n",
        b"f = lambda x: ('a place that is looked at', 0, [('exit()', '\"text\"'), (3, 4)], '')\n",
        b"f = lambda x: ('a place that is looked at', 0, {'x': 3}, '')\n",
        b"f = lambda x: ('a place that is looked at', 0, [('None', repr('some other text'))], '')\n",
    ],
)  # fmt: skip
def test_a_program_that_does_not_play_along_makes_nothing(source: bytes, sandbox: Sandbox) -> None:
    program = parse(b"def f(x):\n    return x\n")
    seconds = 0.05 if b"while True" in source else 1.0  # it takes all that it gets, each time

    def evaluate(edits: Sequence[Edit], arguments: Sequence[str]) -> list[CallResult]:
        witness = edits[0].text
        changed = source.replace(b"return x", b"return " + witness)
        return sandbox.evaluate(changed, [f"f({given})" for given in arguments], seconds=seconds)

    asserts = [("'some text'", "some other text"), ("'any'", "something else")]
    assert not any(filled(program, asserts, evaluate))


def test_one_baseline_takes_what_is_made_from_values() -> None:
    program = parse(b"def f(x):\n    return x\n")
    edits = [Edit(21, 22, b"x + x"), Edit(21, 22, b"x +"), Edit(21, 22, b"x * 2")]
    judged = NoModel(0, "values").judge(program, replace(Condition(), intent="any"), edits)
    assert [proposal.edit for proposal in judged] == [edits[0], edits[2]]
    assert [NoModel(0, order).threshold for order in ("values", "random", "spectrum")] == [0.0, -math.inf, -math.inf]


class Sure(NoModel):
    """Proposes what is right at once, and then near misses."""

    threshold = -4.0

    def propose(self, program: Program, condition: Condition) -> Iterator[Proposal | Bound]:
        at = program.source.find(b"left]") + 4
        if at > 4:
            yield Proposal(Edit(at, at, b" if x in right"), -0.01, "model")
        yield from super().propose(program, condition)


def test_values_are_not_looked_at_while_something_likelier_is_run(sandbox: Sandbox) -> None:
    asserts = ("assert common([1, 2, 3], [3, 2, 9]) == [2, 3]", "assert common([5, 8], [8, 5, 7]) == [5, 8]")
    task = Task(BROKEN, (Target("common", "", asserts),), PYTHON)
    result = run(Search(task, Sure(0, "values"), Recorder(sandbox, asserts), Budget(patches=1)), "best-first")
    assert (result.runs, result.patches[0].run, result.patches[0].origin) == (2, 2, "model")


def test_nothing_is_looked_at_where_nothing_could_come_of_it(sandbox: Sandbox) -> None:
    source = b"def f(n):\n    return n > 0\n"
    asserts = tuple(f"assert f({n}) is {n < 3}" for n in range(1, 4))
    tests = Recorder(sandbox, asserts)
    tests.evaluate = None  # type: ignore[assignment,method-assign]
    run(Search(Task(source, (Target("f", "", asserts),), PYTHON), NoModel(0, "values"), tests, Budget(runs=20)), "beam")
    assert tests.runs == 20


def test_names_of_the_file_keep_their_meaning(sandbox: Sandbox) -> None:
    source = b"def max(x):\n    return 3\n\ndef f(xs):\n    return xs\n"
    asserts = ("assert f([1, 50, 30]) == 50", "assert f([4, 60]) == 60", "assert f([70, 7, 1]) == 70")
    search = Search(Task(source, (Target("f", "", asserts),), PYTHON), NoModel(0, "values"), Recorder(sandbox, asserts))
    made = [node for node in search.step(search.start()) if node.origin == "values"]
    assert made and not any(b"max(" in (node.edit or made[0].edit).text for node in made)  # type: ignore[union-attr]


def test_what_the_program_says_is_cut_off_here_too(sandbox: Sandbox) -> None:
    source = b"""\
import json, os
for fd in range(3, 64):
    try:
        os.write(fd, b"")
    except OSError:
        pass
class Long:
    def __repr__(self):
        return "[" + "0, " * 100_000 + "]"
def f():
    return Long()
"""
    [result] = sandbox.evaluate(source, ["f()"])
    assert result.repr is None or len(result.repr) <= 2_000


MISSING = b"""\
def f(order, stock):
    result = {}
    for name, wanted in order.items():
        missing = wanted - stock.get(name, 0)
        if missing < 0:
            continue
        result[name] = missing
    return result
"""
OF_MISSING = (
    "({'pen': 3}, {'pen': 1}) == {'pen': 2}",
    "({'pen': 2, 'ink': 5}, {'pen': 4, 'ink': 1}) == {'ink': 4}",
    "({'pen': 2}, {'pen': 2}) == {}",
    "({'cap': 1}, {}) == {'cap': 1}",
)
SHIPPING = b"""\
def f(total, weight):
    cost = 5
    if weight > 10:
        cost += 3
    if total > 50:
        cost = 0
    return cost
"""
OF_SHIPPING = ("(20, 2) == 5", "(20, 12) == 8", "(80, 12) == 0", "(50, 3) == 0", "(10, 10) == 5")
LATER = b"""\
def f(n):
    found = []
    while n > 1:
        found.append(n)
        n -= 1
    return found
"""
OF_LATER = ("(3) == [3, 2, 1]", "(1) == [1]", "(0) == []", "(-2) == []", "(2) == [2, 1]")
SLICE = b"def f(items, n):\n    if n > 1:\n        return items[-n:]\n    return []\n"
OF_SLICE = ("([1, 2, 3], 2) == [2, 3]", "([4, 5, 6], 3) == [4, 5, 6]", "([1, 2], 0) == []", "([8, 9], 1) == [9]")
RANGE = b"""\
def f(n):
    total = 0
    for i in range(1, n):
        total += i
    if n > 1:
        total += n
    return total
"""
OF_RANGE = ("(5) == 15", "(3) == 6", "(2) == 3", "(0) == 0", "(1) == 1")
OFF_BY_ONE = [
    (MISSING, b"missing < 0", b"missing <= 0", OF_MISSING),
    (SHIPPING, b"total > 50", b"total >= 50", OF_SHIPPING),
    (LATER, b"n > 1", b"n >= 1", OF_LATER),
    (RANGE, b"n > 1", b"n >= 1", OF_RANGE),
]


def searched(source: bytes, texts: Sequence[str], order: Order, sandbox: Sandbox, patches: int) -> SearchResult:
    asserts = tuple(f"assert f{text}" for text in texts)
    task = Task(source, (Target("f", "", asserts),), PYTHON)
    return run(Search(task, NoModel(0, order), Recorder(sandbox, asserts), Budget(patches=patches)))


FOUND = [(order, *program) for order in ("swaps", "values") for program in OFF_BY_ONE]
FOUND.append(("swaps", SLICE, b"n > 1", b"n >= 1", OF_SLICE))  # with values, an expression suits its tests


@pytest.mark.parametrize(("order", "source", "old", "new", "texts"), FOUND)
def test_a_comparison_off_by_one_is_found_in_few_runs(
    order: Order, source: bytes, old: bytes, new: bytes, texts: Sequence[str], sandbox: Sandbox
) -> None:
    result = searched(source, texts, order, sandbox, patches=10)
    right = source.replace(old, new)
    [run] = [node.run for node in result.tried if node.source == right]
    assert run is not None and run <= 5
    assert result.patches[0].origin == "near-miss" and result.patches[0].depth == 1
    guarded = [bool(patch.guards) for patch in result.patches]
    assert guarded == sorted(guarded)  # whatever their likelihood, they come last


@pytest.mark.parametrize(("source", "texts"), [(MISSING, OF_MISSING), (SHIPPING, OF_SHIPPING)])
def test_near_misses_of_one_operator_are_tried_before_any_guard(
    source: bytes, texts: Sequence[str], sandbox: Sandbox
) -> None:
    result = searched(source, texts, "values", sandbox, patches=100)
    first = next(i for i, node in enumerate(result.tried) if node.guards)
    program = parse(source)
    observation = result.start.observation
    assert observation is not None
    by_line = suspicion(observation)
    lines = tuple(by_line.get(line, 0.0) for line in range(1, source.count(b"\n") + 2))
    edits = [edit for edit in swaps(program, lines) if is_valid(program, edit)]
    assert len(edits) > 3 and {edit.apply(source) for edit in edits} <= {node.source for node in result.tried[:first]}


def test_guards_that_do_the_same_are_one_patch(sandbox: Sandbox) -> None:
    source = b"def f(a, b):\n    return a // b\n"
    assert len([each for each in found_in(source, DIVISION, sandbox) if b"if " in each]) > 5
    result = searched(source, DIVISION, "values", sandbox, patches=10)
    assert sum(bool(patch.guards) for patch in result.patches) == 1
    assert sum(bool(node.guards) for node in result.tried if node.depth == 1) == 1  # nor does another one cost a run


def test_no_edit_reads_a_name_that_may_be_unbound_there(sandbox: Sandbox) -> None:
    found = found_in(MISSING, OF_MISSING, sandbox)
    added = [program.replace(MISSING[: MISSING.index(b"    return")], b"") for program in found]
    assert added and not any(name in text for text in added for name in (b"missing", b"wanted", b"name"))
    inside = b"def f(xs):\n    for x in xs:\n        y = x + 0\n        return y\n    return 0\n"
    texts = ("([1]) == 1", "([4, 2]) == 4", "([7]) == 7", "([-3, 1]) == 0", "([-5]) == 0", "([]) == 0")
    guards = [program for program in found_in(inside, texts, sandbox) if b"if " in program]
    assert any(b"        if x < 0:\n            return 0\n" in program for program in guards)


def test_a_name_that_the_expression_reads_already_may_be_read_on(sandbox: Sandbox) -> None:
    source = b"def f(xs):\n    for x in xs:\n        pass\n    return x\n"
    found = found_in(source, ("([3, 50]) == 51", "([80]) == 81", "([1, 700]) == 701"), sandbox)
    assert source.replace(b"return x", b"return x + 1") in found
