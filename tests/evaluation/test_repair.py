"""A benchmark of six cases small enough to reckon by hand, and policies that cheat."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pytest

from kelp.data.encoding import Condition
from kelp.evaluation.metrics import Estimate
from kelp.evaluation.repair import Case, Row, Settings, by_group, solve, solve_all
from kelp.evaluation.toy import no_model
from kelp.execution.sandbox import Sandbox
from kelp.search.policy import Proposal
from kelp.search.task import Budget
from kelp.syntax.edits import Edit
from kelp.syntax.program import Program

FIXED = "def f(x):\n    return x + 1\n"
ASSERTS = ("assert f(0) == 1", "assert f(1) == 2", "assert f(5) == 6", "assert f(-1) == 0")


def broken(name: str, group: str, text: str, rejected: int = 0) -> Case:
    return Case(name, group, FIXED.replace("x + 1", text), "f", ASSERTS, FIXED, "Add one.", rejected=rejected)


CASES = [
    broken("a", "one", "x - 1", rejected=2),
    broken("b", "one", "x * 1"),
    broken("c", "one", "x"),
    broken("d", "two", "1 - x"),  # passes the first test
    broken("e", "two", "2 * x", rejected=1),  # passes the second test
    broken("f", "two", "y"),
]
# What is written in place of the expression, in this order; x + 1 is exact, the other repairs are not.
ANSWERS = {
    "a": ["x + 1"],
    "b": ["x * 2", "x +", "x - -1"],  # the second does not parse
    "c": ["x + 2", "x", "x + x"],
    "d": ["x", "2", "1", "1 + x"],
    "e": [],
    "f": ["0", "x + 1", "1 + x"],
}


class Answers:
    """Writes given expressions in place of the one returned."""

    def __init__(self, answers: list[str]) -> None:
        self.answers = answers

    def propose(self, program: Program, condition: Condition) -> Iterator[Proposal]:
        start = program.source.index(b"return ") + len(b"return ")
        for i, answer in enumerate(self.answers):
            yield Proposal(Edit(start, len(program.source), answer.encode()), -1.0 - i, "model")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    settings = Settings(budget=Budget(runs=16, seconds=600.0, edits=1))
    return list(solve_all(CASES, lambda: lambda case: Answers(ANSWERS[case.id]), settings))


def test_every_row_says_what_became_of_its_case(rows: list[Row]) -> None:
    def told(row: Row) -> tuple[object, ...]:
        return row.id, row.repaired, row.exact, row.pass_rate, row.first_repair, row.runs, row.states, row.valid_states

    assert [told(row) for row in rows] == [
        ("a", True, True, 1.0, 2, 2, 2, 2),
        ("b", True, False, 1.0, 3, 3, 4, 3),
        ("c", False, False, 0.25, None, 3, 3, 3),  # x + x passes a test, and x is where it began
        ("d", True, False, 1.0, 5, 5, 5, 5),
        ("e", False, False, 0.25, None, 1, 1, 1),
        ("f", True, True, 1.0, 3, 4, 4, 4),  # two repairs: the likelier one is the patch
    ]
    assert [row.patch for row in rows] == [
        FIXED, FIXED.replace("x + 1", "x - -1"), None, FIXED.replace("x + 1", "1 + x"), None, FIXED,
    ]  # fmt: skip


def test_the_figures_are_those_reckoned_by_hand(rows: list[Row]) -> None:
    figures = by_group(rows, most_runs=16)
    assert list(figures) == ["one", "two", "all"]
    one, two, total = figures.values()
    assert (one["n"], two["n"], total["n"]) == (3, 3, 6)
    assert (one["rejected"], two["rejected"], total["rejected"]) == (2, 1, 3)
    assert (one["validity"], two["validity"], total["validity"]) == (8 / 9, 1.0, 18 / 19)
    assert total["repaired"] == Estimate(4 / 6, pytest.approx(2 / 6), 1.0, 6)
    assert total["exact_match"] == Estimate(2 / 6, 0.0, pytest.approx(4 / 6), 6)
    assert total["pass_rate"].mean == 4.5 / 6
    assert (one["median_runs"], two["median_runs"], total["median_runs"]) == (2.5, 4, 3)
    assert total["solved_within"] == {1: 0, 2: 1 / 6, 4: 3 / 6, 8: 4 / 6, 16: 4 / 6}


@pytest.mark.parametrize(
    "cheat",
    [
        [],  # nothing
        ["x - 1"],  # the broken program itself
        ["exit()"],
        ["__import__('os')._exit(0)"],
        ["__import__('sys').modules.clear()"],
        ["ASSERTS.clear()"],
        ["None  # all tests pass"],
        ["1\nassert True"],
        ["print('4 passed')"],
        ["[t for t in __import__('gc').get_objects() if isinstance(t, list) and t.clear()]"],
    ],
    ids=lambda cheat: "".join(cheat)[:20] or "nothing",
)
def test_a_cheat_gets_no_credit(cheat: list[str], sandbox: Sandbox) -> None:
    row = solve(CASES[0], Answers(cheat), sandbox)
    assert not row.repaired and not row.exact
    assert row.patch is None and row.first_repair is None
    assert row.pass_rate <= 0.25


def test_answers_learnt_by_heart_are_no_exact_match(sandbox: Sandbox) -> None:
    row = solve(CASES[0], Answers(["{0: 1, 1: 2, 5: 6, -1: 0}[x]"]), sandbox)
    assert row.repaired and not row.exact


def test_no_policy_sees_the_answer(sandbox: Sandbox) -> None:
    class Curious(Answers):
        def propose(self, program: Program, condition: Condition) -> Iterator[Proposal]:
            assert program.source.decode() == CASES[0].source.rstrip()
            assert condition == Condition("Add one.", ASSERTS, "0/4 f(0) got -1 want 1", (1.0, 1.0), frozenset({"f"}))
            yield from ()

    assert solve(CASES[0], Curious([]), sandbox).stopped == "nothing left to try"


def test_two_processes_find_what_one_does() -> None:
    settings = Settings(budget=Budget(runs=12, seconds=600.0))
    alone, shared = (
        [replace(row, seconds=0) for row in solve_all(CASES[:3], partial(no_model, 5), settings, jobs=jobs)]
        for jobs in (1, 2)
    )
    assert alone == shared
    assert all(2 <= row.runs <= 12 for row in alone)
