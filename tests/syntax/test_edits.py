"""Edits: splices that touch nothing else and can be undone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kelp.syntax.edits import Edit, apply_disjoint


@st.composite
def source_and_edit(draw: st.DrawFn) -> tuple[bytes, Edit]:
    source = draw(st.binary(max_size=40))
    start = draw(st.integers(0, len(source)))
    end = draw(st.integers(start, len(source)))
    return source, Edit(start, end, draw(st.binary(max_size=10)))


@given(source_and_edit())
def test_an_edit_changes_its_span_only_and_its_inverse_takes_it_back(case: tuple[bytes, Edit]) -> None:
    source, edit = case
    after = edit.apply(source)
    assert after == source[: edit.start] + edit.text + source[edit.end :]
    assert edit.inverse(source).apply(after) == source


def test_an_edit_that_ends_before_it_starts_or_behind_the_source_is_refused() -> None:
    with pytest.raises(ValueError, match="start=3 end=2"):
        Edit(3, 2, b"")
    with pytest.raises(ValueError, match="ends at byte 4 of a source of 3"):
        Edit(1, 4, b"").apply(b"abc")


def test_disjoint_edits_are_applied_at_once_and_those_at_one_point_in_order() -> None:
    edits = [Edit(4, 5, b"Y"), Edit(0, 1, b""), Edit(2, 2, b"1"), Edit(2, 2, b"2")]
    assert apply_disjoint(b"abcdef", edits) == b"b12cdYf"


def test_edits_that_overlap_are_refused() -> None:
    with pytest.raises(ValueError, match="overlapping edits at byte 1"):
        apply_disjoint(b"abc", [Edit(0, 2, b""), Edit(1, 3, b"")])
