from collections.abc import Iterator

import pytest

from kelp.encoding.condition import Condition
from kelp.evaluation.case import Case
from kelp.evaluation.case_runner import shared_sandbox
from kelp.evaluation.metrics import summarize
from kelp.evaluation.pass_at_k import samples
from kelp.evaluation.run_cases import Settings, solve
from kelp.execution.sandbox import Sandbox
from kelp.search.policy import Policy, Proposal
from kelp.search.task import Budget
from kelp.syntax.edits import Edit
from kelp.syntax.program import Program

SOURCE = "import math\n\ndef area(r):\n    pass\n"
CASE = Case("area", SOURCE, ("assert area(0) == 0",), ("assert area(2) == 4",), intent="Square.", function="area")


class Writer(Policy):
    """Writes one of three bodies for `pass`, the right one half of the time, and then has nothing to add."""

    def propose(self, program: Program, condition: Condition) -> Iterator[Proposal]:
        assert (condition.intent, condition.observation) == ("Square.", "") or condition.asserts
        start = program.source.find(b"pass")
        for text, log_prob in ((b"return r * r", -0.7), (b"return r", -1.4), (b"return 0", -1.4)):
            if start >= 0:
                yield Proposal(Edit(start, start + 4, text), log_prob, "model")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with shared_sandbox() as sandbox:
        yield sandbox


def test_samples_are_drawn_from_the_policy_and_see_no_test() -> None:
    class Blind(Writer):
        def propose(self, program: Program, condition: Condition) -> Iterator[Proposal]:
            assert condition.asserts == () and condition.observation == "" and condition.suspicion == ()
            yield from super().propose(program, condition)

    drawn = list(samples(CASE, Blind(), n=300, edits=2, seed=0))
    assert set(drawn) == {SOURCE.replace("pass", body) for body in ("return r * r", "return r", "return 0")}
    assert 120 < drawn.count(SOURCE.replace("pass", "return r * r")) < 180
    assert drawn == list(samples(CASE, Blind(), n=300, edits=2, seed=0))
    assert drawn != list(samples(CASE, Blind(), n=300, edits=2, seed=1))


def test_pass_at_k_counts_the_samples_that_pass_hidden_tests_too(sandbox: Sandbox) -> None:
    row = solve(CASE, Writer(), sandbox, Settings(budget=Budget(runs=4, seconds=600.0), samples=10))
    drawn = list(samples(CASE, Writer(), 10, edits=3, seed=0))
    good = drawn.count(SOURCE.replace("pass", "return r * r"))
    assert (row.samples, row.samples_correct) == (10, good) and 0 < good < 10
    figures = summarize([row], most_runs=4)
    assert figures["pass_at_1"].mean == pytest.approx(good / 10)
    assert (figures["pass_at_10"].mean, figures["pass_at_100"]) == (1.0, None)
    assert row.repaired  # the search itself does see the tests


def test_a_policy_with_nothing_to_say_leaves_the_stub(sandbox: Sandbox) -> None:
    class Silent(Policy):
        def propose(self, program: Program, condition: Condition) -> Iterator[Proposal]:
            yield from ()

    assert list(samples(CASE, Silent(), 3, edits=2, seed=0)) == [SOURCE] * 3
    row = solve(CASE, Silent(), sandbox, Settings(samples=3))
    assert (row.samples_correct, row.repaired) == (0, False)
