import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.training.fake import STEPS, FakeSource, config, edit_objective, rows

from kelp.data.examples.objective import EditObjective
from kelp.model.leaves import named_leaves
from kelp.model.pretrained import load_model
from kelp.training.checkpoint import Checkpoints
from kelp.training.config import ConfigError
from kelp.training.export import export_run
from kelp.training.loop import train
from kelp.training.objective import Evaluation, TrainingError

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "tests.training.fake"]


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    outcome = train(config(), edit_objective(), out=out)
    assert (outcome.step, outcome.reason) == (STEPS, "done")
    return out


def test_a_run_logs_training_and_held_out_rows_and_learns(whole_run):
    logged = rows(whole_run)
    training = [row for row in logged if row["kind"] == "train"]
    held_out = [row for row in logged if row["kind"] == "valid"]
    assert [row["step"] for row in training] == [*range(3, STEPS, 3), STEPS]
    assert [row["step"] for row in held_out] == [16, 32, STEPS]
    assert training[-1]["loss"] < training[0]["loss"] and training[0].keys() >= {
        "site_accuracy",
        "learning_rate",
    }
    assert held_out[-1]["valid_loss"] < held_out[0]["valid_loss"]


def test_a_run_may_begin_with_the_weights_of_a_model(whole_run, tmp_path):
    export_run(whole_run, tmp_path / "model", EditObjective.revive, dtype="bfloat16")
    further = config(init_from=tmp_path / "model", steps=3, log_every=1)
    train(further, edit_objective(), out=tmp_path / "further")
    ended = [row for row in rows(whole_run) if row["kind"] == "train"][-1]["loss"]
    [began, *_] = rows(whole_run)
    assert abs(rows(tmp_path / "further")[0]["loss"] - ended) < 0.2 * (began["loss"] - ended)
    state = Checkpoints(tmp_path / "further/checkpoints", read_only=True).restore_weights(3)
    assert state.keys() == named_leaves(load_model(tmp_path / "model")[0]).keys()
    assert {leaf.dtype.name for leaf in state.values()} == {"float32"}  # whatever the folder stores
    with pytest.raises(TrainingError, match=f"cannot go on with '{tmp_path}/other'"):
        other = config(init_from=tmp_path / "other", steps=4)
        train(other, edit_objective(), out=tmp_path / "further", resume=True)


def test_a_model_of_other_sizes_or_another_tokenizer_is_no_beginning(whole_run, tmp_path):
    export_run(whole_run, tmp_path / "model", EditObjective.revive)
    source = FakeSource()
    source.vocab_size = 25
    with pytest.raises(TrainingError, match="vocab_size = 24 and this run 25: give both the same sizes"):
        train(config(init_from=tmp_path / "model"), edit_objective(source), out=tmp_path / "run")
    source = FakeSource()
    source.folder = tmp_path
    (tmp_path / "tokenizer.json").write_text("{}")
    shutil.copy(Path(__file__).parent / "encoding.json", tmp_path)
    with pytest.raises(TrainingError, match=r"another tokenizer .* put tokenizer = .* in \[data\]"):
        train(config(init_from=tmp_path / "model"), edit_objective(source), out=tmp_path / "run")


def test_killed_at_random_steps_and_resumed_it_gives_the_same_figures_bit_for_bit(whole_run, tmp_path, rng):
    # The source kills its own process from the thread that prefetches, so training is cut anywhere.
    for die_at in sorted(rng.sample(range(1, STEPS), 3)):
        killed = subprocess.run([*COMMAND, str(tmp_path), "--die-at", str(die_at)])
        assert killed.returncode == -signal.SIGKILL, die_at
    subprocess.run([*COMMAND, str(tmp_path)], check=True)
    assert rows(tmp_path) == rows(whole_run)


