"""Specs made by running the clean function: what is asserted, and of which functions nothing is."""

import ast
import random
import re
from pathlib import PurePosixPath

import pytest

from kelp.data.corpus.context import Library, Module
from kelp.data.corpus.sources import expand
from kelp.data.record import Record
from kelp.data.specs import generate as specs
from kelp.data.specs import inputs
from kelp.data.specs.infer_parameters import parameters
from kelp.execution import CallResult, Limits, Sandbox

PATIENT = Limits(seconds=20)  # nothing here hangs, or its near misses: a slow machine changes no result


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(limits=PATIENT) as sandbox:
        yield sandbox


@pytest.fixture
def specified(sandbox):
    def specified(source, context="", seed=0):
        record = Record(source, ast.parse(source).body[0].name, context=context)
        return specs.spec(record, sandbox, random.Random(seed)).asserts

    return specified


SCORE = "def score(hits, misses):\n    if misses > hits:\n        return 0\n    return 10 * hits - misses\n"
IS_PALINDROME = "def is_palindrome(s):\n    return s == s[::-1]\n"
FLATTEN = "def flatten(nested: list[list[int]]):\n    for row in nested:\n        yield from row\n"
APPLY = "def apply_twice(func, x):\n    return func(func(x))\n"
WORDS = "def longest(words):\n    return max(words, key=len).upper()\n"


def test_asserts_hold_for_the_function_and_fail_for_a_broken_one(specified, sandbox):
    broken = {
        SCORE: ("10 * hits", "10 + hits"),
        IS_PALINDROME: ("==", "!="),
        FLATTEN: ("yield from row", "yield row"),
        APPLY: ("func(func(x))", "func(x)"),
        WORDS: (".upper()", ""),
    }
    for source, change in broken.items():
        asserts = specified(source)
        assert specs.MIN_ASSERTS <= len(asserts) <= specs.MAX_ASSERTS, source
        assert sandbox.run(source.encode(), asserts=asserts).ok
        assert not sandbox.run(source.replace(*change).encode(), asserts=asserts).ok, (source, asserts)


def test_predicates_are_called_both_ways(specified):
    asserts = specified(IS_PALINDROME)
    assert any(a.endswith("is True") for a in asserts) and any(a.endswith("is False") for a in asserts)


def test_examples_of_the_docstring_are_called_and_values_are_those_of_the_function(specified):
    source = (
        'def shout(text):\n    """Make it loud.\n\n    >>> shout("kelp")  # doctest: +SKIP\n    wrong\n    """\n'
        '    return text.upper() + "!"\n'
    )
    assert specified(source)[0] == "assert shout('kelp') == 'KELP!'"


def test_nothing_is_asserted_where_calls_tell_nothing(specified):
    sources = (
        "def always(x):\n    return 3\n",
        "def chance(n):\n    return random.random() * n\n",
        "def identity_of(x):\n    return object()\n",
        "def save(name):\n    open(f'/tmp/kelp-{name}', 'w').write('x')\n    return name\n",
        "def end(n):\n    import os\n    os._exit(n)\n",
        "async def later(n):\n    return n + 1\n",
        "def nowhere(n):\n    return missing + n\n",
    )
    for source in sources:
        assert specified(source, context="import random\n") == (), source


STACK = """class Stack:
    def __init__(self, items):
        self.items = list(items)
"""


def test_what_the_clock_says_is_not_asserted(specified):
    stamp = "def stamp(text: str):\n    return [len(text), seconds() // 1000]\n"
    assert specified(stamp, "import time\ndef seconds():\n    return int(time.time())\n") == ()
    assert specified(stamp, "def seconds():\n    return 5000\n") != ()


def test_a_method_is_called_with_an_object_of_its_class_or_a_stand_in(specified):
    source = "def total(self, more):\n    return sum(self.items) + more\n"
    owned = specified(source, context=STACK + "    def total(self, more):\n        return sum(self.items) + more\n")
    assert owned and any("total(Stack([" in line for line in owned)
    alone = specified(source)
    assert alone and all("total(SimpleNamespace(items=[" in line for line in alone)


