"""The Justfile against an SSH server on this machine, with a stand-in for Kelp that trains nothing.

just and the server come from PyPI; ssh, make, rsync and tmux do not.
"""

import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.ssh_server import serving

ROOT = Path(__file__).parents[1]
PROGRAMS = f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}"
MISSING = [name for name in ("just", "ssh", "make", "rsync", "tmux") if not shutil.which(name, path=PROGRAMS)]

pytestmark = pytest.mark.slow
whole = pytest.mark.skipif(bool(MISSING), reason=f"The Justfile is not tested: {', '.join(MISSING)} not found.")
needs_just = pytest.mark.skipif("just" in MISSING, reason="The Justfile is not tested: just not found.")

KELP = """#!/usr/bin/env bash
set -eu
case "$*" in
*--print-config) grep '^out' "$2"; exit ;;
train*) run=$(sed -n 's/^out = "\\(.*\\)"/\\1/p' "$2") ;;
*) echo "kelp $*"; exit ;;
esac
mkdir -p "$run"
stop() { echo "saved" > "$run/checkpoint"; exit 130; }
trap stop INT
[ ! -e "$run/checkpoint" ] || echo "resumed from a checkpoint"
echo "training with NOTE=${NOTE-}" | tee -a "$run/metrics.jsonl"
grep -q '^steps = 1$' "$2" || while sleep 0.1; do :; done
"""


@dataclass(frozen=True)
class Machine:
    clone: Path
    folder: Path  # there
    environment: dict[str, str]

    def just(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["just", *arguments], cwd=self.clone, env=self.environment | environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip

    def says(self, *arguments: str) -> str:
        done = self.just(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def machine(tmp_path_factory) -> Iterator[Machine]:
    """A clone and a folder on the machine, both with spaces in their paths, and the server between them."""
    base = tmp_path_factory.mktemp("ssh")
    clone, folder, bin = base / "a clone", base / "on the machine", base / "bin"
    (clone / "scripts").mkdir(parents=True)
    bin.mkdir()
    for name in ("Justfile", "scripts/remote.sh", ".gitignore"):
        shutil.copy(ROOT / name, clone / name)
    (clone / "Makefile").write_text("setup-train:\n\tmkdir -p .venv/bin && cp kelp .venv/bin/kelp\n")
    (clone / "kelp").write_text(KELP)
    (clone / "kelp").chmod(0o755)
    (clone / "my recipes").mkdir()
    (clone / "my recipes" / "short one.toml").write_text('steps = 1\nout = "runs/short one"\n')
    (clone / "my recipes" / "long one.toml").write_text('steps = 1000\nout = "runs/long one"\n')
    (clone / ".env").write_text("NOTE='two words'\n")

    ssh = shutil.which("ssh") or "ssh"
    for key in ("host", "own"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(base / key)], check=True)
    with serving(base / "host", base / "own.pub", {"TMUX_TMPDIR": str(base)}) as port:
        (base / "config").write_text(
            f"Host box\n HostName 127.0.0.1\n Port {port}\n IdentityFile {base}/own\n IdentitiesOnly yes\n"
            f" UserKnownHostsFile {base}/known\n StrictHostKeyChecking accept-new\n"
        )
        (bin / "ssh").write_text(f'#!/bin/sh\nexec {ssh} -F {base}/config "$@"\n')
        (bin / "ssh").chmod(0o755)
        environment = {"PATH": f"{bin}:{PROGRAMS}", "KELP_HOST": "box", "KELP_FOLDER": str(folder)}
        try:
            yield Machine(clone, folder, os.environ | environment)
        finally:
            subprocess.run(["tmux", "kill-server"], env=os.environ | {"TMUX_TMPDIR": str(base)}, capture_output=True)


@pytest.fixture(scope="module")
def trained(machine) -> str:
    return machine.says("auto-train", "my recipes/short one.toml")


@whole
def test_auto_train_installs_trains_and_fetches_the_run(machine, trained):
    assert "runs/box/short one is a copy of runs/short one there." in trained and "status 0." in trained
    assert (machine.clone / "runs/box/short one/metrics.jsonl").read_text() == "training with NOTE=two words\n"
    assert (machine.folder / ".env").stat().st_mode & 0o777 == 0o600
    assert not (machine.folder / "runs/box").exists()  # what Git ignores does not travel


@whole
def test_a_training_goes_on_when_detached_stops_with_a_checkpoint_and_resumes(machine, trained):
    recipe = "my recipes/long one.toml"
    machine.says("train", recipe)
    assert "A training goes on there already" in machine.just("train", recipe).stderr
    assert "training with NOTE" in attach_and_detach(machine)
    assert "Training goes on" in machine.says("list-runs")
    assert "with the status 130." in machine.says("kill-train")
    assert machine.just("kill-train").stderr == "No training goes on there.\n"
    machine.says("train", recipe)
    assert "resumed from a checkpoint" in attach_and_detach(machine)
    machine.says("kill-train")
    machine.says("fetch")
    assert (machine.clone / "runs/box/long one/checkpoint").read_text() == "saved\n"


def attach_and_detach(machine: Machine) -> str:
    """Output of `just attach-train` in a terminal, until Ctrl-b d ends it."""
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(machine.clone)
        os.execvpe("just", ["just", "attach-train"], machine.environment | {"TERM": "xterm"})
    try:
        shown = read_until(terminal, b"NOTE")
        for key in (b"\x02", b"d"):
            time.sleep(0.2)  # tmux takes keys that come at once for pasted text
            os.write(terminal, key)
        shown += read_until(terminal)
    except BaseException:
        os.kill(process, signal.SIGKILL)
        raise
    assert os.waitpid(process, 0)[1] == 0
    return shown.decode(errors="replace")


def read_until(terminal: int, end: bytes | None = None) -> bytes:
    """Output of a terminal until it holds this text, or else until it is closed."""
    shown = b""
    while end is None or end not in shown:
        assert select.select([terminal], [], [], 60)[0], shown
        try:
            part = os.read(terminal, 1024)
        except OSError:  # how Linux says that it is closed
            break
        if not part:
            break
        shown += part
    return shown


@whole
def test_infer_repairs_there_with_the_model_of_a_run(machine, trained):
    assert machine.says("infer", "runs/short one", "a file.py", "--doctest") == (
        "kelp repair a file.py --doctest --model models/short one\n"
    )


@whole
@pytest.mark.parametrize(
    ("host", "sentence"),
    [
        ("", "No machine is named: give one by"),
        ("no-such-machine.invalid", "no-such-machine.invalid cannot be reached: ssh: "),
    ],
)
def test_a_machine_that_is_not_there_is_one_sentence(machine, host, sentence):
    done = machine.just("list-runs", KELP_HOST=host)
    assert done.returncode == 2 and done.stderr.startswith(sentence) and done.stderr.count("\n") == 1


@whole
def test_what_is_missing_is_one_sentence(machine, trained):
    assert "no such.toml: No such file" in machine.just("train", "no such.toml").stderr  # Kelp says it itself
    assert machine.just("fetch", "runs/none").stderr.startswith("Name a run that is there")
    assert not (machine.clone / "runs/box/none").exists()
    if not shutil.which("nvidia-smi"):
        assert "has no NVIDIA GPU" in machine.just("nvitop").stderr


@needs_just
def test_every_recipe_is_explained():
    just = shutil.which("just", path=PROGRAMS)
    dump = subprocess.run([just, "--dump", "--dump-format", "json"], cwd=ROOT, capture_output=True, check=True)
    recipes = json.loads(dump.stdout)["recipes"].values()
    assert all(recipe["doc"] for recipe in recipes if not recipe["private"])
