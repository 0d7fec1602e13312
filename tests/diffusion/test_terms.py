import pytest
from tests.programs import parse

from kelp.diffusion.rewriting.terms import TRUTH, read, write


def term(text: str, node: int = 1):  # type: ignore[no-untyped-def]
    found = read(parse(text.encode()), node)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "text",
    [
        "a < b", "not (a and b)", "sum([e for v in x if c])", "x[0:n]", "x[:n - 1]", "f(a, *b, k=c, **d)", "-(a - b)",
        "lambda v: c", "(a + b) * c", "a - (b - c)", "[*x, a]", "{k: e for v in x}", "a if c else b",
        "x += a", "x[i] = x[i] + 1", "return a, b", "return", "a not in (b, c)", "x.f(a)[1].g", "a if (b or c) else d",
    ],
)  # fmt: skip
def test_a_term_is_written_as_people_write_it(text: str) -> None:
    assert write(term(text)) == text.replace("(b or c)", "b or c").encode()


@pytest.mark.parametrize(
    ("one", "other"),
    [("a+b", "a + b"), ("(a + b)", "a + b"), ("f( (a) )", "f(a)"), ("a not  in b", "a not in b")],
)
def test_space_and_parentheses_are_no_part_of_a_term(one: str, other: str) -> None:
    assert term(one) == term(other)


def test_a_place_that_asks_for_truth_is_told_from_one_that_asks_for_a_value() -> None:
    assert term("assert a", 3).form == TRUTH
    assert term("not a").parts[0].form == TRUTH
    assert term("a or b").parts[0].form != TRUTH
    assert term("assert a or b", 3).parts[0].parts[0].form == TRUTH
    assert [part.form == TRUTH for part in term("a if b else c").parts] == [False, True, False]


def test_a_comment_between_the_parts_makes_it_no_term() -> None:
    assert read(parse(b"f(a,  # first\n  b)"), 1) is None


def test_what_takes_several_lines_is_read_and_not_written() -> None:
    found = term("if c:\n    a = 1\nelse:\n    b")
    assert [part.form for part in found.parts][2] == (b"b",)
    assert write(found) is None
