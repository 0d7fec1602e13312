from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.programs import parses

from kelp.data import toy
from kelp.evaluation import benchmarks
from kelp.evaluation.case import Case
from kelp.evaluation.case_runner import shared_sandbox
from kelp.evaluation.corrupt import Corruption, bank_of, break_all, break_one, stub
from kelp.evaluation.metrics import exact_match
from kelp.execution.sandbox import Sandbox

pytestmark = pytest.mark.slow

ALL = list(Corruption)


def programs() -> list[Case]:
    return benchmarks.programs(benchmarks.toy())[0]


FILE = """import math

def helper(x):
    return x * 2


def total(items):
\tvalue = 0
\tfor item in items:
\t\tvalue += helper(item)
\treturn value
"""
TWO = Case("two", FILE, ("assert total([1, 2]) == 6", "assert total([3]) == 6"), ("assert total([]) == 0",))


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with shared_sandbox() as sandbox:
        yield sandbox


def test_every_case_is_a_broken_program_that_fails_a_visible_test(sandbox: Sandbox) -> None:
    good = [*programs(), TWO]
    cases, skipped = break_all(good, ALL, trials=2, bank=bank_of(good))
    assert skipped == []
    assert len(cases) == (len(toy.TASKS) + 1) * (4 * 2 + 1)
    assert len({case.id for case in cases}) == len(cases)
    assert {case.group for case in cases} == set(ALL)
    for case in cases:
        assert parses(case.source.encode())
        assert case.fixed is not None and not exact_match(case.source, case.fixed)
        assert not sandbox.run(case.source.encode(), asserts=case.visible_tests).ok
        assert sandbox.run(case.fixed.encode(), asserts=case.visible_tests).ok


def test_a_case_depends_on_its_name_and_the_seed_alone(sandbox: Sandbox) -> None:
    tasks = programs()
    cases = {case.id: case for case in break_all(tasks, [Corruption.two], trials=2)[0]}
    again = break_one(tasks[3], Corruption.two, 1, 0, sandbox)
    assert again is not None and cases[again.id] == again
    other = break_one(tasks[3], Corruption.two, 1, 1, sandbox)
    assert other is not None and other.source != again.source


def test_any_function_of_a_file_is_broken_unless_one_is_named(sandbox: Sandbox) -> None:
    def broken(program: Case) -> set[str]:
        """Which functions are, in ten trials."""
        cases = [break_one(program, Corruption.one, trial, 0, sandbox) for trial in range(10)]
        heads = [case.source.split("\n\n\ndef total")[0] for case in cases if case]
        return {"total" if head == FILE.split("\n\n\ndef total")[0] else "helper" for head in heads}

    assert broken(TWO) == {"helper", "total"}
    assert broken(replace(TWO, function="total")) == {"total"}


def test_what_passes_although_broken_is_drawn_again_and_counted(sandbox: Sandbox) -> None:
    task = replace(programs()[1], visible_tests=("assert max_of_three(0, 0, 0) == 0",))
    cases = [break_one(task, Corruption.one, i, 0, sandbox) for i in range(5)]
    assert sum(case.rejected for case in cases if case) > 5
    assert not any(sandbox.run(case.source.encode(), asserts=task.visible_tests).ok for case in cases if case)


def test_programs_that_fail_their_own_tests_or_cannot_be_made_to_are_named() -> None:
    wrong = replace(TWO, id="wrong", hidden_tests=("assert total([]) == 1",))
    unbreakable = replace(TWO, id="unbreakable", visible_tests=("assert True",))
    cases, skipped = break_all([wrong, unbreakable, TWO], [Corruption.swap], bank=bank_of(programs()))
    assert [case.id for case in cases] == ["two/swap/0"]
    assert skipped == [
        "wrong: the correct program fails its own tests",
        "unbreakable: no way to break it (swap), of 100 drawn, fails a visible test",
    ]


def test_a_stub_keeps_the_header_and_the_docstring() -> None:
    source = 'A = 1\n\ndef f(x: int,\n      y=2):\n    """Doc.\n\n    More."""\n    z = 1\n    return z\n\n\nB = 2\n'
    assert stub(source) == source.replace("z = 1\n    return z", "pass")
    assert stub(FILE, "helper") == FILE.replace("return x * 2", "pass")
    assert stub(FILE) == FILE[: FILE.index("\tvalue = 0")] + "    pass\n"
