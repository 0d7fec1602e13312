"""The warm fork server of a Sandbox, in the interpreter that runs the program and its tests.

It is a process of its own, so that forking is safe (no threads, no JAX), and has imported the libraries that the tests
need.  Per run it forks a child, reads its report, and kills and reaps whatever is left at the run's end or at the
deadline.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import json
import os
import re
import secrets
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from types import CodeType
from typing import Any

from kelp.execution.worker import protection, seccomp
from kelp.execution.worker.bare_asserts import compile_test
from kelp.execution.worker.checks import snapshot
from kelp.execution.worker.child import Confinement, Known, be_child, become_run, close_all_but
from kelp.execution.worker.code_cache import PROJECT
from kelp.execution.worker.command_run import prepare, run_command
from kelp.execution.worker.folders import LIBRARIES, package_root
from kelp.execution.worker.protocol import (
    PROBE,
    Config,
    Hello,
    Reply,
    Request,
    empty_folder,
    function_of,
    receive,
    send,
)
from kelp.execution.worker.verdict import judged
from kelp.execution.worker.view import OF_RUNS, PROGRAMS, Keeper
from kelp.execution.worker.watch import Meter, Watch

OLDEST_PYTEST = (8, 3)
OLDEST_REPORTED = (7, 0)  # of a command, which has no judge
_REHEARSAL = 20.0  # seconds for the tests' first imports
_COMMON = (  # modules that functions often need: imported once here instead of in every child
    "bisect collections.abc contextlib copy dataclasses datetime decimal fractions functools heapq itertools math "
    "operator random re statistics string textwrap types typing unittest"
)
_OF_VALUES = {"datetime", "decimal", "fractions"}  # imported here to judge, and by the program under the same names
# Modules where a patch would change what test files say: at the end of a run they must be as at its beginning.
_UNCHANGED = (
    "builtins", "cmath", "math", "operator", "_operator", "ast", "inspect", "kelp", "pluggy", "pytest", "_pytest", "re",
    "unittest",
)  # fmt: skip


class Forked(BaseException):
    """Raised in the child, so that it leaves the server's frames; its argument is the function to call then."""


def _worth_watching(packages: tuple[str, ...]) -> dict[str, Any]:
    """Namespaces of the packages' modules and of the classes that they define, by name."""
    namespaces: dict[str, Any] = {}
    for name, module in sorted(sys.modules.items()):
        if name.partition(".")[0] in packages and module is not None:
            namespaces[name] = vars(module)
            classes = [value for value in vars(module).values() if isinstance(value, type) and value.__module__ == name]
            namespaces |= {f"{name}.{kind.__qualname__}": vars(kind) for kind in classes}
    return namespaces


