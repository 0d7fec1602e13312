"""A benchmark of six cases small enough to reckon by hand, and policies that cheat."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from kelp.encoding.condition import Condition
from kelp.evaluation.arms import no_model
from kelp.evaluation.case import Case
from kelp.evaluation.case_runner import CaseRunner, shared_sandbox
from kelp.evaluation.metrics import Estimate, by_group, compare, summarize
from kelp.evaluation.result import CaseResult
from kelp.evaluation.run_cases import Settings, solve, solve_all
from kelp.execution.sandbox import Sandbox
from kelp.search.policy import Policy, Proposal
from kelp.search.task import Budget
from kelp.syntax.edits import Edit
from kelp.syntax.program import Program

pytestmark = pytest.mark.slow

FIXED = "def f(x):\n    return x + 1\n"
VISIBLE = ("assert f(0) == 1", "assert f(1) == 2", "assert f(5) == 6", "assert f(-1) == 0")
HIDDEN = (*VISIBLE, "assert f(9) == 10")


def broken(name: str, group: str, text: str, rejected: int = 0) -> Case:
    source = FIXED.replace("x + 1", text)
    return Case(name, source, VISIBLE, HIDDEN, intent="Add one.", group=group, fixed=FIXED, rejected=rejected)


CASES = [
    broken("a", "one", "1 - x", rejected=2),  # passes the first test
    broken("b", "one", "x * 1"),
    broken("c", "one", "x"),
    broken("d", "two", "x - 1"),
    broken("e", "two", "2 * x", rejected=1),  # passes the second test
    broken("f", "two", "y"),
]
CHEATED = broken("cheated", "", "x - 1")
HEART = "{0: 1, 1: 2, 5: 6, -1: 0}[x]"  # the visible tests learnt by heart
# What is written in place of the expression, in this order; x + 1 is exact, the other repairs are not.
ANSWERS = {
    "a": ["x + 1"],
    "b": ["x * 2", "x +", "x - -1"],  # the second does not parse
    "c": ["x + 2", "x", "x + x"],
    "d": ["x", "2", "1", "1 + x"],
    "e": [HEART],
    "f": ["0", HEART, "x + 1", "1 + x"],
}


class Answers(Policy):
    """Writes given expressions in place of the one returned, each less likely than the one before."""

    def __init__(self, answers: list[str]) -> None:
        self.answers = answers

    def propose(self, program: Program, condition: Condition) -> Iterator[Proposal]:
        start = program.source.index(b"return ") + len(b"return ")
        for i, answer in enumerate(self.answers):
            yield Proposal(Edit(start, len(program.source), answer.encode()), -1.0 - i / 10, "model")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with shared_sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def rows() -> list[CaseResult]:
    settings = Settings(budget=Budget(runs=16, seconds=600.0, edits=1))
    return list(solve_all(CASES, lambda: lambda case: Answers(ANSWERS[case.id]), settings))


def test_every_row_says_what_became_of_its_case(rows: list[CaseResult]) -> None:
    def told(row: CaseResult) -> tuple[object, ...]:
        return row.id, row.repaired, row.correct, row.first_correct, row.exact, row.pass_rate, row.first_repair

    assert [told(row) for row in rows] == [
        ("a", True, True, True, True, 1.0, 2),
        ("b", True, True, True, False, 1.0, 3),
        ("c", False, False, False, False, 0.25, None),  # x + x passes a test, and x is where it began
        ("d", True, True, True, False, 1.0, 5),
        ("e", True, False, False, False, 1.0, 2),
        ("f", True, True, False, True, 1.0, 3),  # three repairs, of which two agree
    ]
    assert [(row.runs, row.states, row.valid_states) for row in rows] == [
        (2, 2, 2), (3, 4, 3), (3, 3, 3), (5, 5, 5), (2, 2, 2), (5, 5, 5),
    ]  # fmt: skip
    assert [row.patch and row.patch.split("return ")[1].strip() for row in rows] == [
        "x + 1", "x - -1", None, "1 + x", HEART, "x + 1",
    ]  # fmt: skip
    assert all((row.first_seconds is None) == (row.first_repair is None) for row in rows)


def test_every_row_says_where_the_first_right_site_stood_and_whether_the_edit_there_was_right(
    rows: list[CaseResult],
) -> None:
    # In b and d no more than the operator differs from that of `x + 1`, and all edits proposed are of the whole
    # expression; in the others that is the right site.
    assert [(row.site_rank, row.site_edit) for row in rows] == [
        (1, True), (0, None), (1, False), (0, None), (1, False), (1, False),
    ]  # fmt: skip


def test_the_way_to_a_patch_is_told(rows: list[CaseResult]) -> None:
    start, end = rows[1].path
    assert (start.origin, start.run, start.edit) == ("start", 1, None)
    assert (start.observation.passed, start.observation.render()) == (0, "0/4 f(0) got 0 want 1")
    assert (end.edit.old, end.edit.new, end.run, end.log_prob) == ("x * 1", "x - -1", 3, -1.2)
    assert (end.observation.passed, end.observation.total) == (4, 4)


def test_the_figures_are_those_reckoned_by_hand(rows: list[CaseResult]) -> None:
    timed = [
        replace(
            row, first_seconds=row.first_repair and row.first_repair / 10, seconds=seconds,
            samples=10, samples_correct=good,
        )
        for row, seconds, good in zip(rows, (0.1, 0.2, 0.3, 0.6, 0.7, 0.8), (10, 5, 0, 1, 0, 0))
    ]  # fmt: skip
    figures = by_group(timed, most_runs=16)
    assert list(figures) == ["one", "two", "all"]
    one, two, total = figures.values()
    assert (one["n"], two["n"], total["n"]) == (3, 3, 6)
    assert (one["rejected"], two["rejected"], total["rejected"]) == (2, 1, 3)
    assert (one["validity"], two["validity"], total["validity"]) == (8 / 9, 1.0, 20 / 21)

    # Of six cases drawn again k are good with the chances of a binomial; the interval ends where its tails are 2.5 %.
    def share(good: float, low: float, high: float) -> Any:
        return Estimate(pytest.approx(good / 6), pytest.approx(low / 6), pytest.approx(high / 6), 6)

    assert total["repaired"] == share(5, 3, 6)
    assert total["correct"] == share(4, 2, 6)
    assert total["first_correct"] == share(3, 1, 5)
    assert total["exact_match"] == share(2, 0, 4)
    assert total["first_exact_match"] == share(1, 0, 3)
    assert total["pass_rate"] == share(5.25, 6 - 3 * 0.75, 6)  # c is drawn none to three times

    # The first repair is correct in a, b and d, after 2, 3 and 5 runs.
    assert (one["median_runs"], two["median_runs"], total["median_runs"]) == (2.5, 5, 3)
    assert (one["p90_runs"], total["p90_runs"]) == (pytest.approx(2.9), pytest.approx(4.6))
    assert (total["median_first_seconds"], total["p90_first_seconds"]) == (0.3, pytest.approx(0.46))
    assert total["median_seconds"] == pytest.approx(0.45)
    assert total["solved_within"] == {1: 0, 2: 1 / 6, 4: 2 / 6, 8: 3 / 6, 16: 3 / 6}
    # Of three cases drawn again, all are the same one in 1 of 27: more than 2.5 %.
    assert total["median_runs_interval"] == total["p90_runs_interval"] == (2, 5)
    assert total["median_first_seconds_interval"] == total["p90_first_seconds_interval"] == (0.2, 0.5)
    # A case solved after 2 runs has an area of 3.5 / 4, after 3 of 2.5 / 4, after 5 of 1.5 / 4: three of six are none.
    assert total["area"].mean == pytest.approx((1 / 12 + 3 / 12 + 5 / 12 + 6 / 12) / 4) == pytest.approx(7.5 / 24)
    assert (one["area"].low, one["area"].high) == (0, 3.5 / 4)
    # None of the three is drawn in 1.6 %, none or d alone, once, in 4.7 %. Of the 46,656 ways to draw six 3.5 % come to
    # 14 / 24 or more and 1.7 % to 14.5 / 24 or more: too close to 2.5 % for 2,000 of them to tell.
    assert total["area"].low == pytest.approx(1.5 / 24)
    assert 14 / 24 <= total["area"].high <= 14.5 / 24

    assert [total[f"site_top_{k}"] for k in (1, 5, 20)] == [share(4, 2, 6)] * 3
    assert total["site_edit"] == Estimate(1 / 4, 0.0, 3 / 4, 4)

    # One of ten samples is correct in a for certain, in b half of the time, in d in one of ten.
    assert total["pass_at_1"].mean == pytest.approx(1.6 / 6)
    assert one["pass_at_1"] == Estimate(pytest.approx(0.5), 0, 1, 3)
    assert total["pass_at_10"] == share(3, 1, 5)
    assert total["pass_at_100"] is None


def test_a_right_site_counts_from_its_place_among_those_proposed(rows: list[CaseResult]) -> None:
    figures = summarize([replace(row, site_rank=rank) for row, rank in zip(rows, (1, 5, 6, 20, 21, 0))], 16)
    assert [figures[f"site_top_{k}"].mean for k in (1, 5, 20)] == [1 / 6, 2 / 6, 4 / 6]


def test_two_arms_are_compared_on_the_same_cases(rows: list[CaseResult]) -> None:
    other = [replace(row, correct=row.id in "ce") for row in rows]  # ours: a, b, d, f
    other[0] = replace(other[0], first_repair=5)  # ours: 2
    paired = compare(rows, other, 16)
    assert (paired["only_ours"], paired["only_theirs"]) == (4, 2)
    assert paired["p"] == 2 * (1 + 6 + 15) / 2**6  # of six coins, two or fewer are heads, or two or fewer are not
    # Drawn again, ours are two to six of the six, as above; and a is none to three.
    assert paired["difference"] == Estimate(pytest.approx(2 / 6), pytest.approx(-2 / 6), 1, 6)
    assert paired["area"] == Estimate(pytest.approx(2 / 4 / 6), 0, pytest.approx(3 * 2 / 4 / 6), 6)


@pytest.mark.parametrize(
    "cheat",
    [
        [],  # nothing
        ["x - 1"],  # the broken program itself
        ["exit()"],
        ["__import__('os')._exit(0)"],
        ["__import__('sys').modules.clear()"],
        ["VISIBLE.clear()"],
        ["None  # all tests pass"],
        ["1\nassert True"],
        ["print('4 passed')"],
        ["[t for t in __import__('gc').get_objects() if isinstance(t, list) and t.clear()]"],
    ],
    ids=lambda cheat: "".join(cheat)[:20] or "nothing",
)
def test_a_cheat_gets_no_credit(cheat: list[str], sandbox: Sandbox) -> None:
    row = solve(CHEATED, Answers(cheat), sandbox)
    assert (row.repaired, row.patch, row.first_repair) == (False, None, None)
    assert row.pass_rate <= 0.25
    no_credit(row)


def no_credit(row: CaseResult) -> None:
    figures = summarize([row], most_runs=16)
    for name in ("correct", "first_correct", "exact_match", "first_exact_match", "site_top_20"):
        assert figures[name].mean == 0, name
    assert figures["area"].mean == 0 and set(figures["solved_within"].values()) == {0}
    assert figures["median_runs"] is figures["p90_runs"] is figures["median_first_seconds"] is None
    fair = replace(row, correct=True)
    assert compare([row], [fair], 16)["difference"].mean == -1


def test_answers_learnt_by_heart_repair_and_get_no_other_credit(sandbox: Sandbox) -> None:
    row = solve(CHEATED, Answers([HEART]), sandbox)
    assert row.repaired and row.pass_rate == 1  # that is what these two say, and why they are never shown alone
    no_credit(row)


PYTEST = "from program import f\n\ndef test_f():\n    assert f(0) == 1 and f(5) == 6\n"
HIDDEN_PYTEST = PYTEST + "\ndef test_more():\n    assert [f(i) for i in range(9)] == list(range(1, 10))\n"


@pytest.mark.parametrize(
    ("answer", "repaired", "correct"),
    [
        ("x + 1", True, True),
        ("{0: 1, 5: 6}[x]", True, False),
        ("x", False, False),
        ("__import__('os')._exit(0)", False, False),
        ("__import__('os').remove(__import__('os').path.dirname(__file__) + '/test_program.py')", False, False),
        ("open(__import__('os').path.dirname(__file__) + '/test_program.py', 'w').close()", False, False),
    ],
)
def test_tests_may_be_pytest_code(answer: str, repaired: bool, correct: bool, sandbox: Sandbox) -> None:
    case = replace(CHEATED, visible_tests=PYTEST, hidden_tests=HIDDEN_PYTEST)
    row = solve(case, Answers([answer]), sandbox)
    assert (row.repaired, row.correct) == (repaired, correct)


def test_hidden_tests_do_not_lie_beside_the_program_while_visible_ones_run(sandbox: Sandbox) -> None:
    case = replace(CHEATED, visible_tests=PYTEST, hidden_tests=HIDDEN_PYTEST)
    spy = "import os\nfound = [f for f in os.listdir(os.path.dirname(__file__)) if f.endswith('.py')]\n"
    spy += "text = ''.join(open(os.path.join(os.path.dirname(__file__), f)).read() for f in found)\n"
    with CaseRunner(case, sandbox) as runner:
        assert runner.run((spy + "assert 'test_' + 'f' in text\n" + FIXED).encode()).ok
        assert not runner.run((spy + "assert 'test_' + 'more' in text\n" + FIXED).encode()).ok  # nor does it say so


def test_without_hidden_tests_nothing_is_called_correct(sandbox: Sandbox) -> None:
    row = solve(replace(CHEATED, hidden_tests=(), fixed=None), Answers(["x + 1"]), sandbox)
    assert (row.repaired, row.solved) == (True, True)
    assert row.correct is row.first_correct is row.exact is row.site_rank is None
    figures = summarize([row], most_runs=4)
    assert figures["correct"] is figures["exact_match"] is figures["site_top_1"] is None
    assert figures["solved_within"] == {1: 0, 2: 1, 4: 1}


def test_no_policy_sees_the_answer(sandbox: Sandbox) -> None:
    class Curious(Answers):
        def propose(self, program: Program, condition: Condition) -> Iterator[Proposal]:
            assert program.source.decode() == CHEATED.source.rstrip()
            seen = "Add one.", VISIBLE, "0/4 f(0) got -1 want 1", (1.0, 1.0), frozenset({"f"}), "AssertionError"
            assert condition == Condition(*seen)
            yield from ()

    assert solve(CHEATED, Curious([]), sandbox).stopped == "nothing left to try"


def test_two_processes_find_what_one_does() -> None:
    settings = Settings(budget=Budget(runs=12, seconds=600.0))
    alone, shared = (
        sorted(solve_all(CASES[:3], partial(no_model, 5), settings, jobs=jobs), key=lambda row: row.id)
        for jobs in (1, 2)
    )
    assert list(map(timeless, alone)) == list(map(timeless, shared))
    assert all(2 <= row.runs <= 12 for row in alone)


def timeless(row: CaseResult) -> tuple[CaseResult, list[object]]:
    path = [(state.id, state.edit, state.run, state.observation.render()) for state in row.path]
    return replace(row, seconds=0, first_seconds=0, path=()), path


def test_a_slow_case_holds_back_no_other() -> None:
    slow = broken("slow", "", "[i for i in iter(int, 1)]")  # without end
    settings = Settings(budget=Budget(runs=12, seconds=600.0))
    rows = list(solve_all([slow, *CASES[:2]], partial(no_model, 5), settings, jobs=2))
    assert [row.id for row in rows][-1] == "slow" and len(rows) == 3
