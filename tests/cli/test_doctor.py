"""`kelp doctor`, and what `kelp repair` does where protections are missing."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Kelp, environment
from tests.execution.test_protection import LANDLOCK, PRCTL, UNSHARE, refuse

from kelp.execution import Limits, Sandbox
from kelp.execution.selftest import TRIALS

pytestmark = pytest.mark.slow

BROKEN = "def area(width, height):\n    return width + height\n"
WITHOUT = f"""
import ctypes, errno, runpy, struct, sys
from kelp.execution.worker.protection import drop_privileges
PRCTL, PR_SET_SECCOMP = {PRCTL}, 22
{inspect.getsource(refuse)}
drop_privileges()
refuse(*map(int, sys.argv.pop(1).split()))
runpy.run_module("kelp", run_name="__main__", alter_sys=True)
"""


def without(calls: list[int | None], folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`kelp` where the kernel refuses these calls."""
    command = [sys.executable, "-c", WITHOUT, " ".join(map(str, calls)), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment(folder))


def test_every_protection_is_tried_out_and_named(kelp: Kelp) -> None:
    ran = kelp("doctor", "--json")
    found = ran.json
    names = [check["name"] for check in found["checks"]]
    assert names == [*TRIALS]
    page = (Path(__file__).parents[2] / "docs/security.md").read_text()
    for check in found["checks"]:
        assert f"| {check['name']} | {check['guarantee']} |" in page  # the page has the same table
    complete = all(check["holds"] for check in found["checks"]) and "none" not in found["means"].values()
    assert ran.code == (0 if complete and not found["missing"] else 1)
    said = kelp("doctor")
    assert said.code == ran.code and len(said.out.splitlines()) > len(names)


def test_no_trial_waits_for_threads_that_die_at_their_start() -> None:
    dead = "import _thread, threading\n_thread.start_new_thread = threading._start_new_thread = lambda *_: 1\n"
    with Sandbox(limits=Limits(seconds=20.0), allow_weak=True) as sandbox:
        ran = sandbox.run(TRIALS["processes"][2].encode(), asserts=["f() == 1"], setup=dead)
    assert [outcome.status for outcome in ran.outcomes] == ["pass"]


@pytest.mark.skipif(UNSHARE is None, reason="the numbers of this machine's system calls are not known here")
def test_without_landlock_doctor_says_so_and_repair_wants_to_be_told(tmp_path: Path) -> None:
    (tmp_path / "shapes.py").write_text(BROKEN)
    sentence = "This machine cannot keep a program from reading and writing files anywhere (no Landlock)"
    doctor = without([LANDLOCK], tmp_path, "doctor")
    assert doctor.returncode == 1, doctor.stderr
    assert f"{sentence}: kelp repair needs --allow-weak-sandbox." in doctor.stdout

    arguments = ["repair", "shapes.py", "--assert", "area(2, 3) == 6", "--model", "none", "--patches", "1"]
    refused = without([LANDLOCK], tmp_path, *arguments)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == f"{sentence}: --allow-weak-sandbox runs it all the same.\n"

    allowed = without([LANDLOCK], tmp_path, *arguments, "--allow-weak-sandbox")
    assert allowed.returncode == 0 and allowed.stdout.startswith("--- a/shapes.py")
    assert allowed.stderr.startswith(f"{sentence}; running all the same.\nRepaired: area")


@pytest.mark.skipif(UNSHARE is None, reason="the numbers of this machine's system calls are not known here")
def test_without_namespaces_repair_runs_but_doctor_is_not_content(tmp_path: Path) -> None:
    doctor = without([UNSHARE], tmp_path, "doctor")
    assert doctor.returncode == 1, doctor.stderr
    assert "MISSING  network        no namespace" in doctor.stdout
    assert "kelp repair runs here all the same." in doctor.stdout

    (tmp_path / "shapes.py").write_text(BROKEN)
    command = ["--test-command", "true", "--model", "none"]
    refused = without([UNSHARE], tmp_path, "repair", "shapes.py", *command)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == (
        "This machine cannot run a test command in a copy of the project: it gives this user no process and mount "
        "namespaces.\n"
    )
