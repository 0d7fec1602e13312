"""Bare asserts: what each outcome says, and evaluating calls to make specs from."""

from collections.abc import Iterator

import pytest

from kelp.execution import CallResult, Limits, Observation, Sandbox, Suite

PATIENT = Limits(seconds=60)  # for what ends by itself


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(limits=PATIENT) as sandbox:
        yield sandbox


def outcome(sandbox: Sandbox, source: str, test: str, setup: str = ""):
    [outcome] = sandbox.run(source.encode(), asserts=[test], setup=setup).outcomes
    return outcome


ADD = "def f(a, b):\n    return a + b\n"


def test_a_suite_passes_when_every_assert_holds() -> None:
    suite = Suite(asserts=("assert f(1, 2) == 3", "f(0, 0) == 0"))
    with Sandbox(suite, limits=PATIENT) as sandbox:
        observation = sandbox.run(ADD.encode())
    assert observation.ok
    assert [o.name for o in observation.outcomes] == ["assert f(1, 2) == 3", "f(0, 0) == 0"]
    assert (observation.passed, observation.total, observation.error) == (2, 2, None)


@pytest.mark.parametrize(
    ("test", "call", "got", "expected"),
    [
        ("assert f(3, 4) == 12", "f(3, 4)", "7", "12"),
        ("f(3, 4) == 12", "f(3, 4)", "7", "12"),
        ("assert 12 == f(3, 4)", "f(3, 4)", "7", "12"),
        ("assert f(3, 4) != 7", "f(3, 4)", "7", "!= 7"),
        ("assert f(3, 4) < 5", "f(3, 4)", "7", "< 5"),
        ("assert 0 < f(3, 4) < 5", "f(3, 4)", "7", "< 5"),
        ("assert f(3, 4) in [1, 2]", "f(3, 4)", "7", "in [1, 2]"),
        ("assert f(3, 4) is None", "f(3, 4)", "7", "None"),
        ("assert not f(3, 4)", "f(3, 4)", "7", "False"),
        ("assert f(0, 0)", "f(0, 0)", "0", "True"),
        ("assert f(1, 1) == 2 and f(1, 2) == 4", "f(1, 2)", "3", "4"),
        ("assert math.isclose(f(3, 4), 6.5, rel_tol=0.001)", "f(3, 4)", "7", "about 6.5"),
        ("assert abs(f(3, 4) - 8) < 0.5", "abs(f(3, 4) - 8)", "1", "< 0.5"),
    ],
)
def test_a_false_assert_tells_call_got_and_expected(
    sandbox: Sandbox, test: str, call: str, got: str, expected: str
) -> None:
    said = outcome(sandbox, ADD, test, setup="import math")
    assert (said.status, said.call, said.got, said.expected) == ("fail", call, got, expected)


BILLS = """\
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

@dataclass
class Bill:
    amount: Decimal
    def half(self):
        return self.amount // 2

def bill(amount):
    return Bill(Decimal(amount))

@lru_cache
def words(text):
    return {text}
"""


@pytest.mark.parametrize(
    ("left", "right", "before", "got", "expected"),
    [
        ("result", "Bill(Decimal(6))", "result = bill(5)", "Bill(amount=Decimal('5'))", "Bill(amount=Decimal('6'))"),
        ("found", "set()", "found = words('a')", "{'a'}", "set()"),
        ("bill(4).amount", "Decimal('5')", "", "Decimal('4')", "Decimal('5')"),
        ("made.amount", "Decimal('5')", "made = Bill(Decimal(4))", "Decimal('4')", "Decimal('5')"),
        ("made.half()", "Bill(3)", "made = Bill(Decimal(4))", "Decimal('2')", "Bill(amount=3)"),
        ("words('a')", "expected", "expected = set('b')", "{'a'}", "{'b'}"),
        ("words('a')", "{x for x in 'b'}", "", "{'a'}", "{'b'}"),
        ("out", "[2]", "out = []\nout.append(len(words('a')))", "[1]", "[2]"),
        ("total", "sum([2])", "total = 0\nfor word in words('a'): total += len(word)", "1", "2"),
        ("words('a')", "dict(a=1)", "", "{'a'}", "{'a': 1}"),
    ],
)
def test_got_is_what_the_program_computes_on_whichever_side_it_stands(
    sandbox: Sandbox, left: str, right: str, before: str, got: str, expected: str
) -> None:
    for test in (f"assert {left} == {right}", f"assert {right} == {left}"):
        said = outcome(sandbox, BILLS, f"{before}\n{test}")
        assert (said.call, said.got, said.expected) == (left, got, expected), test


