"""Several processes that train together: two of four devices each against one of eight, and others that go on."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.training.fake import rows

pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return int(listener.getsockname()[1])


def start(out: Path, processes: int, devices: int, *options: object, module: str = "tests.training.fake") -> list:
    """Processes that train together on this machine; one, too, uses the collectives of several."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    place = f"localhost:{free_port()}"
    return [
        subprocess.Popen(
            [sys.executable, "-m", module, str(out), "--place", place, str(process), str(processes),
             *map(str, options)],
            env=os.environ | {"XLA_FLAGS": flags},
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        for process in range(processes)
    ]  # fmt: skip


def run(*args: object, **options: str) -> list[tuple[int, str]]:
    """Exit status and messages of each process."""
    ended = [(process, process.communicate(timeout=300)[1]) for process in start(*args, **options)]
    return [(process.returncode, err) for process, err in ended]


def check(*args: object, **options: str) -> None:
    for code, err in run(*args, **options):
        assert code == 0, err
