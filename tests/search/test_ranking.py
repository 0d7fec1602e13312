"""Of several patches the one that most of the probability agrees with comes first."""

import random
from dataclasses import dataclass

from tests.programs import PYTHON
from tests.search.test_search import Recorder, Swaps

from kelp.execution.sandbox import Sandbox
from kelp.languages.python.call_variants import arguments_like
from kelp.search.ranking import fresh_calls, ranked
from kelp.search.search import Search
from kelp.search.strategies import run
from kelp.search.task import Budget, Target, Task


@dataclass
class Patch:
    id: int
    depth: int
    log_prob: float


def test_patches_that_agree_are_worth_as_much_as_all_of_them():
    patches = [Patch(1, 1, -1.0), Patch(2, 2, -1.6), Patch(3, 1, -1.7)]
    assert [p.id for p in ranked(patches, {})] == [1, 3, 2]  # nothing known: few edits, then likely
    answers = {1: ("0", "4"), 2: ("1", "4"), 3: ("1", "4")}
    assert [p.id for p in ranked(patches, answers)] == [3, 2, 1]
    assert [p.id for p in ranked(patches, answers | {2: ("2", "4")})] == [1, 2, 3]
    assert [p.id for p in ranked(patches, answers, {3})] == [2, 1, 3]


ASSERTS = ("assert f(2) == 4", "assert f(2, [1, 2]) == 4")
TASK = Task(b"def f(x, y=None):\n    return x - 1\n", (Target("f", "", ASSERTS),), PYTHON)
SWAPS = (("x - 1", "x + 2", -1.0), ("x - 1", "x * 2", -1.5), ("x - 1", "2 * x", -1.6), ("x - 1", "4", -3.0))


def test_a_search_asks_its_patches_for_more_than_the_tests_do():
    with Sandbox() as sandbox:
        tests = Recorder(sandbox, ASSERTS)
        result = run(Search(TASK, Swaps(*SWAPS), tests, Budget(patches=4)))
        assert [b"x * 2" in p.source or b"2 * x" in p.source for p in result.patches] == [True, True, False, False]
        assert result.patches[2].source.endswith(b"x + 2\n")
        hurried = run(Search(TASK, Swaps(*SWAPS), tests, Budget(runs=5, patches=4)))  # none left to look with
        assert hurried.runs == 5 and hurried.patches[0].source.endswith(b"x + 2\n")


def test_fresh_calls_are_like_those_of_the_tests():
    targets = (Target("f", "", ASSERTS), Target("C.m", "", ("assert C().m(1) == 2",)), Target("g"))
    calls = fresh_calls(targets, PYTHON.specs, seed=0)
    assert "f(2)" in calls and len(calls) > 8 and all(call.startswith("f(") for call in calls)
    assert calls == fresh_calls(targets, PYTHON.specs, seed=0) != fresh_calls(targets, PYTHON.specs, seed=1)


def test_arguments_keep_their_types_and_what_is_no_literal():
    asserts = ("assert f([1, 2], 'ab', key=box) == 3", "assert f([], 'x', *more, **rest)")
    found = arguments_like(asserts, "f", random.Random(0), 30)
    assert len(set(found)) == len(found) > 8
    for given in found:
        (items, letters), others = eval(f"g({given})", {"g": lambda *a, **k: (a, k), "box": 0, "more": (), "rest": {}})
        assert isinstance(items, list) and isinstance(letters, str) and others in ({"key": 0}, {})
        assert given.endswith(("key=box", "*more, **rest"))
