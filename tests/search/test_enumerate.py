"""Expressions by their values: what is enumerated means what it says."""

import warnings
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kelp.search.synthesis.enumerate import Enumeration, conditions, expressions, information, partly

pytestmark = pytest.mark.slow

ENVIRONMENTS: list[dict[str, Any]] = [
    {
        "n": 3,
        "f": 2.5,
        "text": "Ab c",
        "xs": [3, 1, 2, 3],
        "pair": (1, "b"),
        "s": {2, 5},
        "d": {"a": 1, "k": 4},
        "b": True,
    },
    {"n": -2, "f": 0.5, "text": "xyz", "xs": [0, 7], "pair": (4, ""), "s": {1, 2, 3}, "d": {"k": 0}, "b": False},
]


@pytest.mark.parametrize("truth", [False, True])
def test_every_expression_that_is_kept_has_the_values_it_is_kept_for(truth: bool) -> None:
    enumeration = Enumeration(ENVIRONMENTS, [0, 1, 2, " ", -0.5], truth, limit=500_000, wanted=("no", "such value"))
    enumeration.run(5)
    kept = [each for by_kind in enumeration.of.values() for some in by_kind.values() for each in some]
    assert len(kept) > 3_000
    for each in kept[:: 1 + len(kept) // 6_000]:
        for environment, value in zip(ENVIRONMENTS, each.values):
            got = eval(each.text, dict(environment))
            assert (got, type(got)) == (value, type(value)), each.text


def test_operators_bind_as_python_has_them() -> None:
    for names in ({"a": 7, "b": 4}, {"a": 3, "xs": [3, True], "t": True}, {"n": 2, "m": 0.5}):
        enumeration = Enumeration([names], [2, -1], truth=True, limit=150_000)
        enumeration.run(8)
        for by_kind in enumeration.of.values():
            for some in by_kind.values():
                for each in some:
                    with warnings.catch_warnings(action="ignore"):  # of `2(3)`, which no literal is
                        assert eval(each.text, dict(names)) == each.values[0], each.text


@pytest.mark.parametrize(
    ("environments", "text"),
    [
        ([{"xs": [1, 2, 3, 4], "n": 2}, {"xs": [5, 6, 7], "n": 3}], "xs[::n]"),
        ([{"a": (3, 4, 5, 6), "b": (5, 7, 4, 10)}, {"a": (1, 2), "b": (3, 6, 1)}], "tuple(set(a + b))"),
        ([{"rows": [[1, 2, 7], [3, 4, 5]], "n": 1}, {"rows": [[5, 6, 7], [8, 9, 1]], "n": 2}], "[x[n] for x in rows]"),
        ([{"ns": [1, 2, 5, 3], "ok": [3, 5]}, {"ns": [4, 9, 6, 5, 9], "ok": [9, 4]}], "[x for x in ns if x in ok]"),
        ([{"ns": (1, -2, 5, 13)}, {"ns": (-4, 9, -7)}], "tuple([x + 1 for x in ns])"),
        ([{"text": "some words of it"}, {"text": "even more"}], "text.upper().split()"),
        ([{"n": 100}, {"n": 41}], "sum(range(n))"),
    ],
)  # fmt: skip
def test_what_is_wanted_is_found(environments: list[dict[str, Any]], text: str) -> None:
    values = [eval(text, dict(environment)) for environment in environments]
    found = expressions(environments, values, [0, 1])
    assert found
    for each in found:
        assert [eval(each.text, dict(environment)) for environment in environments] == values
    assert text in [each.text for each in found]


def test_nothing_is_taken_that_chance_explains() -> None:
    environments = [{"n": 49, "m": 9}, {"n": 79, "m": 2}]
    assert expressions(environments, [False, True], [0, 1]) == []  # two bits
    assert expressions(environments, [10, 3], [0, 1]) == []  # a few more, and nothing as small as that
    assert [each.text for each in expressions(environments, [50, 80], [0, 1])][:1] == ["n + 1"]
    assert information([True, False]) < information([5, 8]) < information(["some text", "another"])
    assert information([8, 8]) == information([8])


DIVISIONS = [{"a": a, "b": b} for a, b in ((6, 3), (7, 2), (5, 0), (17, 4), (9, 1))]


def test_what_suits_some_environments_has_the_wanted_value_there_and_may_have_none_elsewhere() -> None:
    wanted = [2, 3, 99, 4, 9]
    found = partly(DIVISIONS, wanted, [0, 1], frozenset(), least=3)
    assert found[0].text == "a // b" and found[0].values == (2, 3, ..., 4, 9)
    for each in partly(DIVISIONS, wanted, [0, 1, 2], frozenset(), least=0):
        for environment, value in zip(DIVISIONS, each.values):
            if value is not ...:
                assert eval(each.text, dict(environment)) == value
        assert 2 <= sum(value == want for value, want in zip(each.values, wanted)) < len(wanted)
    assert partly(DIVISIONS, [2, 3, 99, 4, 99], [0, 1], frozenset(), least=4) == []


def test_conditions_hold_where_they_should_and_nowhere_else() -> None:
    for wanted in ([False, False, True, False, False], [False, True, False, True, True]):
        found = conditions(DIVISIONS, wanted, [0, 6], frozenset())
        assert found and [each.cost for each in found] == sorted(each.cost for each in found)
        for each in found:
            assert [bool(eval(each.text, dict(environment))) for environment in DIVISIONS] == wanted
    assert "not b" in [
        each.text for each in conditions(DIVISIONS, [False, False, True, False, False], [0], frozenset())
    ]


def test_there_may_be_much_to_explain() -> None:
    rows = [[f"row {i}" for i in range(150)], [f"line {i}" for i in range(99)]]
    found = expressions([{"xs": row} for row in rows], [row[1:] for row in rows], [1])
    assert "xs[1:]" in [each.text for each in found]


def test_names_that_hide_builtins_are_not_called() -> None:
    environments = [{"list": (3, 100), "n": 1}, {"list": (200, 9), "n": 0}]
    for taken in (frozenset[str](), frozenset(["zip", "tuple", "sorted"])):
        for wanted in ([[3, 100], [200, 9]], [(4, 101), (201, 10)], [[(3,), (100,)], [(200,), (9,)]]):
            for each in expressions(environments, wanted, [1], taken):
                assert not any(f"{name}(" in each.text for name in {"list", *taken})


def test_a_name_that_has_the_values_is_what_is_said() -> None:
    found = expressions([{"total": 100, "n": 1}, {"total": 2000, "n": 2}], [100, 2000], [0, 1, 2])
    assert [each.text for each in found] == ["total"]


def test_comprehensions_find_a_name_for_their_items() -> None:
    environments = [{"x": 1, "y": 2, "z": 3, "xs": [[3, 4], [5]]}, {"x": 4, "y": 5, "z": 6, "xs": [[7, 8, 9]]}]
    values = [[[703, 804], [905]], [[1607, 1708, 1809]]]
    for each in expressions(environments, values, [100, 200]):
        assert [eval(each.text, dict(environment)) for environment in environments] == values


def test_text_in_sets_has_no_order_that_counts() -> None:
    environments = [{"p": [{"ab", "cd"}, {"ef", "gh"}]}, {"p": [{"ij", "kl"}, {"mn", "op"}]}]
    enumeration = Enumeration(environments, [0, 1], truth=False, limit=50_000)
    enumeration.run(4)
    texts = [each.text for by_kind in enumeration.of.values() for some in by_kind.values() for each in some]
    assert len(texts) > 50
    assert not {"list(zip(*p))", "dict(p)"} & set(texts)


def test_the_order_of_a_set_of_text_is_never_relied_on() -> None:
    enumeration = Enumeration([{"s": {"a", "b"}}, {"s": {"x", "y"}}], [], truth=False, limit=20_000)
    enumeration.run(4)
    texts = [each.text for by_kind in enumeration.of.values() for some in by_kind.values() for each in some]
    assert "sorted(s)" in texts
    assert not {"list(s)", "tuple(s)"} & set(texts)


VALUES = st.one_of(st.integers(-9, 9), st.text("ab ", max_size=4), st.lists(st.integers(-3, 9), max_size=4))


@settings(max_examples=30)  # each enumerates thousands of expressions
@given(st.lists(st.fixed_dictionaries({"x": VALUES, "y": VALUES}), min_size=2, max_size=3), st.data())
def test_whatever_the_values_what_is_found_has_them(environments: list[dict[str, Any]], data: st.DataObject) -> None:
    values = [data.draw(VALUES) for _ in environments]
    for each in expressions(environments, values, [0, 1])[:4]:
        assert [eval(each.text, dict(environment)) for environment in environments] == values
