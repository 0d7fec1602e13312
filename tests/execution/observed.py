# ruff: noqa: E501 (programs stand as they are)
"""Honest programs, right and wrong, and what runs of them say: the model is trained on these texts, so they stay.

python -m tests.execution.observed      writes observed.json, from the sandbox as it is
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kelp.execution import Limits, Sandbox, Suite

FILE = Path(__file__).with_suffix(".json")
SETUP = "import math\nfrom decimal import Decimal\nfrom fractions import Fraction\n\n\ndef close(a, b):\n    return abs(a - b) < 1\n"
# A program, and asserts that hold of it; each is also run with one thing changed, and its asserts against the change.
PROGRAMS: list[tuple[str, list[str]]] = [
    (
        "def add(a, b):\n    total = a\n    for _ in range(b):\n        total += 1\n    return total\n",
        ["add(1, 2) == 3", "assert add(0, 0) == 0", "3 == add(2, 1)", "add(1, 1) != 3", "add(2, 2) < 5", "5 >= add(2, 3)",
         "0 < add(1, 1) < 3", "add(1, 2) in [3, 4]", "add(1, 2) not in (5, 6)", "not add(0, 0)", "add(0, 1)", "add(0, 0) is not None",
         "add(1, 2) == 3 and add(2, 2) == 4", "add(1, 2) == add(2, 1)", "abs(add(1, 2) - 3) < 0.5", "math.isclose(add(1, 2), 3.0)",
         "str(add(1, 2)) == '3'", "len([add(1, 2)]) == 1", "sum([add(1, 2), 1]) == 4", "[add(i, 1) for i in range(3)] == [1, 2, 3]",
         "x = add(1, 2)\nassert x == 3\nassert add(x, x) == 6", "add(1, 2) == 2 + 1", "close(add(1, 2), 3)", "add(1, 2) is 3",
         "assert add(1, 2) == 3, 'a message'", "add(1, 2) == 3 or add(1, 2) == 4", "isinstance(add(1, 2), int)",
         "all(add(x, 1) == y for x, y in [(1, 2), (2, 3)])", "round(add(1, 2) / 3, 2) == 1.0", "(lambda: add(1, 2))() == 3"],
    ),
    (
        "def first(xs, default=None):\n    if len(xs) > 0:\n        return xs[0]\n    return default\n",
        ["first([1, 2]) == 1", "first([]) is None", "first([], 7) == 7", "first('ab') == 'a'", "first([[1], [2]]) == [1]",
         "first((1.5,)) == 1.5", "first([b'x']) == b'x'", "first([True]) is True", "first([float('inf')]) == float('inf')",
         "first([1, 2]) == 1 and first([2]) == 2", "None is first([])", "first([{1}]) == {1}", "first([-1]) == -1", "first(['é\\n']) == 'é\\n'"],
    ),
    (
        "def count(words):\n    counts = {}\n    for word in words:\n        counts[word] = counts.get(word, 0) + 1\n    return counts\n",
        ["count(['a', 'b', 'a']) == {'a': 2, 'b': 1}", "count([]) == {}", "sorted(count('ab')) == ['a', 'b']",
         "set(count('ab')) == {'b', 'a'}", "count('aa')['a'] == 2", "'a' in count('a')", "count('a').get('b') is None",
         "list(count('ab').items()) == [('a', 1), ('b', 1)]", "dict(a=1) == count('a')", "len(count('abc')) == 3",
         "max(count('aab'), key=count('aab').get) == 'a'", "{**count('a'), 'b': 2} == {'a': 1, 'b': 2}"],
    ),
    (
        "from collections import Counter, OrderedDict, defaultdict, deque, namedtuple\nimport datetime, enum\n"
        "from dataclasses import dataclass\nfrom decimal import Decimal\nfrom fractions import Fraction\n"
        "P = namedtuple('P', 'x y')\n@dataclass\nclass D:\n    x: int = 1\nclass Color(enum.IntEnum):\n    RED = 1\n"
        "class Plain:\n    pass\ndef f(kind):\n    return {'counter': Counter('aab'), 'fraction': Fraction(1, 2),\n"
        "        'decimal': Decimal('1.50'), 'date': datetime.date(2020, 1, 2), 'delta': datetime.timedelta(1), 'point': P(1, 2),\n"
        "        'data': D(1), 'color': Color.RED, 'deque': deque([1, 2]), 'ordered': OrderedDict(a=1),\n"
        "        'default': defaultdict(int, a=1), 'range': range(3), 'array': bytearray(b'x'), 'complex': 1 + 2j,\n"
        "        'nan': float('nan'), 'generator': (x for x in [1, 2]), 'set': frozenset([1]), 'plain': Plain}[kind]\n",
        ["f('counter') == {'a': 2, 'b': 1}", "f('fraction') == 0.5", "f('decimal') == Decimal('1.5')", "f('date').year == 2020",
         "f('date') == datetime.date(2020, 1, 2)", "f('delta') == datetime.timedelta(1)", "f('point') == (1, 2)", "f('point') == P(1, 2)",
         "f('data') == D(1)", "f('color') == 1", "f('color') is Color.RED", "f('deque') == deque([1, 2])", "list(f('deque')) == [1, 2]",
         "f('ordered') == {'a': 1}", "f('default') == {'a': 1}", "f('range') == range(3)", "f('array') == b'x'", "f('complex') == 1 + 2j",
         "math.isnan(f('nan'))", "list(f('generator')) == [1, 2]", "f('set') == {1}", "f('plain') is Plain", "f('fraction') == Fraction(1, 2)",
         "f('counter') == Counter('aab')", "f('counter').most_common(1) == [('a', 2)]", "f('decimal') + 1 == Decimal('2.5')",
         "isinstance(f('data'), D)", "f('plain')() != f('plain')()", "f('data').x == 1", "str(f('point')) == 'P(x=1, y=2)'"],
    ),
    (
        "class Stack:\n    def __init__(self, items=()):\n        self.items = list(items)\n    def push(self, x):\n        self.items.append(x)\n"
        "        return self\n    def pop(self):\n        return self.items.pop()\n    def __len__(self):\n        return len(self.items)\n"
        "    def __eq__(self, other):\n        return self.items == other.items\n    def __repr__(self):\n        return f'Stack({self.items})'\n",
        ["Stack([1]).pop() == 1", "Stack([1]) == Stack([1])", "len(Stack([1, 2])) == 2", "s = Stack()\ns.push(3)\nassert s.pop() == 3",
         "Stack().push(1) == Stack([1])", "Stack([2]).items == [2]", "not Stack()", "bool(Stack([1]))", "Stack([1]) != Stack([2])",
         "repr(Stack([1])) == 'Stack([1])'", "s = Stack([1])\nt = s.push(2)\nassert t is s\nassert len(s) == 2",
         "xs = []\nfor x in (1, 2): xs.append(Stack([x]).pop())\nassert xs == [1, 2]"],
    ),
    (
        "def swap(xs, i, j):\n    xs[i], xs[j] = xs[j], xs[i]\n    return xs\ndef mean(xs):\n    return sum(xs) / len(xs)\n",
        ["swap([1, 2], 0, 1) == [2, 1]", "xs = [1, 2, 3]\nassert xs == swap(xs, 0, 2)", "mean([1, 2]) == 1.5", "mean((2,)) == 2",
         "xs = [3, 1]\nswap(xs, 0, 1)\nassert xs == [1, 3]", "mean([0.1, 0.2]) == 0.15000000000000002", "0.1 < mean([0.1, 0.2]) <= 0.2",
         "swap(['a', 'b'], 0, 1) == ['b', 'a'] == ['b', 'a']", "math.isclose(mean([0.1, 0.2]), 0.15, rel_tol=1e-9)", "mean([1] * 3) == 4 ** 0"],
    ),
    (
        "def parse(text):\n    if not text:\n        raise ValueError('nothing to parse')\n    name, _, value = text.partition('=')\n"
        "    return name.strip(), int(value)\ndef sum(xs):\n    total = 0\n    for x in xs:\n        total = total + x\n    return total\n",
        ["parse('a = 1') == ('a', 1)", "parse('b=-2')[1] == -2", "sum([1, 2, 3]) == 6", "sum(()) == 0", "parse('x=10') == ('x', 10)",
         "parse('a=1') == tuple(['a', 1])", "sum([sum([1]), 2]) == 3", "sum([0.5, 0.25]) == 0.75"],
    ),
]  # fmt: skip
_SWAPS = [(" == ", " != "), ("+", "-"), ("> 0", ">= 0"), ("[0]", "[1]"), ("return ", "return not "), ("1", "2"), ("total", "missing", 2),
          ("range(b)", "range(b + 1)"), ("return", "yield"), (".append", ".insert"), ("'", "b'"), (" = ", " += "), ("xs", "[*xs]"),
          ("return ", "return [] if 1 else "), ("def ", "async def "), (":\n", ":\n" + " " * 60 + "while False: pass\n")]  # fmt: skip
DOCTESTS = """
def double(x):
    \"\"\"
    >>> double(2)
    4
    >>> double('a')
    'aa'
    >>> double([1.25]) # doctest: +ELLIPSIS
    [1.2..., ...]
    >>> double(None)
    Traceback (most recent call last):
    TypeError: unsupported operand type(s) for *: 'int' and 'NoneType'
    \"\"\"
    return 2 * x


