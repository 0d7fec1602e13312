"""Lint: patterns that finished Python seldom has."""

from textwrap import dedent

import pytest

from kelp.languages.python.lint import lint

FINE = """
def mean(values, *, weights=None, _spare=None):
    total, count = 0, 0
    for value in values:
        total += value
        count += 1
    for _ in range(2):
        print(total)
    def inner(x):
        nonlocal count
        count = x
        return x
    try:
        result = inner(total) / count
    except ZeroDivisionError:
        return None
    else:
        return result if weights else result + 1
"""


@pytest.mark.parametrize(
    "source",
    [
        FINE,
        "class A:\n    def f(self):\n        return 1\n",
        "def f(x):\n    while True:\n        if x:\n            return x\n        x = g(x)\n",
        "def f(x):\n    with open(x) as file:\n        return file.read()\n",
        "def f(x):\n    match x:\n        case 1:\n            return 2\n        case _:\n            raise x\n",
        "def f(x):\n    for y in x:\n        yield y\n",
        "def f(x):\n    if x:\n        raise ValueError(x)\n",
        "def f(x):\n    for y in x:\n        if y:\n            continue\n        return y\n    return x\n",
        "def f(x, y):\n    return [z for z in x if z - y == y - z and (x or y)]\n",
        "async def f(x):\n    async with x as y:\n        return await y\n",
        "def f():\n    'Text.'\n    return 1 - 1\n",
    ],
)
def test_finished_code_has_none(source: str) -> None:
    assert lint(source.encode()) == 0


@pytest.mark.parametrize(
    "statements",
    [
        "z = x\nreturn y + x",  # set and not used
        "z = 0\nz += x\nreturn y",
        "return x",  # a parameter that is not
        "for z in x:\n    y(1)\nreturn x",
        "if x:\n    return y",  # lost at the end
        "if x:\n    return\nreturn y",
        "print(x, y)",
        "return x\ny = 1\nreturn y",  # not reached
        "while x:\n    break\n    y(x)\nreturn y",
        "for z in x:\n    return z + y\nreturn x",  # never comes round
        "return x - x + y",
        "if y == y:\n    y = x\nreturn y",
        "return (x or y) and (x or y)",
        "x = x\nreturn x + y",
        "if x:\n    y(x)\nelse:\n    y(x)\nreturn x",
        "x + 1\nreturn x + y",  # without effect
    ],
)
def test_mistakes_leave_one(statements: str) -> None:
    body = "".join(f"    {line}\n" for line in dedent(statements).splitlines())
    assert lint(f"def f(x, y):\n{body}".encode()) == 1


def test_the_tests_of_a_function_in_a_function_are_its_own() -> None:
    assert lint(b"def f(x):\n    def g(y):\n        return x\n    return g\n") == 1  # y
    assert lint(b"def f(x):\n    def g(y):\n        x = y\n        return x\n    return g\n") == 0


def test_what_is_no_python_is_refused() -> None:
    with pytest.raises(SyntaxError):
        lint(b"def f(:\n")


def test_what_is_parsed_is_not_warned_of(recwarn: pytest.WarningsRecorder) -> None:
    assert lint(b"def f(x):\n    return 2or x\n") == 0
    assert not recwarn.list