class Server:
    """The fork server of one suite: it forks a child per run and replies with the run's events."""

    def __init__(
        self,
        connection: socket.socket,
        config: Config,
        paths: tuple[list[str], list[str]],
        keeper: Keeper | None,
        why: str,
    ):
        self.connection, self.config = connection, config
        self.keeper, self.why = keeper, why  # None, and the reason, where runs have no namespaces of their own
        readable, listed = paths
        self.writable = [config["scratch"]] if keeper is None else keeper.writable
        self.known = Known(config, readable, self.writable)
        self.expected: list[str] = []  # the tests of the unchanged file
        if keeper is not None:
            readable = [path for path in [*readable, *PROGRAMS, *OF_RUNS] if not keeper.is_copied(path)]
        self.rules = protection.reading(readable, listed)
        self.confinement = Confinement(self.ruleset(), keeper is not None, protection.own_size(), config["limits"])
        module = config["module"]
        self.unchanged = Path(module).read_bytes().decode("latin-1") if module else ""  # source of the file as it is
        self.has_libraries = False  # those that a command's tests import

    def serve(self, active: dict[str, str]) -> None:
        config = self.config
        if self.keeper is not None:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # with Python's handler, process 1 could be interrupted
            if protection.limit_tasks(config["limits"]["tasks"]):
                active["processes"] += f", at most {config['limits']['tasks']} at a time"
        seccomp.program(open=self.keeper is not None)  # once, for all that are forked
        if config["command"] and self.keeper is None:
            why = f"This machine cannot run a test command in a copy of the project: {self.why}"
            self.greet(active, refused=True, error=why)
            return
        unchanged = [[config["module"], self.unchanged]] if config["module"] else []
        probe = self.run(PROBE | {"source": self.unchanged, "files": unchanged})
        for event in probe["events"]:
            if event["event"] == "protections":
                active |= event["active"]
        if config["command"] and not probe["events"]:  # the file could not be written in its copy
            why = probe["output"].strip().rpartition("\n")[2].rpartition("] ")[2]  # [Errno 1] ...
            why = f"This machine cannot run a test command in a copy of the project: {why}"
            self.greet(active, refused=True, error=why)
            return
        if protection.missing(active) and not self.config["allow_weak"]:
            self.greet(active, refused=True)
            return
        reported = self.pytest_arguments is not None
        oldest = OLDEST_PYTEST if self.config["pytest_files"] else OLDEST_REPORTED if reported else None
        if oldest is not None and (lack := _lacks_pytest(oldest)) is not None:
            self.greet(active, refused=True, error=lack)
            return
        self.confinement.enter_server()
        self.warm_up()
        if self.config["pytest_files"]:
            self.known.before = snapshot(_worth_watching(_UNCHANGED))
        gc.collect()
        gc.freeze()  # forked children then share these pages
        self.greet(active, refused=False)
        while (request := receive(self.connection)) is not None:
            reply = self.run(request)
            modules = [event for event in reply["events"] if event["event"] == "modules"]
            reply["events"] = [event for event in reply["events"] if event["event"] != "modules"]
            send(self.connection, reply)
            if self.cleans_later(request):
                self.clean_up(request, reply)
                if reply["last"]:
                    return
            if modules and not self.has_libraries:  # while the caller thinks
                self.has_libraries = True
                files = {name: file for event in modules for name, file in event["files"].items()}
                self.import_all(name for name, file in files.items() if file and file.startswith(LIBRARIES))
                gc.collect()
                gc.freeze()

    def import_all(self, names: Iterable[str]) -> None:
        """Import modules in the folder of the runs: some look there for what they have kept, once and for all."""
        plan, before = self.config["plan"], os.getcwd()
        with contextlib.suppress(OSError):
            os.chdir(self.known.work_folder if plan is None else plan["root"])
        for name in names:
            with contextlib.suppress(BaseException):
                importlib.import_module(name)
        os.chdir(before)

    @property
    def pytest_arguments(self) -> list[str] | None:
        """Arguments of a command that is pytest in this Python, and so needs no process of its own; None for others."""
        return None if self.config["plan"] is None else self.config["plan"]["pytest"]

    def greet(self, active: dict[str, str], *, refused: bool, error: str | None = None) -> None:
        hello: Hello = {"protections": active, "refused": refused, "error": error}
        send(self.connection, hello)

    def ruleset(self) -> int | None:
        """Return a Landlock ruleset of the runs, for the folders that are mounted now."""
        return protection.confined([*self.rules, *(writing := protection.writing(self.writable))], closing=writing)

    def warm_up(self) -> None:
        """Import the libraries that every child needs, and compile the project's modules.

        A rehearsal finds them: a child loads and collects the tests, and lists its imports.  The project's own modules
        are only compiled, since they may depend on the program; their errors show in the runs.
        """
        config, module = self.config, self.config["module"]
        if config["command"]:
            if self.pytest_arguments is not None:
                prepare(self.pytest_arguments)
            return
        before = set(sys.modules) - _OF_VALUES
        names = set(_COMMON.split())
        if config["pytest_files"]:
            importlib.import_module("kelp.execution.worker.pytest_run").prepare(config["pytest_files"])
        if config["doctest"]:
            importlib.import_module("kelp.execution.worker.doctests")
        libraries = LIBRARIES
        if module is not None and module.startswith(libraries):
            libraries = ()  # the program is a library itself: others may depend on it
        if config["pytest_files"] or module or config["setup"]:
            reply = self.run(PROBE | {"kind": "rehearsal", "source": self.unchanged, "seconds": _REHEARSAL})
            collected = [event for event in reply["events"] if event["event"] == "test"]
            self.expected = [event["name"] for event in collected]
            for event in collected:
                if event["label"]:
                    self.known.labels.setdefault(function_of(event["name"]), set()).add(event["label"])
            modules = [event for event in reply["events"] if event["event"] == "modules"]
            files = {name: file for event in modules for name, file in event["files"].items()}
            names |= {name for name, file in files.items() if file and file.startswith(libraries)}
            project = {file for file in files.values() if file and not file.startswith(libraries)}
            rewritten = {file for event in modules for file in event["rewritten"]} & project
            if rewritten:  # test files that the tests import, and other modules with asserts for pytest
                importlib.import_module("kelp.execution.worker.test_sources").add(sorted(rewritten))
            PROJECT.add((file for file in sorted(project - rewritten) if file.endswith(".py")), _compile)
        self.import_all(sorted(names))
        folders = [os.path.dirname(file) for file in config["pytest_files"]]
        folders += [*([package_root(module)] if module else []), *config["pythonpath"]]
        hidden = _names_in(folders) - {
            "kelp",
            "pytest",
            "_pytest",
            "pluggy",
        }  # they run the tests, and must stay
        for name in set(sys.modules) - before:
            if name.partition(".")[0] in hidden:  # outside of Kelp, the project's own would be found first
                del sys.modules[name]

    def run(self, request: Request) -> Reply:
        """Fork a child for the request, follow it to its end, and clear its processes away."""
        limits = dict(self.config["limits"])
        if request["seconds"] is not None:
            limits |= {"seconds": request["seconds"], "cpu_seconds": request["cpu_seconds"]}
        config, confinement = self.config, replace(self.confinement, limits=limits)
        of_suite = request["asserts"] is None  # and not other asserts for a bare module
        texts = config["asserts"] if request["asserts"] is None else request["asserts"]
        asserts = [compile_test(text) for text in texts]
        secret = secrets.token_hex(16)
        command = of_suite and config["plan"] is not None
        if of_suite and not command and config["module"] and request["source"] != self.unchanged:
            request = request | {"files": [[config["module"], request["source"]]]}
        pipe, pipe_end = os.pipe()
        output, output_end = os.pipe()
        key, key_end = os.pipe()
        os.write(key_end, secret.encode())  # a test command's plugin takes it from there
        os.close(key_end)
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            perform: Callable[[], None]
            try:
                become_run(output_end)
                if command:
                    modules = not self.has_libraries
                    perform = run_command(config, request, secret, confinement, pipe=pipe_end, key=key, modules=modules)
                else:
                    perform = be_child(self.known, request, asserts, secret, confinement, pipe_end)
            except BaseException:
                traceback.print_exc()  # into the output that the reply carries
                os._exit(70)
            for closed in (self.connection, *([] if self.keeper is None else [self.keeper.connection])):
                closed.detach()
            raise Forked(perform)
        os.close(pipe_end)
        os.close(output_end)
        os.close(key)
        watch = Watch(secret, pipe, output)
        try:
            meter = None if self.keeper is None else Meter(limits)
            deadline = began + limits["seconds"]
            ended = watch.follow(child, self.connection, deadline, limits["cpu_seconds"], meter)
        finally:
            status = self._end(child)
        watch.drain()
        elapsed = time.monotonic() - began
        os.close(pipe)
        os.close(output)
        if ended == "abandoned":
            sys.exit(0)
        setup = config["setup"] if request["setup"] is None else request["setup"]
        events = judged(watch.events, asserts, setup, lambda judge: self.apart(judge, limits["seconds"]))
        printed = bytes(watch.printed).decode("utf-8", "replace")
        reply: Reply = {
            "events": events,
            "ended": "done" if watch.done else ended,
            "status": status,
            "output": printed,
            "seconds": elapsed,
            "expected": self.expected if of_suite else [],
            "changed": [],
            "last": False,
        }
        if not self.cleans_later(request):
            self.clean_up(request, reply)
        return reply

    def cleans_later(self, request: Request) -> bool:
        """Return whether the caller may have the reply first: it needs nothing from what was written."""
        return self.keeper is not None and self.config["plan"] is None and request["kind"] in ("tests", "calls")

    def apart(self, function: Callable[[], Any], seconds: float) -> Any:
        """Call a function in a process with the limits of a run; its value, which travels as JSON, or None."""
        pipe, pipe_end = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.setsid()
                self.confinement.enter()
                close_all_but(pipe_end)
                with open(pipe_end, "w") as file:
                    json.dump(function(), file)
            except BaseException:
                os._exit(70)
            os._exit(0)
        os.close(pipe_end)
        text, deadline = b"", time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and select.select([pipe], [], [], left)[0]:
            part = os.read(pipe, 2**16)
            if not part:
                break
            text += part
        os.close(pipe)
        with contextlib.suppress(ValueError):
            return json.loads(text) if self._end(child) == 0 else None
        return None

    def clean_up(self, request: Request, reply: Reply) -> None:
        """Throw away what the run has written; where that fails, this server is the `last` to run anything."""
        try:
            if self.keeper is None:  # the folder stays, since removing it costs more than the rest of a run
                os.chmod(self.config["scratch"], 0o700)
                empty_folder(self.config["scratch"])
                return
            files = dict(request["files"]) if self.config["plan"] is not None else None
            before, old = self.keeper.clean, self.confinement.ruleset
            reply["changed"] = self.keeper.renew(files)
            if self.keeper.clean is not before:
                self.confinement = replace(self.confinement, ruleset=self.ruleset())
                if old is not None:
                    os.close(old)
        except OSError:
            reply["last"] = True

    def _end(self, child: int) -> int:
        """Kill and reap all processes of the run; return the child's exit code, negative for a signal."""
        targets = [(os.kill, -1)] if self.keeper is not None else [(os.killpg, child), (os.kill, child)]
        for kill, target in targets:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(target, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, 0 if self.keeper is not None else os.WNOHANG)[0]:
                pass
        return code


