"""Asserts about a function, read from test files."""

import ast

import pytest

from kelp.languages.python.test_files import asserts_about, literal, wanted


def test_the_asserts_about_a_function_are_those_that_call_it() -> None:
    tests = """
def test_f():
    x = 3
    assert f(x) == 4
    assert module.f(1) == 2, "message"
    assert g(1) == 2

class TestMore:
    def test_again(self):
        assert f(x) == 4
"""
    assert asserts_about(tests, "f") == ("assert f(3) == 4", "assert module.f(1) == 2", "assert f(x) == 4")
    assert asserts_about("def broken(:", "f") == ()


PARAMETRIZED = """
import pytest
from pytest import mark
LIMIT = 10

@pytest.mark.parametrize("x, want", [(1, 2), [3, 4], pytest.param(Decimal("5"), 6, id="five"), ROW])
def test_pairs(x, want):
    assert f(x, LIMIT) == want

@mark.slow
@mark.parametrize(("x",), [(1,), (2,)])
@mark.parametrize("y", [7])
def test_one(x, y):
    assert f(y) == 0

@pytest.mark.parametrize("x", range(3))
def test_range(x):
    assert f(x)

def test_loop(tmp_path):
    for given, want in [("a", 1), ("b", 2)]:
        assert f(given) == want
    rows = []
    rows.append(1)
    assert f(rows) == LIMIT
    LIMIT_2 = 4
    LIMIT_2 = 5
    assert f(LIMIT_2) == 1

def test_shadowed(LIMIT):
    assert f(LIMIT) == 1
"""


def test_parameters_loops_and_constants_are_written_out() -> None:
    assert asserts_about(PARAMETRIZED, "f", limit=20) == (
        "assert f(1, 10) == 2",
        "assert f(3, 10) == 4",
        "assert f(Decimal('5'), 10) == 6",
        "assert f(y) == 0",
        "assert f(x)",
        "assert f('a') == 1",
        "assert f('b') == 2",
        "assert f(rows) == 10",
        "assert f(LIMIT_2) == 1",
        "assert f(LIMIT) == 1",
    )


def test_unittest_asserts_too() -> None:
    tests = """
class Test(unittest.TestCase):
    def test_f(self):
        x = [1]
        self.assertEqual(f(x), 2, "message")
        self.assertTrue(f(3))
        self.assertFalse(f(4))
        self.assertIn(f(5), (1, 2))
        self.assertIs(f(6), None)
        self.assertRaises(ValueError, f, 7)
        with self.subTest():
            self.assertEqual(8, g.f(9))
"""
    assert asserts_about(tests, "f") == (
        "assert f([1]) == 2", "assert f(3)", "assert not f(4)", "assert f(5) in (1, 2)", "assert f(6) is None",
        "assert 8 == g.f(9)",
    )  # fmt: skip


@pytest.mark.parametrize(
    "tests",
    [
        "@pytest.mark.parametrize('', [])\ndef test(): assert f(1)",
        "@pytest.mark.parametrize(1, [2])\ndef test(): assert f(1)",
        "@pytest.mark.parametrize('a,b', [1, (1, 2, 3), *more])\ndef test(a, b): assert f(1)",
        "@pytest.mark.parametrize(*all_of_them)\ndef test(a, b): assert f(1)",
        "@pytest.mark.parametrize(argnames='a', argvalues=[1])\nasync def test(a): assert f(1)",
        "for a.b, in [(1,)]: assert f(1)",
        "x = y = 2\nx, y = 3, 4\nassert f(1)",
    ],
)  # fmt: skip
def test_what_is_not_plain_to_see_is_left_as_it_stands(tests: str) -> None:
    assert asserts_about(tests, "f") == ("assert f(1)",)


def test_every_assert_can_be_read_again() -> None:
    for line in asserts_about(PARAMETRIZED, "f", limit=20):
        ast.parse(line)


def test_what_asserts_say_in_so_many_words() -> None:
    lines = (
        "assert f(1, b=[2]) == (3, 'x')", "assert not f(2)", "assert m.f(3)", "assert f(4) is None",
        "assert f(5) == g(5)", "assert f(6) > 2", "assert g(7) == 1",
        "assert f(8) == -1, 'message'", "assert [f(9)] == [1]", "assert (",
    )  # fmt: skip
    assert wanted(lines, "f") == [("1, b=[2]", (3, "x")), ("2", False), ("3", True), ("4", None), ("8", -1)]


@pytest.mark.parametrize("line", ["f(1) == {[1]: 2}", "f(1) == " + "-" * 3_000 + "1", "f(1) == " + "1+" * 5_000 + "1"])
def test_what_cannot_be_read_is_not_wanted(line: str) -> None:
    assert wanted([f"assert {line}", "assert f(2) == 3"], "f") == [("2", 3)]


def test_literals_are_read_and_all_else_is_not() -> None:
    assert literal("[1, {'a': (2.5, None)}]") == [1, {"a": (2.5, None)}]
    for text in ("", "f()", "(" * 5_000, "{[1]: 2}", "\x00", "1 +", "'\\d' + 3"):
        assert literal(text, "no") == "no"