def test_what_a_call_changes_is_looked_at(specified, sandbox):
    push = "def push(self, item):\n    self.items.append(item)\n"
    asserts = specified(push, context=STACK + "    def push(self, item):\n        self.items.append(item)\n")
    assert all("obj.items) == (None, [" in line for line in asserts) and len(asserts) >= specs.MIN_ASSERTS
    double = "def double(numbers):\n    for i, n in enumerate(numbers):\n        numbers[i] = 2 * n\n"
    asserts = specified(double)
    assert sandbox.run(double.encode(), asserts=asserts).ok
    assert not sandbox.run(double.replace("2 * n", "n").encode(), asserts=asserts).ok


def test_attributes_and_results_of_methods_get_the_kind_that_the_body_needs(specified):
    source = (
        "def describe(self, shout):\n    words = [w.lower() for w in self.words()]\n"
        "    return self.title.strip() + str(len(words)) + shout\n"
    )
    asserts = specified(source)
    assert asserts and all("words=lambda *_: " in line and "title='" in line for line in asserts)


def test_properties_and_class_methods_are_called_through_their_decorators(specified):
    source = "@property\ndef area(self):\n    return self.width * self.height\n"
    assert all("area.fget(" in line for line in specified(source)) and specified(source)
    context = "class Box:\n    sides = 4\n    @classmethod\n    def corners(cls, n):\n        return cls.sides * n\n"
    source = "@classmethod\ndef corners(cls, n):\n    return cls.sides * n\n"
    assert any("corners.__func__(Box, " in line for line in specified(source, context=context))


def test_values_without_a_repr_of_their_own_are_made_comparable(specified):
    pair = "class Pair:\n    def __init__(self, a, b):\n        self.a, self.b = a, b\n"
    asserts = specified("def pair(a, b):\n    return Pair(b, a)\n", context=pair)
    assert any(line.startswith("assert vars(pair(") for line in asserts)
    assert any("list(evens(" in line for line in specified("def evens(n: int):\n    return map(str, range(0, n, 2))\n"))


def test_variables_and_imports_of_the_docstring_are_put_into_its_examples(specified, sandbox):
    source = (
        'def area(radius, pi):\n    """The area.\n\n    >>> import math\n    >>> import shapes\n    >>> r = 2\n    '
        '>>> area(r, math.pi)\n    12.5\n    >>> print(area(r, 3))\n    12\n    """\n    return pi * radius ** 2\n'
    )
    (function,) = ast.parse(source).body
    assert inputs.doctest_calls(function) == (["area(2, math.pi)", "area(2, 3)"], "import math\n")
    asserts = specified(source)
    assert sandbox.run(source.encode(), asserts=asserts, setup="import math\n").ok


def test_the_examples_of_a_method_call_it_as_a_function():
    source = 'def push(self, x):\n    """\n    >>> s = Stack([1])\n    >>> s.push(2)\n    """\n    return self.add(x)\n'
    (function,) = ast.parse(source).body
    assert inputs.doctest_calls(function) == (["push(Stack([1]), 2)"], "")


def test_the_mutation_score_is_the_share_of_near_misses_that_an_assert_fails_for(sandbox):
    sure = specs.spec(Record(SCORE, "score"), sandbox, random.Random(0))
    assert sure.mutation_score is not None and sure.mutation_score >= 0.8
    dead = SCORE.replace("    if", "    unused = hits + 1\n    unused = unused * 2\n    if")
    score = specs.spec(Record(dead, "score"), sandbox, random.Random(0)).mutation_score
    assert score is not None and score < sure.mutation_score


def test_asserts_that_no_near_miss_fails_are_dropped():
    results = [CallResult(f"f({n})", str(n % 3), round_trips=True) for n in range(6)]
    killers = [frozenset({1, 2, 3}), frozenset({2, 4}), frozenset({3, 5})]
    assert set(specs.choose(results, killers)) <= {1, 2, 3, 4, 5}
    assert specs.choose(results, [frozenset({1, 2})]) == []


def test_near_misses_that_share_state_are_kept_apart(specified, sandbox):
    context = "SEEN = []\ndef note(x):\n    SEEN.append(x)\n    return len(SEEN) > 200\n"
    source = "def twice(x):\n    return 2 * x + note(x)\n"
    asserts = specified(source, context=context)
    assert asserts and sandbox.run(source.encode(), asserts=asserts, setup=context).ok


def test_records_that_have_asserts_or_cannot_run_are_left_as_they_are():
    own = Record(SCORE, "score", asserts=("assert score(4, 6) == 0",))
    unresolved = Record(SCORE, "score", context=None)
    assert specs.add_specs([own, unresolved]) == [own, unresolved]