def _lacks_pytest(least: tuple[int, int]) -> str | None:
    """The reason, in a sentence with the command that ends it, why this interpreter cannot run pytest files."""
    install = f"{sys.executable} -m pip install"
    if importlib.util.find_spec("pip") is None:
        install = f"uv pip install --python {sys.executable}"
    if importlib.util.find_spec("pytest") is None:
        return f"{sys.executable} has no pytest, which runs the tests: {install} pytest installs it"
    try:
        version = str(getattr(importlib.import_module("pytest"), "__version__", "0"))
    except Exception as error:
        return f"{sys.executable} has a broken pytest ({error}): {install} --force-reinstall pytest puts it right"
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) < least:
        oldest = ".".join(map(str, least))
        install = f"{install} 'pytest>={oldest}' installs one, and --test-command takes any"
        return f"{sys.executable} has pytest {version}, and Kelp needs {oldest} or newer: {install}"
    return None


def _compile(path: str) -> CodeType:
    return compile(Path(path).read_bytes(), path, "exec", dont_inherit=True)


def _names_in(folders: list[str]) -> set[str]:
    """Names of the modules that can be imported from the folders."""
    names: set[str] = set()
    for folder in folders:
        with contextlib.suppress(OSError):
            names |= {entry.name.removesuffix(".py") for entry in os.scandir(folder)}
    return names
