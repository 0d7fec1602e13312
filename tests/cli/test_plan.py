import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.lm.fake import RUN

pytestmark = pytest.mark.slow


def plan(recipe: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kelp", "plan", str(recipe), *options]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("plan") / "tiny.toml"
    path.write_text(RUN + "mesh = { fsdp = 4 }\n")
    return path


def test_a_plan_says_what_a_device_takes_and_the_status_whether_it_fits(recipe):
    ended = plan(recipe, "--devices", "4", "--memory", "1kB", "--json")
    assert ended.returncode == 1, ended.stderr
    made = json.loads(ended.stdout)
    assert made["mesh"] == {"data": 1, "fsdp": 4, "tensor": 1} and not made["fits"] and made["memory"] == 1000
    assert made["bytes"] == made["state_bytes"] + made["batch_bytes"] + made["temporary_bytes"]
    weights = 4 * made["parameters"]
    # Weights, two moments, the gradients of a group and the average, each split over the four devices or nearly so.
    assert 5 * weights / 4 <= made["state_bytes"] < 1.5 * 5 * weights / 4
    assert made["step_flops"] >= 0.9 * made["model_flops"] > 0 and "all-gather" in made["collectives"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--devices", "6"], "a mesh of data=1 x fsdp=4 x tensor=1 takes 4 devices, and there are 6"),
        (["--devices", "4", "--memory", "much"], "--memory much is no size: give one such as 32GB"),
    ],
)
def test_bad_input_is_one_sentence(recipe, options, sentence):
    ended = plan(recipe, *options)
    assert ended.returncode == 2 and sentence in ended.stderr and ended.stderr.count("\n") == 1
