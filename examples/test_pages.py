"""`page_links` hides single pages behind a gap: its condition is off by one. Two of these tests fail."""

import pytest

from pages import page_count, page_links, page_of


def test_a_started_page_counts():
    assert [page_count(n, 10) for n in (0, 1, 10, 11)] == [1, 1, 1, 2]


def test_a_page_without_room_is_refused():
    with pytest.raises(ValueError, match="per_page"):
        page_count(5, 0)


def test_the_last_page_may_be_short():
    assert page_of("abcdefgh", page=3, per_page=3) == "gh"


def test_few_pages_are_all_shown():
    assert page_links(2, pages=3) == [1, 2, 3]


def test_pages_far_from_the_current_one_are_a_gap():
    assert page_links(10, pages=20) == [1, None, 9, 10, 11, None, 20]


def test_the_first_page_has_a_gap_on_one_side_only():
    assert page_links(1, pages=9) == [1, 2, None, 9]


def test_a_gap_of_one_page_is_that_page():
    assert page_links(4, pages=7) == [1, 2, 3, 4, 5, 6, 7]


def test_a_gap_of_two_pages_stays_a_gap():
    assert page_links(5, pages=9, around=2) == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert page_links(5, pages=9) == [1, None, 4, 5, 6, None, 9]
