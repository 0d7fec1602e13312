"""The command as people start it: in a process of its own, in a folder of its own."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kelp.cli.main import main


@dataclass(frozen=True)
class Ran:
    code: int
    out: bytes
    err: str

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.out)

    @property
    def sentence(self) -> str:
        """What was said on stderr, which must be one line."""
        [line] = self.err.splitlines()
        return line


Kelp = Callable[..., Ran]
ACTIVE = ("VIRTUAL_ENV", "CONDA_PREFIX")  # name the active environment


@pytest.fixture
def kelp(tmp_path: Path) -> Kelp:
    """Runs `kelp` with arguments in tmp_path."""

    return partial(run_in, tmp_path)


def run_in(folder: Path, *arguments: object) -> Ran:
    """Run `kelp` with arguments in a folder, in a process of its own."""
    command = [sys.executable, "-m", "kelp", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, env=environment(folder))
    return Ran(done.returncode, done.stdout, done.stderr.decode())


@pytest.fixture
def kelp_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Kelp:
    """The same in this process: sooner, and open to being meddled with."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", environment(tmp_path)["TMPDIR"])
    for name in ACTIVE:
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["kelp", *map(str, arguments)])
        before = signal.getsignal(signal.SIGTERM)
        try:
            main()
        except SystemExit as end:
            code = end.code
        finally:
            signal.signal(signal.SIGTERM, before)
        out, err = capfdbinary.readouterr()
        return Ran(code or 0, out, err.decode())

    return run


def environment(folder: Path) -> dict[str, str]:
    """Temporary files go to a folder of their own, so that a test can see what is left there; no Python is active."""
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    inherited = {name: value for name, value in os.environ.items() if name not in ACTIVE}
    return inherited | {"TMPDIR": str(scratch), "XDG_CACHE_HOME": str(folder / "cache")}
