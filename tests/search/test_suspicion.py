import pytest
from hypothesis import given
from hypothesis import strategies as st

from kelp.execution.observation import Observation, TestOutcome
from kelp.search.suspicion import moved, suspicion
from kelp.syntax.edits import Edit


def outcome(status, *lines):
    return TestOutcome(f"{status}{lines}", status, lines=frozenset(lines))


def test_a_line_is_the_more_suspicious_the_more_failing_and_the_fewer_passing_tests_execute_it():
    tests = (
        outcome("fail", 1, 2, 3),
        outcome("error", 1, 2),
        outcome("pass", 1, 4),
        outcome("pass", 1),
        outcome("skip", 9),
    )
    assert suspicion(Observation(tests)) == pytest.approx({1: 4 / (2 * 4), 2: 4 / (2 * 2), 3: 1 / (2 * 1)})


def test_without_a_trace_no_line_is_suspicious_and_a_failed_import_blames_its_line():
    assert suspicion(Observation((outcome("fail"), outcome("pass")))) == {}
    assert suspicion(Observation((), error="NameError line 7", error_line=7)) == {7: 1.0}


LINES = st.lists(st.text("ab ", max_size=3), min_size=1, max_size=8)


@given(LINES, st.text("xy\n", max_size=8), st.data())
def test_lines_outside_an_edit_keep_what_was_said_of_them(lines, text, data):
    source = "\n".join(f"{n}{line}" for n, line in enumerate(lines)).encode()
    start = data.draw(st.integers(0, len(source)))
    edit = Edit(start, data.draw(st.integers(start, len(source))), text.encode())
    before, after = source.split(b"\n"), edit.apply(source).split(b"\n")
    said = moved(list(range(len(before))), source, edit)
    assert len(said) == len(after) and said == sorted(said)
    above, below = source.count(b"\n", 0, edit.start), source.count(b"\n", edit.end)
    assert said[:above] == list(range(above))
    assert said[len(said) - below :] == list(range(len(before) - below, len(before)))
    assert all(line in range(above, len(before) - below) for line in said[above : len(said) - below])
