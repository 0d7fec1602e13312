"""The row of page numbers under a list of results: 1 … 4 [5] 6 … 20."""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def page_count(results: int, per_page: int) -> int:
    """How many pages the results fill; an empty list still has one."""
    if per_page < 1:
        raise ValueError(f"per_page must be at least 1, got {per_page}")
    return max(1, -(-results // per_page))


def page_of(items: Sequence[T], page: int, per_page: int) -> Sequence[T]:
    """The items on a page, counted from 1."""
    first = (page - 1) * per_page
    return items[first : first + per_page]


def page_links(current: int, pages: int, around: int = 1) -> list[int | None]:
    """The page numbers to show: the first, the last and those around the current one. None is a gap ("…").

    A gap that would hide a single page is pointless: that page is shown instead.
    """
    shown = {1, pages}
    for page in range(current - around, current + around + 1):
        if 1 <= page <= pages:
            shown.add(page)
    links: list[int | None] = []
    previous = 0
    for page in sorted(shown):
        missing = page - previous - 1
        if missing >= 1:
            links.append(None)
        elif missing == 1:
            links.append(page - 1)
        links.append(page)
        previous = page
    return links
