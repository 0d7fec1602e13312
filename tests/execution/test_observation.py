import pytest

from kelp.execution import Observation, TestOutcome
from kelp.execution.explain import explain

PASSED = TestOutcome("f(0) == 0", "pass")


def rendered(outcome: TestOutcome, first_line: int = 1) -> str:
    return Observation((PASSED, outcome)).render(first_line)


def test_a_failed_comparison_renders_as_call_got_and_want() -> None:
    failed = TestOutcome("t", "fail", call="f(3, 4)", got="7", expected="12", exception="AssertionError")
    assert rendered(failed) == "1/2 f(3, 4) got 7 want 12"


def test_an_exception_renders_with_its_line_in_the_function() -> None:
    error = TestOutcome("t", "error", call="f([])", exception="IndexError", message="list index out of range", line=13)
    assert rendered(error, first_line=10) == "1/2 f([]) IndexError line 4: list index out of range"


def test_a_line_before_the_function_is_left_out() -> None:
    error = TestOutcome("t", "error", call="f([])", exception="IndexError", message="no", line=3)
    assert rendered(error, first_line=10) == "1/2 f([]) IndexError: no"


def test_a_timeout_renders_as_such() -> None:
    assert rendered(TestOutcome("t", "timeout", call="f(9)", message="killed")) == "1/2 f(9) timeout"


def test_an_error_before_any_test_renders_with_its_line_in_the_function() -> None:
    error = "NameError line 12: name 'z' is not defined (while loading a.py)"
    said = Observation((), error=error, error_line=12, not_run=3).render(first_line=10)
    assert said == "0/3 NameError line 3: name 'z' is not defined (while loading a.py)"


def test_success_renders_as_a_count() -> None:
    assert Observation((PASSED, PASSED)).render() == "2/2"


@pytest.mark.parametrize("status", ["fail", "error", "timeout"])
def test_renderings_stay_short_and_on_one_line(status: str) -> None:
    long = "x\n " * 5000
    outcome = TestOutcome(long, status, call=long, got=long, expected=long, exception="E", message=long)  # type: ignore[arg-type]
    said = Observation((outcome,) * 1000, error=None).render()
    assert len(said) <= 200 and "\n" not in said
    assert len(Observation((), error=long).render()) <= 200


def test_skipped_tests_do_not_count_against_success_but_are_none() -> None:
    skipped = TestOutcome("s", "skip")
    assert Observation((PASSED, skipped)).ok
    assert not Observation((skipped,)).ok
    assert not Observation(()).ok
    assert not Observation((PASSED,), not_run=1).ok
    assert not Observation((PASSED,), error="it broke").ok


def test_an_unknown_status_is_refused() -> None:
    with pytest.raises(ValueError, match="status must be one of"):
        TestOutcome("t", "passed")  # type: ignore[arg-type]


def test_a_person_is_shown_the_first_failures_and_not_the_last_of_many() -> None:
    failed = [TestOutcome(f"t{n}", "fail", call=f"f({n})", got="1", expected="2", line=1) for n in range(50)]
    shown = explain(Observation((PASSED, *failed), output="printed\n" * 99), b"return 1\n", "a.py")
    assert "t4\n  f(4)\n    got       1\n    expected  2\n  a.py:1: return 1\n" in shown
    assert "f(5)" not in shown and "... and 45 more." in shown
    assert shown.count("| printed") == 12 and "(87 lines before)" in shown
    assert shown.endswith("51 tests: 1 passed, 50 failed (0.00 s)\n")


def test_a_person_is_shown_what_kept_the_tests_from_running() -> None:
    observation = Observation((), error="NameError line 2: name 'z' is not defined", error_line=2, not_run=3)
    shown = explain(observation, b"\nz\n", "a.py")
    assert shown == (
        "NameError line 2: name 'z' is not defined\n  a.py:2: z\n\n3 tests: 3 not run (0.00 s)\n"
    )  # fmt: skip


def test_what_the_model_sees_has_no_addresses_which_differ_from_run_to_run() -> None:
    got = "[<object object at 0x7f361beacb10>, <function <lambda> at 0x7f361b7aff60>]"
    seen = Observation((TestOutcome("f(1)", status="fail", seconds=0.0, call="f(1)", got=got, expected="1"),))
    assert seen.render() == "0/1 f(1) got [<object object>, <function <lambda>>] want 1"
