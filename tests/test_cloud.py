"""Tasks of infra/ and the command that runs them; SkyPilot is not needed."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
TASKS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((ROOT / "infra").glob("*.yaml"))}


def cloud(*options: str) -> subprocess.CompletedProcess[str]:
    if not shutil.which("make"):
        pytest.skip("make is not installed.")
    apart = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # from a make around it
    return subprocess.run(["make", "cloud", *options], cwd=ROOT, capture_output=True, text=True, env=apart)


def test_a_dry_run_prints_training_evaluation_download_and_the_end():
    done = cloud("RECIPE=configs/laptop.toml", "BUCKET=mine", "GPUS=tpu-v6e-4", "--dry-run")
    train, evaluate, download, down = done.stdout.replace("\\\n", "").splitlines()
    assert "sky jobs launch" in train and "RECIPE='configs/laptop.toml'" in train and "--gpus 'tpu-v6e-4'" in train
    assert "infra/evaluate.yaml" in evaluate and "RUN='laptop'" in evaluate and "BUCKET='mine'" in evaluate
    assert download.endswith("'runs/laptop-cloud/'") and down == "sky down --yes kelp-laptop"
    for line, name in ((train, "train"), (evaluate, "evaluate")):  # every variable that is given is one of the task
        assert set(re.findall(r"--env (\w+)=", line)) <= TASKS[name]["envs"].keys()


def test_a_recipe_and_a_bucket_have_to_be_named():
    done = cloud("RECIPE=configs/laptop.toml")
    assert done.returncode == 2 and "Name a recipe and a bucket" in done.stderr


@pytest.mark.parametrize("name", TASKS)
def test_the_commands_of_a_task_are_sound_and_use_its_own_variables(name):
    task = TASKS[name]
    for part in ("setup", "run"):
        subprocess.run(["bash", "-n"], input=task[part], text=True, check=True)
        used = set(re.findall(r"\$\{?([A-Z]+)", task[part])) - {"HOME", "PATH"}
        assert used <= task["envs"].keys()
    assert "/kelp-bucket" in task["run"] and task["file_mounts"]["/kelp-bucket"]["name"] == "${BUCKET}"
