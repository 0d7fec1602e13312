"""Components of enumerated expressions: Python's operations over plain values.

Only values that a literal can write take part, and nothing here runs code of the program.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kelp.languages.python import precedence
from kelp.languages.python.precedence import BINARY, NOT, PRIMARY, SIGN

ATOM, SIGNED, POWER, COMPARISON = PRIMARY, SIGN, BINARY[b"**"], precedence.COMPARISON  # precedence levels
POSTFIX, OPEN, IN_COMPREHENSION = ATOM, 0, precedence.DEMANDS["for_in_clause"]
LARGEST, LONGEST = 10**15, 200  # largest number and length of a value
MARK = "a place that is looked at"
TOLD = 240  # characters of a reported value; a longer one is not a literal
SAID = f"""\
inside.append(True)
try:
    said = repr(give())[:{TOLD}]
except Exception:
    said = ""
finally:
    inside.pop()
"""
# Replacement of an expression that records the names around it: a number, the names with their values' reprs, and the
# repr of the expression's own value, if it has one. Inner calls within the expression run unchanged.
WITNESS = b"""((%%b
) if globals().setdefault(%r, []) else
(%r, %%d, [(name, repr(value)[:%d]) for name, value in locals().items()],
(lambda scope: (exec(%r, scope), scope["said"])[1])({"inside": globals()[%r], "give": lambda: (%%b
)})))""" % (MARK, MARK, TOLD, SAID.encode(), MARK)
GUARD = b"if %b:\n%breturn %b"  # condition, inner indentation, value


@dataclass(frozen=True)
class Operation:
    """Operation: a template with `{}` for its operands, whose kinds `takes` names; `level` is its precedence."""

    template: str
    takes: tuple[frozenset[str], ...]
    gives: str  # kind of its values; "" if it depends on the operands
    apply: Callable[..., Any]
    level: int = ATOM
    cost: int = 1  # higher for rare operations

    @cached_property
    def names(self) -> frozenset[str]:
        """Names in the template that must keep their builtin meaning."""
        return frozenset(re.findall(r"(?<![.\w])([a-z]+)\(", self.template))

    @cached_property
    def demands(self) -> tuple[int, ...]:
        """Least precedence of each operand without parentheses."""
        found = []
        for slot in re.finditer(r"\{\}", self.template):
            before, after = self.template[: slot.start()], self.template[slot.end() :]
            inside = before.count("(") + before.count("[") > before.count(")") + before.count("]")
            if after[:1] in (".", "["):
                found.append(POSTFIX)
            elif inside:
                found.append(OPEN)
            elif self.level == POWER:  # right-associative, and takes a sign on the right
                found.append(SIGNED if before else POWER + 1)
            elif self.level == COMPARISON:  # chained comparisons mean something else
                found.append(COMPARISON + 1)
            else:
                found.append(self.level + bool(before and self.template.startswith("{")))
        return tuple(found)


KINDS: Mapping[type, str] = {
    bool: "bool", int: "int", float: "float", str: "str", list: "list", tuple: "tuple", set: "set", dict: "dict",
    range: "range", type(None): "none",
}  # fmt: skip
GROUPS = {
    "number": "int float", "seq": "list tuple str", "row": "list tuple", "items": "list tuple str set dict range",
    "numbers": "list tuple set range", "key": "int float str tuple bool",
    "any": "bool int float str list tuple set dict none",
}  # fmt: skip


def kind_of(values: tuple[Any, ...]) -> str:
    """Kind that all values share: mixed numbers are floats, other mixtures have none."""
    kinds = {KINDS.get(type(value), "") for value in values}
    return kinds.pop() if len(kinds) == 1 else "float" if kinds == {"int", "float"} else ""


def is_plain(value: Any, depth: int = 0) -> bool:
    """Return whether a value is small and a literal can write it. (A range by itself counts.)"""
    kind = type(value)
    if kind is int or kind is float:
        return bool(-LARGEST < value < LARGEST)
    if kind is str:
        return len(value) <= LONGEST
    if kind is list or kind is tuple or kind is set:
        return len(value) <= LONGEST and depth < 4 and all([is_plain(each, depth + 1) for each in value])
    if kind is dict:
        return is_plain([*value, *value.values()], depth)
    return kind is bool or value is None or (kind is range and depth == 0 and len(value) <= LONGEST)


def operation(template: str, signature: str, apply: Callable[..., Any], cost: int = 1) -> Operation:
    takes, gives = signature.split(" -> ")
    groups = tuple(frozenset(GROUPS.get(word, word).split()) for word in takes.split())
    return Operation(template, groups, gives.strip("?"), apply, level_of(template), cost)


def level_of(template: str) -> int:
    """Precedence of a template: that of its operator if it is one operator and its operands."""
    match template.split(" "):
        case ["{}", operator, "{}"]:
            return BINARY.get(operator.encode(), COMPARISON)
        case ["not", "{}"]:
            return NOT
    return SIGNED if template == "-{}" else ATOM


def ordered(values: Any) -> Any:
    """Value in an order that does not depend on this process's hashing of text."""
    if isinstance(values, set) and any(type(value) is not int for value in values):
        raise ValueError
    return values


