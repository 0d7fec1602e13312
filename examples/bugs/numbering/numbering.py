"""Document numbers such as INV-2024-0017, counted anew each year."""

import re
from collections.abc import Iterable

NUMBER = re.compile(r"([A-Z]+)-(\d{4})-(\d+)")


def parse_number(text: str) -> tuple[str, int, int]:
    """Kind, year and count of a document number."""
    match = NUMBER.fullmatch(text)
    if match is None:
        raise ValueError(f"not a document number: {text!r}")
    return match[1], int(match[2]), int(match[3])


def next_number(last: str, year: int) -> str:
    """The number after the last one given out: the next of its year, or the first (0001) of a new year.

    Counts have four digits, and more once four do not suffice. Numbers are not given out for years gone by.
    """
    kind, last_year, count = parse_number(last)
    if year < last_year:
        raise ValueError(f"{last} is of {last_year}: there are no more numbers for {year}")
    if year > last_year:
        count = 1
    return f"{kind}-{year}-{count + 1:04d}"


def missing_numbers(numbers: Iterable[str]) -> list[str]:
    """The numbers that were skipped: those below the highest of their kind and year, in order."""
    used: dict[tuple[str, int], set[int]] = {}
    for kind, year, count in map(parse_number, numbers):
        used.setdefault((kind, year), set()).add(count)
    return [
        f"{kind}-{year}-{count:04d}"
        for (kind, year), counts in sorted(used.items())
        for count in range(1, max(counts))
        if count not in counts
    ]