@pytest.mark.parametrize(
    ("test", "call", "got", "expected"),
    [
        ("assert 5 < f(2, 2)", "f(2, 2)", "4", "> 5"),
        ("assert 4 != f(2, 2)", "f(2, 2)", "4", "!= 4"),
        ("assert None is f(2, 2)", "f(2, 2)", "4", "None"),
        ("assert 5 in [f(2, 2)]", "[f(2, 2)]", "[4]", "containing 5"),
        ("assert f(2, 2) == f(1, 2)", "f(2, 2)", "4", "3"),
        ("assert str(2) == repr(3)", "str(2)", "'2'", "'3'"),
        ("assert math.isclose(float(5), f(2, 2))", "f(2, 2)", "4", "about 5.0"),
    ],
)
def test_other_comparisons_are_turned_round_with_their_word(
    sandbox: Sandbox, test: str, call: str, got: str, expected: str
) -> None:
    said = outcome(sandbox, ADD, test, setup="import math")
    assert (said.call, said.got, said.expected) == (call, got, expected)


def test_the_call_of_the_program_is_told_where_the_test_raises(sandbox: Sandbox) -> None:
    said = outcome(sandbox, BILLS, "assert str('5') == bill([]).amount")
    assert (said.status, said.call) == ("error", "bill([]).amount")


def test_the_message_of_an_assert_is_kept(sandbox: Sandbox) -> None:
    assert outcome(sandbox, ADD, "assert f(1, 1) == 3, 'one and one'").message == "one and one"


def test_an_exception_tells_its_type_and_the_programs_line(sandbox: Sandbox) -> None:
    said = outcome(sandbox, "def f(xs):\n    # the first\n    return xs[0]\n", "assert f([]) == 1")
    assert (said.status, said.call, said.exception, said.line) == ("error", "f([])", "IndexError", 3)
    assert said.message == "list index out of range"


def test_an_assertion_of_the_program_itself_is_an_error_and_not_a_failed_test(sandbox: Sandbox) -> None:
    said = outcome(sandbox, "def f():\n    assert False, 'never'\n", "f() == 1")
    assert (said.status, said.exception, said.line) == ("error", "AssertionError", 2)


def test_each_side_is_evaluated_once(sandbox: Sandbox) -> None:
    source = "calls = []\ndef f():\n    calls.append(1)\n    return len(calls)\n"
    observation = sandbox.run(source.encode(), asserts=["f() == 5", "f() == 2"])
    assert [o.status for o in observation.outcomes] == ["fail", "pass"]


def test_a_test_may_be_several_statements(sandbox: Sandbox) -> None:
    said = outcome(sandbox, ADD, "x = f(1, 2)\nassert x == 3\nassert f(x, x) == 7")
    assert (said.call, said.got, said.expected) == ("f(x, x)", "6", "7")


def test_setup_runs_before_the_program(sandbox: Sandbox) -> None:
    source = "@twice\ndef f(a):\n    return a + ONE\n"
    setup = "ONE = 1\ndef twice(function):\n    return lambda a: 2 * function(a)\n"
    assert outcome(sandbox, source, "f(1) == 4", setup).status == "pass"


def test_dataclasses_and_pickles_find_their_module(sandbox: Sandbox) -> None:
    source = "import dataclasses, pickle\n@dataclasses.dataclass\nclass P:\n    x: int\n"
    assert outcome(sandbox, source, "pickle.loads(pickle.dumps(P(1))) == P(1)").status == "pass"


def test_a_program_that_cannot_be_loaded_runs_no_test_and_says_why(sandbox: Sandbox) -> None:
    observation = sandbox.run(b"x = 1\ny = x + z\n", asserts=["x == 1", "y == 2"])
    assert observation.error == "NameError line 2: name 'z' is not defined (while loading the program)"
    assert (observation.error_line, observation.passed, observation.total, observation.ok) == (2, 0, 2, False)


def test_a_syntax_error_tells_its_line(sandbox: Sandbox) -> None:
    observation = sandbox.run(b"def f():\n    return (1\n", asserts=["f() == 1"])
    assert observation.error is not None and observation.error.startswith("SyntaxError line 2: ")
    assert observation.error_line == 2


