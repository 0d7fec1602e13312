import random

import pytest
from tests.programs import parse, parses

from kelp.diffusion.rewriting.apply import rewrite, rewrites
from kelp.languages.python.rewrite_rules import DIFFERENT
from kelp.syntax.program import Program


def written(source: str, rule: str | None = None) -> set[str]:
    """Sources that the rules (or one of them) make of a function."""
    program = parse(source.encode())
    return {e.apply(program.source).decode() for r, e in rewrites(program) if rule in (None, r.name)}


def lines(body: str, parameters: str = "a, b, x") -> str:
    return f"def f({parameters}):\n    {body}"


@pytest.mark.parametrize(
    ("body", "other"),
    [
        ("return not a == b", "return a != b"),
        ("return not (a and b)", "return not a or not b"),
        ("return (not a) and not b", "return not (a or b)"),
        ("return range(0, a)", "return range(a)"),
        ("return a[0:b]", "return a[:b]"),
        ("return len( a )*2 + b", "return 2 * len( a ) + b"),
        ("return len(a) * 2", "return len(a) + len(a)"),
        ("if not(a == b): return x", "if a != b: return x"),
        ("return(not a == b)", "return a != b"),
        ("if len(x.split()) == 0: return a", "if not x.split(): return a"),
        ("a += 1", "a = a + 1"),
        ("a[0] = a[0] + 1", "a[0] += 1"),
        ("return [g(v) for v in x]", "return list(map(g, x))"),
        ("return sum([v * v for v in x])", "return sum(v * v for v in x)"),
        ("return -(len(a) - len(b)) * x", "return (len(b) - len(a)) * x"),
        ("return a if not b else x", "return x if b else a"),
    ],
)
def test_an_expression_is_written_another_way_and_all_else_stays(body: str, other: str) -> None:
    parameters = "a, b, x, g"
    assert lines(other, parameters) in written(lines(body, parameters))


@pytest.mark.parametrize(
    ("body", "other"),
    [
        ("return a + b", "return b + a"),  # texts
        ("return a + b + x", "return a + (b + x)"),  # floats
        ("return not a < b", "return a >= b"),  # sets
        ("return len(x) == 0", "return not x"),  # arrays
        ("return a or b", "return b or a"),  # values
        ("if a and x[0]: return b", "if x[0] and a: return b"),  # the first guards the second
        ("return a() == b()", "return b() == a()"),  # order of calls
        ("return a() * 2", "return a() + a()"),
        ("a = a + b", "a += b"),  # lists
        ("return [(y := v) for v in x], y", "return list(map(lambda v: (y := v), x)), y"),
        ("x = a if b else 1; return x", "if b:\n        x = a\n    else:\n        x = 1; return x"),
        ("return (not a == b  # why\n        )", "return a != b"),
        ("return [v(v) for v in x]", "return list(map(v, x))"),
        ("def range(n): return n\n    return range(0, a)", "def range(n): return n\n    return range(a)"),
        ("n = 0\n    def g():\n        nonlocal n\n        n = a\n    return n + 1", "n = 0\n    def g():\n"
         "        nonlocal n\n        n = a\n    return 1 + n"),
    ],
)  # fmt: skip
def test_what_the_source_does_not_show_to_be_equal_stays(body: str, other: str) -> None:
    assert lines(other) not in written(lines(body))


@pytest.mark.parametrize(
    ("body", "other"),
    [
        ("n = 0\n    for i in range(a):\n        n += i\n    return n + i", "return i + n"),
        ("n = len(a)\n    n = n // 2\n    return n // 2", "return n >> 1"),
        ("t = ''\n    t += str(a)\n    return t + str(b) + str(a)", "return t + (str(b) + str(a))"),
    ],
)
def test_names_have_the_kind_of_all_that_is_assigned_to_them(body: str, other: str) -> None:
    assert any(text.endswith(other) for text in written(lines(body)))


def test_a_function_that_is_named_like_a_builtin_is_not_taken_for_it() -> None:
    assert "def pow(a, b):\n    return pow(a, b)" not in written("def pow(a, b):\n    return a ** b")
    assert "def f(a, b):\n    return pow(a, b)" in written("def f(a, b):\n    return a ** b")


def test_branches_change_places_with_their_comments_and_indentation() -> None:
    source = (
        "def f(a):\n    while a:\n        if a > 1:\n            a = 0\n            # one\n            return 1\n"
        "        else:\n            a = (\n                2)"
    )
    assert written(source, "swap branches") == {
        "def f(a):\n    while a:\n        if not a > 1:\n            a = (\n                2)\n"
        "        else:\n            a = 0\n            # one\n            return 1"
    }


def test_a_choice_becomes_branches_and_back() -> None:
    one = "def f(a, b):\n    if a:\n        return b\n    else:\n        return a"
    other = "def f(a, b):\n    return b if a else a"
    assert other in written(one) and one in written(other)


def test_one_part_is_rewritten_as_the_seed_says() -> None:
    program = parse(b"def f(a, b):\n    if not a == b:\n        return range(0, len(a) * 2)\n    return a[:]")

    def texts(seed: int) -> list[Program | None]:
        rng = random.Random(seed)
        return [found.source for found in (rewrite(program, rng) for _ in range(5)) if found is not None]

    assert texts(1) == texts(1)
    assert len({text for seed in range(20) for text in texts(seed)}) > 5
    assert all(parses(text) and text != program.source for text in texts(2))


def test_where_no_rule_applies_there_is_nothing_to_write() -> None:
    assert rewrite(parse(b"def f(a):\n    return a\n"), random.Random(0)) is None


def test_the_same_machinery_writes_what_is_not_equal() -> None:
    program = parse(b"def f(a, b, x):\n    return x[1:] if (a + b) * 2 < len(x) - 1 else x")
    texts = {edit.apply(program.source).decode().partition("return ")[2] for _, edit in rewrites(program, DIFFERENT)}
    assert "x[1:] if a + b * 2 < len(x) - 1 else x" in texts
    assert "x[1:] if (a + b) * 2 <= len(x) - 1 else x" in texts
    assert "x[1:] if (a + b) * 2 < len(x) else x" in texts
    assert "x if (a + b) * 2 < len(x) - 1 else x[1:]" in texts