def say(x):
    \"\"\"
    >>> say('hello')
    hello
    <BLANKLINE>
    \"\"\"
    print(x)
    print()
"""


def variants(program: str) -> Iterator[str]:
    """The program, and the program with one text in place of another, at its first, second ... place."""
    yield program
    for old, new, *_ in _SWAPS:
        for place in list(re.finditer(re.escape(old), program))[:3]:
            yield program[: place.start()] + new + program[place.end() :]


def observe() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Each program and its tests, and the facts of their outcomes in the order that they ran."""
    with Sandbox(limits=Limits(seconds=20)) as sandbox, Sandbox(Suite(doctest=True), limits=Limits(seconds=20)) as docs:
        for number, (program, asserts) in enumerate(PROGRAMS):
            for variant in variants(program):
                observation = sandbox.run(variant.encode(), asserts=asserts, setup=SETUP, trace=number % 2 == 0)
                yield variant, facts(observation)
        for variant in variants(DOCTESTS):
            yield variant, facts(docs.run(variant.encode()))


def facts(observation: Any) -> list[dict[str, Any]]:
    """Facts of the outcomes that are not the time and not the default."""
    whole = {"render": observation.render(), "not_run": observation.not_run}
    kept = [{**vars(outcome), "lines": sorted(outcome.lines)} for outcome in observation.outcomes]
    names = ("name", "status", "call", "got", "expected", "exception", "message", "line", "lines", "needs")
    rows = [whole, *({name: row[name] for name in names if row[name] not in (None, [])} for row in kept)]
    return json.loads(re.sub("0x[0-9a-f]+", "0x", json.dumps(rows)))  # addresses, which the model does not see either


if __name__ == "__main__":
    FILE.write_text(json.dumps(dict(observe()), indent=0, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