def test_a_suite_without_tests_is_an_error(sandbox: Sandbox) -> None:
    observation = sandbox.run(b"x = 1\n", asserts=[])
    assert (observation.error, observation.ok) == ("no tests were found", False)


def test_the_wanted_test_runs_first_and_a_failure_can_stop_the_run(sandbox: Sandbox) -> None:
    tests = ["f(1, 1) == 2", "f(1, 2) == 4", "f(2, 2) == 4"]
    observation = sandbox.run(ADD.encode(), asserts=tests, first="f(1, 2) == 4", stop_on_failure=True)
    assert [o.name for o in observation.outcomes] == ["f(1, 2) == 4"]
    assert (observation.total, observation.not_run, observation.ok) == (3, 2, False)


def test_a_traced_run_tells_lines_of_failing_and_of_passing_tests(sandbox: Sandbox) -> None:
    source = "def f(x):\n    if x > 0:\n        return 1\n    y = -1\n    return y\n"
    observation = sandbox.run(source.encode(), asserts=["f(1) == 1", "f(-1) == 0"], trace=True)
    assert observation.lines_passing == {2, 3}
    assert observation.lines_failing == {2, 4, 5}
    assert [outcome.lines for outcome in observation.outcomes] == [{2, 3}, {2, 4, 5}]


@pytest.mark.parametrize("last", ["while True: pass", "__import__('os')._exit(3)"])
@pytest.mark.slow
def test_a_test_that_never_ends_still_tells_the_lines_it_reached(sandbox: Sandbox, last: str) -> None:
    source = f"def g():\n    return 1\ndef f():\n    x = 1\n    {last}\n"
    observation = sandbox.run(source.encode(), asserts=["g() == 1", "f() == 1"], trace=True, seconds=2)
    assert observation.lines_passing == {2}
    assert observation.lines_failing == {4, 5}


def test_one_run_can_be_given_less_time_than_the_limits_but_not_more(sandbox: Sandbox) -> None:
    source = b"def f():\n    while True: pass\n"
    assert [o.status for o in sandbox.run(source, asserts=["f()"], seconds=0.2).outcomes] == ["timeout"]
    with Sandbox(limits=Limits(seconds=0.2)) as brief:
        assert [o.status for o in brief.run(source, asserts=["f()"], seconds=1e6).outcomes] == ["timeout"]


def test_evaluating_calls_gives_their_reprs(sandbox: Sandbox) -> None:
    source = b"def f(a, b):\n    return [a, b]\nclass C: pass\n"
    calls = ("f(1, 'x')", "f(1)", "C()", "f(float('nan'), 0)", "{C: 1}[C]")
    one, two, three, four, five = sandbox.evaluate(source, calls)
    assert one == CallResult("f(1, 'x')", repr="[1, 'x']", round_trips=True)
    assert two == CallResult("f(1)", exception="TypeError")
    assert three.exception is None and not three.round_trips
    assert four.repr == "[nan, 0]" and not four.round_trips
    assert five == CallResult("{C: 1}[C]", repr="1", round_trips=True)


@pytest.mark.slow
def test_a_call_that_does_not_end_keeps_the_results_before_it() -> None:
    with Sandbox(limits=Limits(seconds=2)) as sandbox:
        source = b"def f(x):\n    while x:\n        pass\n    return x\n"
        results = sandbox.evaluate(source, ("f(0)", "f(1)", "f(2)"))
        assert [r.exception for r in results] == [None, "Timeout", "NotRun"]
        assert [r.exception for r in sandbox.evaluate(b"f(", ("f(0)", "f(1)"))] == ["NotLoaded", "NotLoaded"]


def test_one_string_in_place_of_several_is_refused(sandbox: Sandbox) -> None:
    with pytest.raises(TypeError, match="several strings"):
        Suite(asserts="f(1) == 1")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="several strings"):
        sandbox.run(b"", asserts="f(1) == 1")


def test_observations_of_the_same_program_are_equal(sandbox: Sandbox) -> None:
    source = b"import random\ndef f():\n    return [random.random(), set('abcdef'), hash('x')]\n"

    def said() -> Observation:
        return sandbox.run(source, asserts=["f() == 1"])

    assert said().outcomes[0].got == said().outcomes[0].got
