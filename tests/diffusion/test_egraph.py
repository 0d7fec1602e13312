import pytest
from tests.programs import parse

from kelp.diffusion.rewriting.egraph import Equality
from kelp.diffusion.rewriting.terms import read, write

pytestmark = pytest.mark.slow

pytest.importorskip("egglog")


@pytest.fixture(scope="module")
def equality() -> Equality:
    return Equality()


def variants(equality: Equality, text: str, node: int = 1, limit: int = 40) -> dict[str, tuple[str, ...]]:
    term = read(parse(text.encode()), node)
    assert term is not None
    return {(write(v.term) or b"").decode(): v.rules for v in equality.variants(term, limit)}


def test_rules_are_used_together(equality: Equality) -> None:
    found = variants(equality, "not (a == b and c in d)")
    assert found["a != b or c not in d"] == ("De Morgan and", "not ==", "not in")
    assert "not (b == a and c in d)" in found


def test_parentheses_come_and_go_as_needed(equality: Equality) -> None:
    found = variants(equality, "(x + x) * y")
    assert "x * 2 * y" in found and "y * (x + x)" in found


def test_what_holds_in_conditions_alone_is_used_there_alone(equality: Equality) -> None:
    assert "a" in variants(equality, "assert not not a", 3) and "a" not in variants(equality, "not not a")
    assert "b or a" in variants(equality, "assert a or b", 3) and "b or a" not in variants(equality, "a or b")


def test_statements_have_variants_too(equality: Equality) -> None:
    assert variants(equality, "x = x + 1")["x += 1"] in (("assign +",), ("count +",))


def test_those_by_the_fewest_rules_come_first_and_no_more_than_asked(equality: Equality) -> None:
    all_ = list(variants(equality, "x * 2 + y").values())
    assert list(variants(equality, "x * 2 + y", limit=3).values()) == all_[:3]
    assert len(all_[0]) == 1 and len(all_) > 3


def test_a_term_says_nothing_of_the_one_before_it(equality: Equality) -> None:
    before = variants(equality, "a + b")
    variants(equality, "b + a + c * 2")
    assert variants(equality, "a + b") == before
