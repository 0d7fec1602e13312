"""Sizes as people write them."""

import re

SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)", re.IGNORECASE)
PREFIXES = "kmgt"


def factor(unit: str) -> int:
    """How many bytes a unit stands for: powers of 1000 for "kB", of 1024 for "KiB"; "" and "B" are bytes."""
    prefix = unit.lower().removesuffix("b")
    base = 1000
    if prefix.endswith("i"):
        prefix, base = prefix[:-1], 1024
    if not prefix and base == 1000:
        return 1
    if len(prefix) != 1 or prefix not in PREFIXES:
        raise ValueError(f"unknown unit {unit!r}")
    return base ** (PREFIXES.index(prefix) + 1)


def parse_size(text: str) -> int:
    """The size in whole bytes, a part of a byte left out. Raises ValueError where the text is no size."""
    match = SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"not a size: {text!r}")
    number, unit = match.groups()
    return int(float(number) * factor(unit))


def fits(text: str, limit: str) -> bool:
    """Whether a size is within a limit."""
    return parse_size(text) <= parse_size(limit)
