import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from kelp.encoding.condition import Condition
from kelp.evaluation.benchmarks import programs, toy
from kelp.evaluation.case_runner import CaseRunner, shared_sandbox
from kelp.evaluation.corrupt import Corruption
from kelp.evaluation.during_training import repair_metrics
from kelp.model.config import DenoiserConfig, TransformerConfig
from kelp.model.denoiser import Denoiser
from kelp.model.low_rank import adapt
from kelp.search.baselines import NoModel
from kelp.search.model_policy import Model
from kelp.search.policy import Policy, Proposal
from kelp.syntax.program import Program

pytestmark = pytest.mark.slow


def kelp_eval_toy(*arguments: str) -> str:
    command = [sys.executable, "-m", "kelp", "eval", "toy", "--model", "none", "--trials", "1", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_the_command_prints_a_table_and_writes_what_it_found(tmp_path: Path) -> None:
    table = kelp_eval_toy("--max-runs", "8", "--out", str(tmp_path / "new"))
    first, second = table.split("\n\n")
    head, *lines = first.splitlines()
    assert head.split()[:4] == ["mutations", "by", "n", "rejected"]
    assert "correct" in head and "site top 1" in second and len(second.splitlines()) == len(lines) + 1
    assert [line.split()[0] for line in lines] == [group for group in ("1", "2", "3", "all") for _ in range(2)]
    rows = [json.loads(line) for line in (tmp_path / "new/results.jsonl").read_text().splitlines()]
    assert len(rows) == 60 and all(row["runs"] <= 8 for row in rows)
    assert [row["by"] for row in rows] == ["none-random"] * 30 + ["none-frequency"] * 30
    summary = json.loads((tmp_path / "new/summary.json").read_text())
    everything = summary["results"]["none-random"]["all"]
    assert everything["validity"] == 1.0
    assert everything["repaired"]["mean"] == pytest.approx(sum(row["repaired"] for row in rows[:30]) / 30)
    assert f"{everything['repaired']['mean']:.1%}" in lines[-2]


def test_visible_tests_learnt_by_heart_are_no_correct_repair() -> None:
    cases, skipped = programs(toy())
    assert skipped == []
    with shared_sandbox() as sandbox:
        for case in cases:
            tests = [test.removeprefix(f"assert {case.function}(").rpartition(") == ") for test in case.visible_tests]
            heart = ", ".join(f"repr(({arguments},)): {value}" for arguments, _, value in tests)
            learnt = f"def {case.function}(*given):\n    return {{{heart}}}[repr(given)]\n"
            with CaseRunner(case, sandbox) as runner:
                assert runner.passes(case.source)
                assert (runner.run(learnt.encode()).ok, runner.passes_hidden(learnt)) == (True, False)


def test_the_command_finds_the_same_every_time() -> None:
    def timeless(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: timeless(item) for key, item in value.items() if "seconds" not in key}
        return value

    first, again = (json.loads(kelp_eval_toy("--max-runs", "4", "--json", "--seed", "3")) for _ in range(2))
    assert timeless(first) == timeless(again)


def test_training_can_judge_its_weights_by_repairs(monkeypatch: pytest.MonkeyPatch) -> None:
    class ByWeights(Policy):
        """Stands in for a model: a sum of its weights is the seed of an order."""

        def __init__(self, model: Model) -> None:
            self.seed = str(model.denoiser.transformer.embedding.sum())

        def propose(self, program: Program, condition: Condition) -> Iterator[Proposal]:
            assert condition.intent and condition.asserts and condition.observation
            return NoModel(self.seed).propose(program, condition)

    monkeypatch.setattr("kelp.evaluation.during_training.ModelPolicy", ByWeights)
    evaluate = repair_metrics("toy", programs(toy())[0], None, mutations=[Corruption.one], max_runs=12).measure
    sizes = DenoiserConfig(TransformerConfig(vocab_size=8, dim=8, layers=1, heads=1, kv_heads=1, mlp_dim=8), 4, 8)
    first, second = (evaluate(Denoiser.init(sizes, key=jax.random.key(seed)), 100) for seed in (1, 2))
    assert first != second
    assert set(first) == {
        *("toy_repaired", "toy_correct", "toy_exact_match", "toy_pass_rate", "toy_area", "toy_validity"),
        *("toy_first_correct", "toy_first_exact_match", "toy_median_runs", "toy_p90_runs"),
        *("toy_median_first_seconds", "toy_median_seconds"),
        *("toy_site_top_1", "toy_site_top_5", "toy_site_top_20", "toy_site_edit"),
    }
    assert first["toy_validity"] == 1 and 1 < first["toy_median_runs"] <= 12
    assert 0 <= first["toy_exact_match"] <= first["toy_repaired"] < first["toy_pass_rate"] < 1


def test_repairs_during_training_see_the_adapters(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[np.ndarray] = []

    class Seeing(NoModel):
        def __init__(self, model: Model) -> None:
            super().__init__(1)
            seen.append(model.denoiser.transformer.layers[0].query_key_value)

    monkeypatch.setattr("kelp.evaluation.during_training.ModelPolicy", Seeing)
    sizes = DenoiserConfig(TransformerConfig(vocab_size=8, dim=8, layers=1, heads=1, kv_heads=1, mlp_dim=8), 4, 8)
    model = adapt(Denoiser.init(sizes, key=jax.random.key(1)), ["query"], rank=2, alpha=6.0, key=jax.random.key(2))
    query = model.transformer.blocks[0].attention.query
    model = eqx.tree_at(lambda m: m.transformer.blocks[0].attention.query.b, model, jnp.ones_like(query.b))
    few = programs(toy())[0][:1]
    repair_metrics("toy", few, None, scale=3.0, mutations=[Corruption.one], max_runs=1).measure(model, 0)
    whole = np.asarray(query.base).reshape(8, 8) + 3.0 * np.asarray(query.a).sum(axis=1, keepdims=True)
    assert np.allclose(seen[0][:, :8], whole, atol=1e-6)
