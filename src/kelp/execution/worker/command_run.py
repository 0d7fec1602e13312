"""A test command, inside the sandbox: the process that becomes the command, and the count of the resources it uses.

A command that is pytest in the server's own Python is not executed: a fork of the server, which has imported pytest and
the libraries that the tests need, runs it, in a small part of the time.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from kelp.execution.worker import protection
from kelp.execution.worker.overlay import ProjectCopy
from kelp.execution.worker.protocol import Config, Request

PLUGIN = str(Path(__file__).with_name("plugin"))
_METER_PAUSE, _LONGEST_PAUSE = 0.05, 0.25  # seconds between two measurements: if one is cheap, and at most


def run_command(
    config: Config,
    request: Request,
    copy: ProjectCopy,
    secret: str,
    *,
    pipe: int,
    key: int,
    output: int,
    modules: bool,
) -> Callable[[], NoReturn]:
    """Do everything between the fork and the command, and execute the command; or return a call of pytest for it.

    The caller makes that call from a stack without frames of the server; `modules` asks it for the imported modules.
    Raises OSError.
    """
    plan = config["plan"]
    assert plan is not None
    os.setsid()
    protection.die_with_parent()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    protection.unshare(protection.CLONE_NEWIPC)  # a new one for each run, so that nothing in it stays
    writable = copy.enter(sources(request))
    os.chdir(plan["root"])
    active = {"resources": "rlimits, processes and their memory counted", "privileges": "none", "files": "none"}
    active |= {"copy": "own mount namespace with an overlay", "calls": "none"}
    ruleset = protection.confined(writable, [*plan["readable"], PLUGIN], plan["listed"])
    protection.limit_resources(config["limits"], protection.own_size())
    if protection.drop_privileges():
        active["privileges"] = "capabilities dropped, no_new_privs"
        if ruleset is not None and protection.restrict_files(ruleset):
            active["files"] = "Landlock: reads of libraries and project, writes to the project's copy only"
    if protection.forbid_calls(read_only=True, processes=True):
        active["calls"] = "seccomp: no sockets"
    last = config["limits"]["open_files"]
    keep = sorted((pipe, key))
    for low, high in zip([2, *keep], [*keep, last]):
        os.closerange(low + 1, high)
    if request["kind"] == "probe":
        for event in ({"event": "protections", "active": active}, {"event": "done"}):
            os.write(pipe, (secret + json.dumps(event) + "\n").encode())
        os._exit(0)
    home = config["scratch"]
    environment = plan["environment"] | {
        "LANG": "C.UTF-8",
        "HOME": home,
        "TMPDIR": home,
        "PYTHONHASHSEED": "0",  # the same program gives the same observation
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTEST_ADDOPTS": "-p kelp_report",
        "KELP_REPORT": json.dumps(_settings(config, request, key, pipe, modules)),
    }
    if plan["pytest"] is not None:
        return partial(_run_pytest, plan["pytest"], environment, config["pythonpath"])
    os.set_inheritable(pipe, True)
    os.set_inheritable(key, True)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and the command would too
        signal.signal(number, signal.SIG_DFL)
    os.execve(plan["program"], config["command"], environment)


def sources(request: Request) -> dict[str, bytes]:
    """The files of a request with their sources."""
    return {path: source.encode("latin-1") for path, source in request["files"]}


def _settings(config: Config, request: Request, key: int, pipe: int, modules: bool) -> dict[str, Any]:
    """Settings of the plugin `kelp_report`; beside each traced file, the number of lines in those before it."""
    plan, offset = config["plan"], 0
    assert plan is not None
    traced = []
    for path, source in request["files"]:
        traced.append([path, offset])
        offset += source.count("\n") + 1
    return {
        "key": key, "pipe": pipe, "files": traced, "root": plan["root"], "modules": modules, "trace": request["trace"],
        "only": request["only"], "front": request["front"], "survey": request["survey"],
        "enough_seconds": request["enough_seconds"], "test_seconds": request["test_seconds"],
    }  # fmt: skip


def prepare() -> None:
    """In the server: import the plugin that reports, and let runs find pytest's other plugins imported.

    Raises ImportError where there is no pytest.
    """
    sys.path.insert(0, PLUGIN)
    importlib.import_module("kelp_report")
    sys.path.remove(PLUGIN)
    hook: Any = importlib.import_module("_pytest.assertion.rewrite").AssertionRewritingHook
    hook._warn_already_imported = lambda *_: None  # a warning may be an error to the project


def _run_pytest(arguments: list[str], environment: dict[str, str], pythonpath: list[str]) -> NoReturn:
    """Run pytest in this process, as the command would, and end the process."""
    import pytest

    plugin = sys.modules["kelp_report"]
    for name in [name for name in sys.modules if name.partition(".")[0] == "kelp"]:
        del sys.modules[name]  # the project may have one of that name
    os.environ.clear()
    os.environ.update(environment)
    folder = os.getcwd()
    added = [*pythonpath, PLUGIN]
    sys.path[:] = [*added, *(path for path in sys.path if path not in added), folder, os.path.join(folder, "src")]
    sys.argv[:] = ["pytest", *arguments]
    importlib.invalidate_caches()
    code = pytest.main(arguments, plugins=[plugin])
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):
            stream.flush()
    os._exit(int(code))


class Meter:
    """Measures the processes of this process namespace together, without this process itself."""

    def __init__(self, limits: Mapping[str, Any]):
        self.tasks, self.memory = limits["tasks"], limits["memory_mb"] * 2**20
        self.namespace = os.readlink("/proc/self/ns/pid")
        self.pid = os.readlink("/proc/self")
        self.page = os.sysconf("SC_PAGE_SIZE")
        self.due, self.pause = 0.0, _METER_PAUSE

    def exceeded(self) -> str | None:
        """The resource whose limit is exceeded: "tasks" or "memory"."""
        now = time.monotonic()
        if now < self.due:
            return None
        tasks = memory = 0
        for pid in os.listdir("/proc"):
            if pid.isdigit() and pid != self.pid:
                try:
                    if os.readlink(f"/proc/{pid}/ns/pid") == self.namespace:
                        facts = Path("/proc", pid, "stat").read_bytes().rpartition(b")")[2].split()
                        tasks, memory = tasks + int(facts[17]), memory + int(facts[21]) * self.page  # proc(5)
                except OSError:
                    continue
                if tasks > self.tasks or memory > self.memory:
                    return "tasks" if tasks > self.tasks else "memory"
        elapsed = time.monotonic() - now
        self.pause = min(max(_METER_PAUSE, 20 * elapsed), _LONGEST_PAUSE)
        self.due = now + elapsed + self.pause
        return None