def _power(base: Any, exponent: Any) -> Any:
    if abs(exponent) > 12 or abs(base) > 10**6:
        raise ValueError
    return base**exponent


def _repeat(values: Any, times: int) -> Any:
    if len(values) * times > LONGEST:
        raise ValueError
    return values * times


OPERATIONS: tuple[Operation, ...] = (
    operation("{} + {}", "number number -> ?", lambda a, b: a + b),
    operation("{} - {}", "number number -> ?", lambda a, b: a - b),
    operation("{} * {}", "number number -> ?", lambda a, b: a * b),
    operation("{} / {}", "number number -> float", lambda a, b: a / b),
    operation("{} // {}", "number number -> ?", lambda a, b: a // b),
    operation("{} % {}", "number number -> ?", lambda a, b: a % b),
    operation("{} ** {}", "number number -> ?", _power, cost=2),
    operation("{} & {}", "int int -> int", lambda a, b: a & b, cost=3),
    operation("{} | {}", "int int -> int", lambda a, b: a | b, cost=3),
    operation("{} ^ {}", "int int -> int", lambda a, b: a ^ b, cost=3),
    operation("-{}", "number -> ?", lambda a: -a, cost=2),
    operation("abs({})", "number -> ?", abs, cost=2),
    operation("min({}, {})", "number number -> ?", min),
    operation("max({}, {})", "number number -> ?", max),
    operation("int({})", "float -> int", int),
    operation("int({})", "str -> int", int),
    operation("float({})", "int -> float", float, cost=2),
    operation("str({})", "number -> str", str),
    operation("len({})", "items -> int", len),
    operation("sum({})", "numbers -> ?", sum),
    operation("max({})", "items -> ?", max),
    operation("min({})", "items -> ?", min),
    operation("{}[{}]", "seq int -> ?", lambda a, i: a[i]),
    operation("{}[{}:]", "seq int -> ?", lambda a, i: a[i:]),
    operation("{}[:{}]", "seq int -> ?", lambda a, i: a[:i]),
    operation("{}[::{}]", "seq int -> ?", lambda a, i: a[::i]),
    operation("{}[-1]", "seq -> ?", lambda a: a[-1]),
    operation("{}[:-1]", "seq -> ?", lambda a: a[:-1]),
    operation("{}[::-1]", "seq -> ?", lambda a: a[::-1]),
    operation("{}[{}:{}]", "seq int int -> ?", lambda a, i, j: a[i:j], cost=2),
    operation("{} + {}", "str str -> str", lambda a, b: a + b),
    operation("{} + {}", "list list -> list", lambda a, b: a + b),
    operation("{} + {}", "tuple tuple -> tuple", lambda a, b: a + b),
    operation("{} * {}", "seq int -> ?", _repeat, cost=2),
    operation("{}.count({})", "row key -> int", lambda a, b: a.count(b)),
    operation("{}.count({})", "str str -> int", lambda a, b: a.count(b)),
    operation("{}.index({})", "row key -> int", lambda a, b: a.index(b)),
    operation("{}.find({})", "str str -> int", lambda a, b: a.find(b), cost=2),
    operation("sorted({})", "items -> list", sorted),
    operation("sorted({}, reverse=True)", "items -> list", lambda a: sorted(a, reverse=True), cost=2),
    operation("set({})", "seq -> set", set),
    operation("list({})", "tuple -> list", list),
    operation("list({})", "str -> list", list),
    operation("list({})", "set -> list", lambda a: list(ordered(a))),
    operation("list({})", "dict -> list", list),
    operation("list({})", "range -> list", list),
    operation("tuple({})", "list -> tuple", tuple),
    operation("tuple({})", "set -> tuple", lambda a: tuple(ordered(a))),
    operation("dict({})", "row -> dict", lambda a: dict(map(ordered, a)), cost=2),
    operation("list(zip({}, {}))", "row row -> list", lambda a, b: list(zip(a, b)), cost=2),
    operation("list(zip(*{}))", "row -> list", lambda a: list(zip(*map(ordered, a))), cost=2),
    operation("list({}.values())", "dict -> list", lambda a: list(a.values())),
    operation("list({}.items())", "dict -> list", lambda a: list(a.items())),
    operation("{}[{}]", "dict key -> ?", lambda a, b: a[b]),
    operation("{}.get({})", "dict key -> ?", lambda a, b: a.get(b), cost=2),
    operation("{} | {}", "set set -> set", lambda a, b: a | b),
    operation("{} & {}", "set set -> set", lambda a, b: a & b),
    operation("{} - {}", "set set -> set", lambda a, b: a - b),
    operation("{} ^ {}", "set set -> set", lambda a, b: a ^ b),
    operation("{}.lower()", "str -> str", str.lower),
    operation("{}.upper()", "str -> str", str.upper),
    operation("{}.strip()", "str -> str", str.strip),
    operation("{}.title()", "str -> str", str.title, cost=2),
    operation("{}.capitalize()", "str -> str", str.capitalize, cost=2),
    operation("{}.swapcase()", "str -> str", str.swapcase, cost=2),
    operation("{}.split()", "str -> list", str.split),
    operation("{}.split({})", "str str -> list", lambda a, b: a.split(b)),
    operation("{}.join({})", "str row -> str", lambda a, b: a.join(b)),
    operation('"".join({})', "row -> str", "".join),
    operation('{}.replace({}, "")', "str str -> str", lambda a, b: a.replace(b, ""), cost=2),
    operation("range({})", "int -> range", range),
    operation("range({}, {})", "int int -> range", range),
    operation("({}, {})", "any any -> tuple", lambda a, b: (a, b), cost=2),
)
TRUTHS: tuple[Operation, ...] = (
    operation("{} < {}", "number number -> bool", lambda a, b: a < b),
    operation("{} <= {}", "number number -> bool", lambda a, b: a <= b),
    operation("{} > {}", "number number -> bool", lambda a, b: a > b),
    operation("{} >= {}", "number number -> bool", lambda a, b: a >= b),
    operation("{} == {}", "any any -> bool", lambda a, b: a == b),
    operation("{} != {}", "any any -> bool", lambda a, b: a != b),
    operation("{} in {}", "key row -> bool", lambda a, b: a in b),
    operation("{} in {}", "key set -> bool", lambda a, b: a in b),
    operation("{} in {}", "key dict -> bool", lambda a, b: a in b),
    operation("{} in {}", "str str -> bool", lambda a, b: a in b),
    operation("{}.startswith({})", "str str -> bool", lambda a, b: a.startswith(b)),
    operation("{}.endswith({})", "str str -> bool", lambda a, b: a.endswith(b)),
    operation("{}.isdigit()", "str -> bool", str.isdigit),
    operation("{}.isalpha()", "str -> bool", str.isalpha),
    operation("{}.isupper()", "str -> bool", str.isupper),
    operation("{}.islower()", "str -> bool", str.islower),
    operation("any({})", "row -> bool", any),
    operation("all({})", "row -> bool", all),
    operation("not {}", "any -> bool", lambda a: not a),
    operation("{} and {}", "bool bool -> bool", lambda a, b: a and b),
    operation("{} or {}", "bool bool -> bool", lambda a, b: a or b),
)
