"""Rows that a run logs on request, profiles, validation of any size, and runs that go back to a checkpoint."""

import gzip
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.training.byte_model import ByteModel, ByteRecipe
from tests.training.fake import RUN, rows

from kelp.training.config import parse_config
from kelp.training.loop import Outcome, train
from kelp.training.objective import TrainingError
from kelp.training.part import WHOLE
from kelp.training.profile import Profile

pytestmark = pytest.mark.slow

STEPS = 12


class Model(ByteModel):
    """The model of bytes, with a report every fifth step."""

    def reports(self, model, step):
        return [("told", {"where": str(step)})] if step % 5 == 0 else ()

    def valid_batches(self, part=WHOLE):
        return [self.batch(1_000_000, part), self.batch(1_000_001, part)]


def run(out: Path, training: dict[str, Any] | None = None, **options: Any) -> Outcome:
    plain = parse_config(RUN, ByteRecipe).model_dump()
    plain["training"] |= {"steps": STEPS, "log_every": 1, "eval_every": 4, "checkpoint_every": 3} | (training or {})
    recipe = ByteRecipe.model_validate(plain)
    return train(recipe, Model(recipe), out=out, **options)


def of_kind(out: Path, *kinds: str) -> list[dict[str, Any]]:
    return [row for row in rows(out) if row["kind"] in kinds]


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    run(out, {"keep": 3})
    return out


@pytest.fixture(scope="module")
def watched_run(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("watched")
    run(out, {"norms_every": 5}, profile=Profile(out / "profile", 6, 7))
    return out


def test_norms_and_profiles_change_no_figure_of_the_run(whole_run, watched_run):
    assert of_kind(whole_run, "train", "valid", "told") == of_kind(watched_run, "train", "valid", "told")
    assert [row["step"] for row in of_kind(whole_run, "told")] == [0, 5, 10]
    assert {row["kind"] for row in rows(whole_run)} == {"train", "valid", "told"}


def test_norms_are_logged_for_each_block(watched_run):
    first, second = of_kind(watched_run, "norms")
    assert (first["step"], second["step"]) == (5, 10)
    groups = {"embedding", "blocks.0", "norm.scale"}
    for kind, names in (("weights", groups), ("gradients", groups), ("activations", {"blocks.0"})):
        assert {name for name in first if name.startswith(kind)} == {f"{kind}.{name}" for name in names}
    for row in (first, second):
        [step] = [other for other in of_kind(watched_run, "train") if other["step"] == row["step"]]
        gradients = (value for name, value in row.items() if name.startswith("gradients."))
        assert math.hypot(*gradients) == pytest.approx(step["gradient_norm"], rel=1e-4)
        assert row["weights.norm.scale"] == pytest.approx(4.0, rel=0.2)  # sixteen ones, at first
        assert row["activations.blocks.0"] > 0


def test_a_profile_names_the_parts_of_a_step(watched_run):
    [space] = (watched_run / "profile").glob("plugins/profile/*/*.xplane.pb")
    names = space.read_bytes()
    for scope in ("attention", "mlp", "head", "loss", "optimizer"):
        assert any(f"{before}{scope}{after}".encode() in names for before in "/(" for after in "/)"), scope
    [trace] = space.parent.glob("*.trace.json.gz")
    events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    assert [event["args"]["step_num"] for event in events if event.get("name") == "step"] == ["6", "7"]
    assert sum(event.get("name") == "data" for event in events) >= 2
    assert (watched_run / "profile/memory.prof").stat().st_size
    [memory] = of_kind(watched_run, "memory")
    assert memory["step"] == 7 and memory["process_peak_bytes"] > 1e7


def test_steps_to_profile_that_a_run_does_not_reach_are_one_sentence(tmp_path):
    with pytest.raises(TrainingError, match="to profile are 12 to 13, and the run goes from 1 to 12"):
        run(tmp_path, profile=Profile(tmp_path, 12, 13))


def test_a_run_goes_back_to_a_checkpoint_and_on_from_there_bit_for_bit(whole_run, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(whole_run, out)
    assert {path.name for path in (out / "checkpoints").iterdir()} == {"8", "9", "12"}
    run(out, {"keep": 3, "steps": 9}, resume=True, resume_from=8)
    assert {path.name for path in (out / "checkpoints").iterdir()} == {"8", "9"}
    assert [row for row in rows(out) if row["kind"] != "valid" or row["step"] < 9] == [
        row for row in rows(whole_run) if row["step"] <= 9
    ]


def test_validation_may_be_left_out_or_cut_short(tmp_path, whole_run):
    outcome = run(tmp_path / "none", {"eval_every": 0, "steps": 3})
    assert (outcome.metrics, outcome.best_step) == ({}, 3)
    assert {row["kind"] for row in rows(tmp_path / "none")} == {"train", "told"}
    run(tmp_path / "one", {"eval_batches": 1, "steps": 4})
    short, whole = (of_kind(out, "valid")[0] for out in (tmp_path / "one", whole_run))
    assert short["valid_loss"] != whole["valid_loss"]
