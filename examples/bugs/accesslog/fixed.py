"""Which pages of a web server are in trouble."""

import re
from collections.abc import Iterable, Iterator

REQUEST = re.compile(r'"(?P<method>[A-Z]+) (?P<path>\S+)[^"]*" (?P<status>\d{3})\b')


def requests(lines: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Path, without its query, and status of each line that is a request."""
    for line in lines:
        if match := REQUEST.search(line):
            yield match["path"].partition("?")[0], int(match["status"])


def error_rates(lines: Iterable[str], at_least: int = 1) -> dict[str, float]:
    """The share of each path's requests that the server failed to answer (5xx).

    What clients do wrong (4xx) is their own affair, though it counts as a request. Paths with fewer than
    `at_least` requests are left out.
    """
    total: dict[str, int] = {}
    failed: dict[str, int] = {}
    for path, status in requests(lines):
        total[path] = total.get(path, 0) + 1
        if status >= 500:
            failed[path] = failed.get(path, 0) + 1
    return {path: failed.get(path, 0) / count for path, count in total.items() if count >= at_least}


def in_trouble(lines: Iterable[str], limit: float = 0.05) -> list[str]:
    """The paths with a higher error rate than the limit, the worst first."""
    rates = error_rates(lines)
    return sorted((path for path in rates if rates[path] > limit), key=lambda path: (-rates[path], path))
