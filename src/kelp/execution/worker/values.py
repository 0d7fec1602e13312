"""Values as JSON, sent by the process that runs the program to one that never has: data alone, never code.

Numbers, strings, bytes, None, ranges and lists, tuples, dicts and sets of these are sent by value, and so are the
standard library's numbers, dates and containers. An instance of a subclass is sent as its base, so nothing of the
program's own classes is. The sender is not trusted: it may send any value, and `decode` makes no other.
"""

from __future__ import annotations

import datetime
import math
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

NODES, DEPTH, BITS = 20_000, 60, 2**17  # of one value: parts, nesting, bits of an integer
_TEXT = 2**20  # characters or bytes of one string


class Opaque(ValueError):
    """A value that cannot be sent."""


class Other:
    """Stand-in for a value that was not sent: it is not None, and nothing else is known of it."""

    def __bool__(self) -> bool:
        raise Opaque


_NAN = math.nan  # one object for all, since containers compare by identity first
_SIMPLE: tuple[tuple[type, str, Callable[[Any], Any]], ...] = (  # by base class: tag and state
    (int, "int", lambda value: hex(int.__index__(value))),
    (float, "float", lambda value: float.hex(value)),
    (complex, "complex", lambda value: [complex.__getattribute__(value, part).hex() for part in ("real", "imag")]),
    (bytes, "bytes", lambda value: bytes(memoryview(value)).hex()),
    (bytearray, "bytearray", lambda value: bytes(memoryview(value)).hex()),
    (range, "range", lambda value: [hex(value.start), hex(value.stop), hex(value.step)]),
    (Fraction, "Fraction", lambda value: [hex(value.numerator), hex(value.denominator)]),
    (Decimal, "Decimal", lambda value: Decimal.__str__(value)),
    (datetime.timedelta, "timedelta", lambda value: [value.days, value.seconds, value.microseconds]),
    (datetime.datetime, "datetime", lambda value: datetime.datetime.isoformat(value)),  # before its base, date
    (datetime.date, "date", lambda value: datetime.date.isoformat(value)),
    (datetime.time, "time", lambda value: datetime.time.isoformat(value)),
)
_GROUPS: tuple[tuple[type, str], ...] = (
    (list, "list"), (tuple, "tuple"), (set, "set"), (frozenset, "frozenset"), (deque, "deque"),
    (Counter, "Counter"), (OrderedDict, "OrderedDict"), (dict, "dict"),
)  # fmt: skip
_MAPPINGS = ("Counter", "OrderedDict", "dict")
_MAKERS: dict[str, Callable[[Any], Any]] = {
    "int": lambda state: int(_bounded(state, BITS // 4 + 3), 16),
    "float": lambda state: _float(state),
    "complex": lambda state: complex(_float(state[0]), _float(state[1])),
    "bytes": bytes.fromhex,
    "bytearray": bytearray.fromhex,
    "range": lambda state: range(*(int(_bounded(part, 99), 16) for part in state)),
    "Fraction": lambda state: Fraction(*(int(_bounded(part, BITS // 4 + 3), 16) for part in state)),
    "Decimal": lambda state: Decimal(_bounded(state, 10_000)),
    "timedelta": lambda state: datetime.timedelta(*state),
    "datetime": datetime.datetime.fromisoformat,
    "date": datetime.date.fromisoformat,
    "time": datetime.time.fromisoformat,
    "list": list, "tuple": tuple, "set": set, "frozenset": frozenset, "deque": deque,
    "Counter": lambda pairs: _counter(pairs), "OrderedDict": OrderedDict, "dict": dict,
}  # fmt: skip


def _float(state: str) -> float:
    value = float.fromhex(state)
    return _NAN if value != value else value


def _counter(pairs: Any) -> Any:
    counter: Any = Counter()
    counter.update(dict(pairs))
    return counter


def _bounded(text: str, limit: int) -> str:
    if len(text) > limit:
        raise Opaque
    return text


class Encoder:
    """Encodes values, and records whether all have exactly a type that is sent, and whether one is a set."""

    def __init__(self) -> None:
        self.exact, self.sets, self._left = True, False, NODES

    def encode(self, value: Any, depth: int = 0) -> Any:
        """Return the JSON of a value.  Raises Opaque, or whatever the value's class raises."""
        kind = type(value)
        self._left -= 1
        if self._left < 0 or depth > DEPTH:
            raise Opaque
        if value is None or kind is bool:
            return value
        if kind is int and -(2**63) <= value < 2**63:
            return value
        if kind is str or issubclass(kind, str):
            self.exact &= kind is str
            text = str.__str__(value) if kind is str else "".join(str.__iter__(value))
            if len(text) > _TEXT:
                raise Opaque
            return text
        for base, tag in _GROUPS:
            if kind is base or issubclass(kind, base):
                self.exact &= kind is base
                self.sets |= tag in ("set", "frozenset")
                pairs = tag in _MAPPINGS
                parts = list(dict.items(value)) if pairs else list(base.__iter__(value))  # type: ignore[attr-defined]
                if pairs:
                    return [tag, [[self.encode(k, depth + 1), self.encode(v, depth + 1)] for k, v in parts]]
                return [tag, [self.encode(part, depth + 1) for part in parts]]
        for base, tag, state in _SIMPLE:
            if kind is base or issubclass(kind, base):
                self.exact &= kind is base
                if base is int and int.bit_length(value) > BITS:
                    raise Opaque
                if base in (bytes, bytearray) and len(memoryview(value)) > _TEXT:
                    raise Opaque
                return [tag, state(value)]
        raise Opaque


def decode(data: Any, depth: int = 0) -> Any:
    """Return the value of JSON data.  Raises ValueError, TypeError or OverflowError for data not of `Encoder`."""
    if data is None or isinstance(data, (bool, int, str)):
        return data
    if depth > DEPTH:
        raise Opaque
    tag, state = data
    if tag in _MAPPINGS:
        state = [(decode(key, depth + 1), decode(value, depth + 1)) for key, value in state]
    elif tag in ("list", "tuple", "set", "frozenset", "deque"):
        state = [decode(part, depth + 1) for part in state]
    return _MAKERS[tag](state)


def entries(data: Any, *, lists: bool) -> float:
    """Return the size of the largest set or dict in the value, or list with `lists`; infinity where it holds a range.

    With hashes that collide, making a set is quadratic; and nothing in the value bounds the time to iterate a range.
    Raises Opaque for a value that is larger than `Encoder` makes them.
    """
    groups = (*_MAPPINGS, "set", "frozenset", *(("list", "tuple", "deque") if lists else ()))
    left, most, parts = [data], 0.0, 0
    while left:
        part = left.pop()
        parts += 1
        if parts + len(left) > 4 * NODES:  # a pair of a dict and a tag are parts of their own here
            raise Opaque
        if isinstance(part, list) and len(part) == 2 and isinstance(part[1], list):
            if part[0] in groups:
                most = max(most, len(part[1]))
            left += part[1]
            most = math.inf if part[0] == "range" else most
        elif isinstance(part, list):
            left += part
    return most
