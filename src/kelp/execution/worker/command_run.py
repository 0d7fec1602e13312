"""A test command, inside the sandbox: the process that becomes the command.

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
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from kelp.execution.worker.child import Confinement, close_all_but, sources
from kelp.execution.worker.protocol import ENVIRONMENT, Config, Request
from kelp.execution.worker.view import write_sources

PLUGIN = str(Path(__file__).with_name("plugin"))


def run_command(
    config: Config, request: Request, secret: str, confinement: Confinement, *, pipe: int, key: int, modules: bool
) -> Callable[[], NoReturn]:
    """Do everything between the fork and the command, and execute the command; or return a call of pytest for it.

    The caller makes that call from a stack without frames of the server; `modules` asks it for the imported modules.
    Raises OSError.
    """
    plan = config["plan"]
    assert plan is not None and confinement.open  # else these would be the user's files
    write_sources(sources(request))
    os.chdir(plan["root"])
    active = confinement.enter()
    close_all_but(pipe, key)
    if request["kind"] == "probe":
        for event in ({"event": "protections", "active": active}, {"event": "done"}):
            os.write(pipe, (secret + json.dumps(event) + "\n").encode())
        os._exit(0)
    home = config["scratch"]
    report = json.dumps(_settings(config, request, key, pipe, modules))
    environment = {**plan["environment"], **ENVIRONMENT, "HOME": home, "TMPDIR": home}
    environment |= {"PYTEST_ADDOPTS": "-p kelp_report", "KELP_REPORT": report}
    if plan["pytest"] is not None:
        return partial(_run_pytest, plan["pytest"], environment, config["pythonpath"])
    os.set_inheritable(pipe, True)
    os.set_inheritable(key, True)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and the command would too
        signal.signal(number, signal.SIG_DFL)
    os.execve(plan["program"], config["command"], environment)


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


def prepare(arguments: list[str]) -> None:
    """In the server: import the plugin that reports, and let runs find pytest's other plugins imported.

    Raises ImportError where there is no pytest.
    """
    sys.path.insert(0, PLUGIN)
    importlib.import_module("kelp_report")
    sys.path.remove(PLUGIN)
    hook: Any = importlib.import_module("_pytest.assertion.rewrite").AssertionRewritingHook
    hook._warn_already_imported = lambda *_: None  # a warning may be an error to the project
    quick_start = importlib.import_module("kelp.execution.worker.quick_start")
    quick_start.skim_plugins()
    quick_start.know_packages()
    quick_start.prepare_session(arguments)


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
