"""Specs made by running the clean function: what is asserted, and of which functions nothing is."""

import ast
import random

import pytest

from kelp.data import inputs, specs
from kelp.data.record import Record
from kelp.execution import Limits, Sandbox

PATIENT = Limits(seconds=20)  # nothing here hangs, or its near misses: a slow machine changes no result


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(limits=PATIENT) as sandbox:
        yield sandbox


@pytest.fixture
def specified(sandbox):
    def specified(source, context="", seed=0):
        record = Record(source, ast.parse(source).body[0].name, context=context)
        return specs.spec(record, sandbox, random.Random(seed))

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
    assert specified(source)[0] == "assert shout(\"kelp\") == 'KELP!'"


def test_nothing_is_asserted_where_calls_tell_nothing(specified):
    sources = (
        "def always(x):\n    return 3\n",
        "def nothing(items):\n    items.append(1)\n",
        "def chance(n):\n    return random.random() * n\n",
        "def identity_of(x):\n    return object()\n",
        "def save(name):\n    open(f'/tmp/kelp-{name}', 'w').write('x')\n    return name\n",
        "def spawn(n):\n    import os\n    return os.fork() and n\n",
        "def end(n):\n    import os\n    os._exit(n)\n",
        "def method(self, n):\n    return n + 1\n",
        "async def later(n):\n    return n + 1\n",
        "def nowhere(n):\n    return missing + n\n",
    )
    for source in sources:
        assert specified(source, context="import random\n") == (), source


def test_records_that_have_asserts_or_cannot_run_are_left_as_they_are():
    own = Record(SCORE, "score", asserts=("assert score(4, 6) == 0",))
    unresolved = Record(SCORE, "score", context=None)
    assert specs.add_specs([own, unresolved]) == [own, unresolved]


def test_the_context_is_there_when_the_function_runs(specified):
    source = "def circle(radius):\n    return round(TAU * radius)\n"
    assert specified(source) == ()
    assert "assert circle(1.5) == 9" in specified(source, context="TAU = 6.283\n")


def test_the_result_depends_on_the_seed_and_not_on_the_number_of_jobs():
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
    ],
)
def test_the_likeliest_kind_of_a_parameter(parameter, body, kind):
    (function,) = ast.parse(f"def f({parameter}):\n    {body}\n").body
    (guessed,) = inputs.parameters(function)
    assert guessed.kinds[0][0] == kind, guessed.kinds


def test_calls_respect_the_signature():
    source = "def f(a, b, /, c=1, *rest, d, e=2, **more):\n    return 0\n"
    (function,) = ast.parse(source).body
    namespace = {}
    exec(source, namespace)
    params = inputs.parameters(function)
    kinds = inputs.assignments(params, 3)
    found = inputs.calls(function, params, kinds[0], random.Random(0), 10)
    assert len(found) == 10
    for call in found:
        assert eval(call, namespace) == 0
