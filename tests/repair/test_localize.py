"""Which functions are searched."""

import math

import pytest
from tests.programs import functions

from kelp.execution.observation import Observation, TestOutcome
from kelp.repair.localize import suspects

FILE = b"".join(b"def f%d(x):\n" % n + b"    x += 1\n" * 20 + b"    return x\n" for n in range(5))
FILE += b"def helper(x):\n    return x\n"


def outcome(status, lines):
    return TestOutcome(f"{status} {len(lines)}", status, lines=frozenset(lines))


def test_a_short_function_that_only_failing_tests_reach_is_among_those_searched():
    common = range(1, 111)
    tests = [outcome("fail", [*common, 112]), *(outcome("pass", common) for _ in range(9))]
    found = suspects(functions(FILE), Observation(tuple(tests)))
    assert len(found) == 5 and "helper" in found
    assert sum(math.exp(p) for p in found.values()) == pytest.approx(1)
    assert list(found.values()) == sorted(found.values(), reverse=True)


def test_functions_that_no_failing_test_reaches_are_left_out():
    tests = (outcome("fail", [112]), outcome("pass", range(1, 111)))
    assert suspects(functions(FILE), Observation(tests)) == {"helper": 0.0}
