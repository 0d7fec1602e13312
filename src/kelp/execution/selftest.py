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

# Guarantees of a run by name, as the table of docs/security.md has them: the sentence, the parts of
# `Sandbox.protections` that see to it, and a program whose f() is 1, in its first run or, of `_LATER`, in a second one,
# if they do not.
TRIALS = {
    "writing": (
        "writes to a copy of the project and to temporary files alone",
        ("mounts", "files"),
        "def f():\n    open(CANARY + '/new', 'w').close()\n    return 1",
    ),
    "modes": (
        "changes modes, owners, times and attributes of no other files",
        ("mounts", "calls"),
        "import os\ndef f():\n    os.chmod(CANARY + '/kept', 0o600)\n    return 1",
    ),
    "reading": (
        "reads the interpreter, packages, system libraries and the project alone",
        ("mounts", "files"),
        "def f():\n    open(CANARY + '/kept').close()\n    return 1",
    ),
    "network": (
        "connects to itself alone",
        ("network", "calls"),
        "import socket\ndef f():\n    socket.create_connection(('127.0.0.1', PORT), 1)\n    return 1",
    ),
    "sockets": (
        "reaches no socket of another program by a path",
        ("mounts", "calls"),
        "import socket\ndef f():\n    socket.socket(socket.AF_UNIX).connect(CANARY + '/socket')\n    return 1",
    ),
    "processes": (
        "starts at most 256 processes and threads",
        ("processes", "calls", "resources"),
        # `threading.Thread.start` would wait for ever for a thread that dies at its start for want of memory.
        "import _thread, time\n_thread.stack_size(2 ** 16)\ndef f():\n    for _ in range(2000):\n"
        "        _thread.start_new_thread(time.sleep, (9,))\n    return 1",
    ),
    "signals": (
        "signals, traces and limits its own processes alone",
        ("processes", "calls"),
        "import os\ndef f():\n    os.kill(PARENT, 0)\n    return 1",
    ),
    "leftovers": (
        "leaves no file, process or other state to later runs",
        ("processes", "mounts"),
        "import os\ndef f():\n    if os.path.exists(os.environ['HOME'] + '/left'): return 1\n"
        "    open(os.environ['HOME'] + '/left', 'w').close()",
    ),
    "privileges": (
        "has no right that a user has not: no mounts, namespaces, keys, io_uring, bpf",
        ("privileges", "calls"),
        "import os\ndef f():\n    os.chroot('.')\n    return 1",
    ),
    "memory": (
        "uses at most 512 MB beyond the interpreter, its processes and sockets together",
        ("resources",),
        "def f():\n    return len(bytearray(2 ** 31)) // 2 ** 31",
    ),
    "hidden memory": (
        "uses no memory that no process shows: memfd, System V",
        ("calls",),
        "import os\ndef f():\n    os.memfd_create('x')\n    return 1",
    ),
    "disk": (
        "writes 256 MB in 32,768 files, 16 MB in each",
        ("resources", "mounts"),
        "def f():\n    return open('x', 'wb').write(bytes(2 ** 26)) // 2 ** 26",
    ),
    "time": ("ends at its limit of time", ("processes",), "def f():\n    while True: pass"),
    "verdict": (
        "does not decide whether asserts and examples hold",
        ("verdict",),
        "import sys\ndef f():\n    frame = sys._getframe()\n    while 'report' not in frame.f_locals:\n"
        "        frame = frame.f_back\n    report = frame.f_locals['report']\n    report.verdict('f() == 1', 'pass')\n"
        "    report.outcome('f() == 1', status='pass', seconds=0.0)\n    report.done()",
    ),
}
_LATER = ("leftovers",)
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
        socket.socket(socket.AF_UNIX) as listening,
        Sandbox(limits=_LIMITS, allow_weak=True, python=python) as sandbox,
    ):
        listening.bind(canary + "/socket")
        listening.listen()
        (Path(canary) / "kept").touch()
        before = {"CANARY": canary, "PORT": server.getsockname()[1], "PARENT": os.getpid()}
        setup = "\n".join(f"{name} = {value!r}" for name, value in before.items())

        def passes(source: str, seconds: float = _LIMITS.seconds) -> bool:
            return sandbox.run(source.encode(), asserts=["f() == 1"], setup=setup, seconds=seconds).vouched

        if not passes("def f():\n    return 1"):
            raise RuntimeError("an honest program does not pass in the sandbox")
        means = {**sandbox.protections, "verdict": "values are judged in a process that never ran the program"}
        checks = [
            Check(
                name,
                guarantee,
                "; ".join(means[part] for part in parts if means[part] != "none") or "none",
                not (passes(source, 0.5 if name == "time" else _LIMITS.seconds) or (name in _LATER and passes(source))),
            )
            for name, (guarantee, parts, source) in TRIALS.items()
        ]
        return checks, means, sandbox.missing