def test_killed_while_a_checkpoint_is_written_it_resumes_from_a_whole_one(whole_run, tmp_path):
    for _ in range(2):
        process = subprocess.Popen([*COMMAND, str(tmp_path)])
        before = set((tmp_path / "checkpoints").glob("*"))
        while process.poll() is None:
            if any("tmp" in path.name for path in set((tmp_path / "checkpoints").glob("*")) - before):
                process.kill()
                process.wait()
            time.sleep(0.001)
    subprocess.run([*COMMAND, str(tmp_path)], check=True)
    assert rows(tmp_path) == rows(whole_run)


def test_ctrl_c_saves_a_checkpoint_and_the_run_goes_on_bit_for_bit(whole_run, tmp_path):
    class Interrupting(FakeSource):
        def batch(self, step, *part, **options):
            if step == 13:
                os.kill(os.getpid(), signal.SIGINT)
            return super().batch(step, *part, **options)

    before = signal.getsignal(signal.SIGINT)
    stopped = train(config(), edit_objective(Interrupting()), out=tmp_path)
    assert stopped.reason == "interrupted" and 0 < stopped.step <= 14
    assert signal.getsignal(signal.SIGINT) is before
    assert train(config(), edit_objective(), out=tmp_path, resume=True).reason == "done"
    assert rows(tmp_path) == rows(whole_run)


def test_when_the_minutes_are_up_it_evaluates_saves_and_can_go_on(tmp_path):
    stopped = train(config(max_minutes=1e-9), edit_objective(), out=tmp_path)
    assert (stopped.reason, stopped.step) == ("time is up", 1) and "valid_loss" in stopped.metrics
    assert train(config(), edit_objective(), out=tmp_path, resume=True).step == STEPS


def test_the_callback_adds_metrics_and_the_best_checkpoint_follows_the_named_one(tmp_path):
    figures = {16: 0.2, 32: 0.9, STEPS: 0.4}
    settings = config(best_by="repaired", keep=1)
    evaluation = Evaluation({"repaired": True}, lambda model, step: {"repaired": figures[step]})
    outcome = train(settings, edit_objective(), out=tmp_path, evaluation=evaluation)
    assert outcome.best_step == 32 and outcome.metrics["repaired"] == 0.4
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"32", str(STEPS)}


def test_a_folder_with_a_run_is_not_overwritten_nor_continued_with_another_configuration(whole_run):
    with pytest.raises(TrainingError, match=f"already holds a run at step {STEPS}: resume it"):
        train(config(), edit_objective(), out=whole_run)
    with pytest.raises(TrainingError, match=r"seed = 0 in \[training\] and cannot go on with 1"):
        train(config(seed=1), edit_objective(), out=whole_run, resume=True)
    wider = config().model_copy(update={"model": config().model.model_copy(update={"dim": 32})})
    with pytest.raises(TrainingError, match=r"dim = 16 in \[model\] and cannot go on with 32"):
        train(wider, edit_objective(), out=whole_run, resume=True)


def test_a_finished_run_resumes_to_its_end_at_once(whole_run):
    before = rows(whole_run)
    outcome = train(config(), edit_objective(), out=whole_run, resume=True)
    assert (outcome.step, outcome.reason) == (STEPS, "done") and outcome.metrics and rows(whole_run) == before


def test_an_unknown_best_metric_or_a_mesh_that_does_not_fit_is_one_sentence(tmp_path):
    with pytest.raises(TrainingError, match=r"best_by = 'fame' in \[training\] is none of the metrics: valid_"):
        train(config(best_by="fame", max_minutes=1e-9), edit_objective(), out=tmp_path / "a")
    with pytest.raises(ConfigError, match="takes 4096 devices, and there are 1"):
        train(config(mesh={"fsdp": 4096}), edit_objective(), out=tmp_path / "b")


def test_an_error_in_the_data_reaches_the_caller(tmp_path):
    class Broken(FakeSource):
        def batch(self, step, *part, **options):
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        train(config(), edit_objective(Broken()), out=tmp_path)


def test_training_runs_outside_the_main_thread(tmp_path):
    outcomes = []
    thread = threading.Thread(
        target=lambda: outcomes.append(train(config(steps=3), edit_objective(), out=tmp_path)), daemon=True
    )
    thread.start()
    thread.join()
    assert outcomes[0].step == 3
