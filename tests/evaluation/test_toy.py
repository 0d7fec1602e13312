import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kelp.data import toy
from kelp.data.encoding import Condition
from kelp.evaluation.metrics import exact_match
from kelp.evaluation.toy import make_case, make_cases, toy_metrics
from kelp.execution.sandbox import Sandbox
from kelp.search.policy import NoModel, Proposal
from kelp.syntax.program import Program, parses


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


def test_every_case_is_a_broken_task_that_fails_a_test(sandbox: Sandbox) -> None:
    cases = make_cases(trials=2)
    assert len(cases) == 3 * len(toy.TASKS) * 2
    assert len({case.id for case in cases}) == len(cases)
    for case in cases:
        assert parses(case.source.encode())
        assert not exact_match(case.source, case.fixed)
        assert not sandbox.run(case.source.encode(), asserts=case.asserts).ok
        assert sandbox.run(case.fixed.encode(), asserts=case.asserts).ok


def test_a_case_depends_on_its_name_and_the_seed_alone(sandbox: Sandbox) -> None:
    cases = {case.id: case for case in make_cases(trials=2, mutations=[2])}
    again = make_case(toy.TASKS[3], 2, f"{toy.TASKS[3].name}/2/1", 0, sandbox)
    assert cases[again.id] == again
    assert make_case(toy.TASKS[3], 2, again.id, 1, sandbox).source != again.source


def test_what_passes_although_broken_is_drawn_again_and_counted(sandbox: Sandbox) -> None:
    hardly_tested = replace(toy.TASKS[1], asserts=("assert max_of_three(0, 0, 0) == 0",))
    cases = [make_case(hardly_tested, 1, f"case {i}", 0, sandbox) for i in range(5)]
    assert sum(case.rejected for case in cases) > 5
    assert not any(sandbox.run(case.source.encode(), asserts=hardly_tested.asserts).ok for case in cases)


def kelp_eval_toy(*arguments: str) -> str:
    command = [sys.executable, "-m", "kelp", "eval", "toy", "--model", "none", "--trials", "1", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_the_command_prints_a_table_and_writes_what_it_found(tmp_path: Path) -> None:
    table = kelp_eval_toy("--max-runs", "8", "--out", str(tmp_path / "new"))
    head, *lines = table.splitlines()
    assert head.split()[:4] == ["mutations", "by", "n", "rejected"]
    assert [line.split()[0] for line in lines] == [group for group in ("1", "2", "3", "all") for _ in range(2)]
    rows = [json.loads(line) for line in (tmp_path / "new/results.jsonl").read_text().splitlines()]
    assert len(rows) == 60 and all(row["runs"] <= 8 for row in rows)
    assert [row["by"] for row in rows] == ["no model"] * 30 + ["by line"] * 30
    summary = json.loads((tmp_path / "new/summary.json").read_text())
    everything = summary["results"]["no model"]["all"]
    assert everything["validity"] == 1.0
    assert everything["repaired"]["mean"] == pytest.approx(sum(row["repaired"] for row in rows[:30]) / 30)
    assert f"{everything['repaired']['mean']:.1%}" in lines[-2]


def test_the_command_finds_the_same_every_time() -> None:
    def timeless(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: timeless(item) for key, item in value.items() if key != "median_seconds"}
        return value

    first, again = (json.loads(kelp_eval_toy("--max-runs", "4", "--json", "--seed", "3")) for _ in range(2))
    assert timeless(first) == timeless(again)


def test_training_can_judge_its_weights_by_repairs(monkeypatch: pytest.MonkeyPatch) -> None:
    class ByWeights:
        """Stands in for a model: its weights are the seed of an order."""

        def __init__(self, denoiser: Any, encoder: Any) -> None:
            self.denoiser = denoiser

        def propose(self, program: Program, condition: Condition) -> Iterator[Proposal]:
            assert condition.intent and condition.asserts and condition.observation
            return NoModel(self.denoiser).propose(program, condition)

    monkeypatch.setattr("kelp.evaluation.toy.ModelPolicy", ByWeights)
    evaluate = toy_metrics(None, mutations=[1], max_runs=12)
    first, second = evaluate(1, 100), evaluate(2, 200)
    assert first != second
    assert set(first) == {"toy_repaired", "toy_exact_match", "toy_pass_rate"}
    assert 0 <= first["toy_exact_match"] <= first["toy_repaired"] < first["toy_pass_rate"] < 1