def test_the_context_is_there_when_the_function_runs(specified):
    source = "def circle(radius):\n    return round(TAU * radius)\n"
    assert specified(source) == ()
    assert "assert circle(1.5) == 9" in specified(source, context="TAU = 6.283\n")


@pytest.mark.slow
def test_the_result_depends_on_the_seed_and_not_on_the_number_of_jobs(monkeypatch):
    monkeypatch.setattr(specs, "PIECE", 1)
    records = [Record(source, "f") for source in (IS_PALINDROME, FLATTEN, SCORE)]
    one = specs.add_specs(records, seed=1, jobs=1, limits=PATIENT)
    assert one == specs.add_specs(records, seed=1, jobs=2, limits=PATIENT)
    assert one != specs.add_specs(records, seed=2, jobs=2, limits=PATIENT)


def test_a_function_that_hangs_is_given_up():
    forever = Record("def forever(n):\n    while True:\n        n += 1\n", "forever")
    assert specs.add_specs([forever], jobs=1, limits=Limits(seconds=0.3)) == [forever]


@pytest.mark.parametrize(
    ("parameter", "body", "kind"),
    [
        ("n", "return n - 1", "int"),
        ("thing", "return thing.upper()", "str"),
        ("thing", "return [x + 1 for x in thing]", "ints"),
        ("thing", "return thing(3)", "func"),
        ("thing", "return thing(3, 4)", "func2"),
        ("thing", "return thing.items()", "dict"),
        ("thing", "return thing[0][1]", "matrix"),
        ("thing: 'dict[str, int]'", "return len(thing)", "dict"),
        ("thing: list[str] | None", "return len(thing)", "strs"),
        ("thing=2.5", "return thing", "float"),
        ("is_open", "return 1 if is_open else 2", "bool"),
        ("words", "return len(words)", "strs"),
        ("thing", "return [w.upper() for w in thing]", "strs"),
        ("thing", "'''Do.\n\n    :param str thing: what\n    '''; return thing", "str"),
        ("thing", "'''Do.\n\n    Args:\n        thing (list of int): what\n    '''; return thing", "ints"),
        ("thing", "'''Do.\n\n    Parameters\n    ------\n    thing : bool, optional\n    '''; return thing", "bool"),
    ],
)
def test_the_likeliest_kind_of_a_parameter(parameter, body, kind):
    (function,) = ast.parse(f"def f({parameter}):\n    {body}\n").body
    (guessed,) = parameters(function)
    assert guessed.kinds[0][0] == kind, guessed.kinds


def test_the_context_of_a_method_has_its_class_with_what_it_speaks_of():
    text = (
        "from __future__ import annotations\nfrom elsewhere import Style\nfrom .base import Base as _Base\n\n"
        "class Box(_Base):\n    def __init__(self, width):\n        self.width = width\n"
        "    def area(self, style: Style):\n        return self.squared()\n"
        "    def squared(self):\n        return self.width ** 2\n    def unrelated(self):\n        return missing\n"
    )
    base = Module("p-1", PurePosixPath("p/base.py"), "class Base:\n    def nothing(self):\n        pass\n")
    module = Module("p-1", PurePosixPath("p/box.py"), text)
    source = "def area(self, style: Style):\n    return self.squared()\n"
    context = Library([base, module]).context(module, source, "area")
    assert context is not None and "class Box(_Base)" in context and "class Style" in context
    assert "def squared" in context and "unrelated" not in context and "nothing" not in context
    namespace = {}
    exec(context + source + "found = area(Box(3), Style())", namespace)
    assert namespace["found"] == 9


def test_calls_respect_the_signature():
    source = "def f(a, b, /, c=1, *rest, d, e=2, **more):\n    return 0\n"
    (function,) = ast.parse(source).body
    namespace = {}
    exec(source, namespace)
    params = parameters(function)
    kinds = inputs.assignments(params, 3)
    found = inputs.calls(function, params, kinds[0], random.Random(0), 10)
    assert len(found) == 10
    for call in found:
        assert eval(call, namespace) == 0


def test_the_shipped_packages_are_pinned_and_listed_once():
    packages = [unit.removeprefix("package:").split()[0] for unit in expand("list:configs/corpus-pypi.toml")]
    assert len(packages) >= 150 and len({p.lower() for p in packages}) == len(packages)
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", p) for p in packages)
