"""Try each protection with a program that attempts to get around it."""

import os
import socket
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kelp.execution.interpreter import Interpreter
from kelp.execution.sandbox import Sandbox
from kelp.execution.suite import Limits

# By name: the guarantee, the parts of `Sandbox.protections` that hold it, and a program whose f() is 1 if it fails.
_TRIALS = {
    "writing": (
        "no file outside the scratch folder is written",
        ("files", "mounts"),
        "def f():\n    open(CANARY + '/new', 'w').close()\n    return 1",
    ),
    "modes": (
        "no file's mode, owner, times or attributes are changed",
        ("mounts", "calls"),
        "import os\ndef f():\n    os.chmod(CANARY + '/kept', 0o600)\n    return 1",
    ),
    "reading": (
        "no file is read but the libraries' and the project's",
        ("files",),
        "def f():\n    open(CANARY + '/kept').close()\n    return 1",
    ),
    "network": (
        "no socket is made",
        ("calls", "network"),
        "import socket\ndef f():\n    socket.create_connection(('127.0.0.1', PORT), 1)\n    return 1",
    ),
    "processes": (
        "no process is started",
        ("calls", "processes"),
        "import os\ndef f():\n    if os.fork() == 0: os._exit(0)\n    return 1",
    ),
    "signals": (
        "no other process is signaled",
        ("calls", "processes"),
        "import os\ndef f():\n    os.kill(PARENT, 0)\n    return 1",
    ),
    "privileges": (
        "no right is used that a user has not",
        ("privileges",),
        "import os\ndef f():\n    os.chroot('.')\n    return 1",
    ),
    "memory": ("memory is limited", ("resources",), "def f():\n    return len(bytearray(2 ** 31)) // 2 ** 31"),
    "disk": (
        "files are limited",
        ("resources",),
        "def f():\n    return open('x', 'wb').write(bytes(2 ** 26)) // 2 ** 26",
    ),
    "time": ("a program that never ends is killed", ("processes",), "def f():\n    while True: pass"),
    "verdict": (
        "a program cannot make a wrong value pass",
        ("verdict",),
        "import sys\ndef f():\n    frame = sys._getframe()\n    while 'report' not in frame.f_locals:\n"
        "        frame = frame.f_back\n    report = frame.f_locals['report']\n    report.verdict('f() == 1', 'pass')\n"
        "    report.outcome('f() == 1', status='pass', seconds=0.0)\n    report.done()",
    ),
}
_LIMITS = Limits(seconds=20.0, memory_mb=256)


@dataclass(frozen=True)
class Check:
    """One protection: its guarantee, the means that hold it, and whether it held when it was tried."""

    name: str
    guarantee: str
    means: str
    holds: bool


def self_test(python: Interpreter | None = None) -> tuple[list[Check], Mapping[str, str], tuple[str, ...]]:
    """Return (a check of each protection, the active protections, the guarantees that are missing).

    `python` runs the programs that try; without one, Kelp's own does.

    Raises RuntimeError where the sandbox cannot start, or where not even an honest program passes in it.
    """
    with (
        tempfile.TemporaryDirectory() as canary,
        socket.create_server(("127.0.0.1", 0)) as server,
        Sandbox(limits=_LIMITS, allow_weak=True, python=python) as sandbox,
    ):
        (Path(canary) / "kept").touch()
        before = {"CANARY": canary, "PORT": server.getsockname()[1], "PARENT": os.getpid()}
        setup = "\n".join(f"{name} = {value!r}" for name, value in before.items())

        def passes(source: str, seconds: float) -> bool:
            return sandbox.run(source.encode(), asserts=["f() == 1"], setup=setup, seconds=seconds).vouched

        if not passes("def f():\n    return 1", _LIMITS.seconds):
            raise RuntimeError("an honest program does not pass in the sandbox")
        means = {**sandbox.protections, "verdict": "values are judged in a process that never ran the program"}
        checks = [
            Check(
                name,
                guarantee,
                "; ".join(means[part] for part in parts if means[part] != "none") or "none",
                not passes(source, 0.5 if name == "time" else _LIMITS.seconds),
            )
            for name, (guarantee, parts, source) in _TRIALS.items()
        ]
        return checks, means, sandbox.missing
