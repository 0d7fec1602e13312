"""The warm fork server: `python -m kelp.execution.server FD`, started by a Sandbox and spoken to over that socket.

It is a process of its own, so that forking is safe (no threads, no JAX), with what tests need already imported.
A launcher stays outside the process namespace; in it the server is process 1, which nothing inside can kill and
whose end takes every process inside along.  Per run it forks a child, reads its report, and kills and reaps
whatever is left at its end or at the deadline.
"""

import ast
import contextlib
import gc
import importlib
import importlib.util
import json
import os
import secrets
import select
import shutil
import signal
import socket
import sys
import sysconfig
import time
import traceback
from pathlib import Path
from typing import Any

from kelp.execution import protection
from kelp.execution.child import be_child
from kelp.execution.wire import receive, send

_OUTPUT_KEPT = 2**16
_REPORT_LIMIT = 2**24
_COMMON = (  # modules that functions often need: imported once here instead of in every child
    "bisect collections.abc contextlib copy dataclasses datetime decimal fractions functools heapq itertools math "
    "operator random re statistics string textwrap types typing"
).split()


class Server:
    def __init__(self, connection: socket.socket, config: dict[str, Any], *, alone: bool):
        self.connection, self.config = connection, config
        self.alone = alone  # process 1 of a process namespace
        self.ruleset = protection.writes_only_beneath(config["folder"])

    def serve(self, active: dict[str, str]) -> None:
        if self.config["warm"]:
            _warm_up(self.config)
        gc.collect()
        gc.freeze()  # forked children then share these pages
        probe = self.run({"kind": "probe"})
        found = [event["active"] for event in probe["events"] if event["event"] == "protections"]
        send(self.connection, {"protections": active | (found[0] if found else {})})
        while (request := receive(self.connection)) is not None:
            send(self.connection, self.run(request))

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        """Fork a child for the request; what it reported, printed, and how it ended."""
        scratch = self.config["scratch"]
        os.mkdir(scratch, 0o700)
        secret = secrets.token_hex(16)
        pipe, pipe_end = os.pipe()
        output, output_end = os.pipe()
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            try:
                be_child(self.config, request, secret, pipe=pipe_end, output=output_end, ruleset=self.ruleset)
            except BaseException:
                traceback.print_exc()  # into the output that the reply carries
            finally:
                os._exit(70)
        os.close(pipe_end)
        os.close(output_end)
        watch = _Watch(secret, pipe, output)
        try:
            ended = watch.follow(child, self.connection, began + self.config["limits"]["seconds"])
        finally:
            status = self._end(child)
        watch.drain()
        seconds = time.monotonic() - began
        os.close(pipe)
        os.close(output)
        _remove(scratch)
        if ended == "abandoned":
            sys.exit(0)
        printed = bytes(watch.printed).decode("utf-8", "replace")
        return {
            "events": watch.events,
            "ended": ended,
            "status": status,
            "output": printed,
            "seconds": seconds,
        }

    def _end(self, child: int) -> int:
        """Kill whatever the run has left and reap it; the child's exit code, negative for a signal."""
        targets = [(os.kill, -1)] if self.alone else [(os.killpg, child), (os.kill, child)]
        for kill, target in targets:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(target, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, 0 if self.alone else os.WNOHANG)[0]:
                pass
        return code


class _Watch:
    """Reads a child's two pipes while it runs."""

    def __init__(self, secret: str, pipe: int, output: int):
        self.secret, self.pipe, self.output = secret, pipe, output
        self.events: list[dict[str, Any]] = []
        self.printed = bytearray()
        self.partial = b""
        self.size = 0
        os.set_blocking(pipe, False)
        os.set_blocking(output, False)

    def follow(self, child: int, connection: socket.socket, deadline: float) -> str:
        """Read until the child is "done", its "exit", the "deadline", a "flood" of reports or the caller's end."""
        poll = select.poll()
        exit_of = os.pidfd_open(child) if hasattr(os, "pidfd_open") else None
        for descriptor in (self.pipe, self.output, connection.fileno(), exit_of):
            if descriptor is not None:
                poll.register(descriptor, select.POLLIN)
        try:
            while (left := deadline - time.monotonic()) > 0:
                for descriptor, _ in poll.poll(left * 1000 + 1):
                    if descriptor == self.pipe:
                        if not self.read_report():
                            if exit_of is None:
                                return "exit"
                            poll.unregister(self.pipe)
                        if self.events and self.events[-1]["event"] == "done":
                            return "done"
                        if self.size > _REPORT_LIMIT:
                            return "flood"
                    elif descriptor == self.output:
                        if not self.read_output():
                            poll.unregister(self.output)
                    elif descriptor == exit_of:
                        self.read_report()
                        return "done" if self.events and self.events[-1]["event"] == "done" else "exit"
                    elif not connection.recv(1, socket.MSG_PEEK):
                        return "abandoned"
            return "deadline"
        finally:
            if exit_of is not None:
                os.close(exit_of)

    def drain(self) -> None:
        """What was still in the pipes when everything that could write to them had been killed."""
        for _ in range(64):  # a pipe holds no more, unless something that escaped still writes
            if not self.read_report():
                break
        self.read_output()

    def read_report(self) -> bool:
        """Take in complete lines that carry the secret; False at the end of the pipe."""
        try:
            data = os.read(self.pipe, 2**16)
        except BlockingIOError:
            return True
        self.size += len(data)
        *lines, self.partial = (self.partial + data).split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError, RecursionError):
                event = json.loads(line)
                if isinstance(event, dict) and secrets.compare_digest(
                    str(event.pop("secret", "")), self.secret
                ):
                    if isinstance(event.get("event"), str):
                        self.events.append(event)
        return bool(data)

    def read_output(self) -> bool:
        try:
            data = os.read(self.output, 2**16)
        except BlockingIOError:
            return True
        self.printed += data[: _OUTPUT_KEPT - len(self.printed)]
        return bool(data)


def _remove(folder: str) -> None:
    try:
        os.rmdir(folder)
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        if os.path.lexists(folder):
            sys.exit("the scratch folder could not be emptied")  # a fresh server gets a fresh folder


def _warm_up(config: dict[str, Any]) -> None:
    """Import what the tests import, except what belongs to the project: that may depend on the program."""
    names = set(_COMMON)
    texts = [config["setup"]]
    for path in [*config["pytest_files"], config["module"]]:
        if path:
            with contextlib.suppress(OSError):
                texts.append(Path(path).read_bytes())
    if config["pytest_files"]:
        names |= {"pytest", "kelp.execution.pytest_run"}
    if config["doctest"]:
        names.add("kelp.execution.doctests")
    for text in texts:
        with contextlib.suppress(SyntaxError, ValueError, RecursionError):
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Import):
                    names |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                    names.add(node.module)
    libraries = tuple({sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")})
    for name in sorted(names):
        with contextlib.suppress(BaseException):
            spec = importlib.util.find_spec(name.partition(".")[0])
            origin = spec.origin if spec is not None else None
            ours = name.startswith("kelp.")
            if ours or origin in ("built-in", "frozen") or (origin or "").startswith(libraries):
                importlib.import_module(name)


def main() -> None:
    connection = socket.socket(fileno=int(sys.argv[1]))
    active: dict[str, str] = {}
    alone = protection.unshare(protection.CLONE_NEWPID)
    if not alone:
        with contextlib.suppress(OSError):
            alone = protection.own_user_namespace() and protection.unshare(protection.CLONE_NEWPID)
    server = os.fork()
    if server:
        connection.close()
        os.waitpid(server, 0)
        return
    protection.die_with_parent()
    if alone:
        active["processes"] = "own namespace, killed whole after each run"
    else:
        protection.adopt_orphans()
        active["processes"] = "own process group, killed after each run"
    if protection.unshare(protection.CLONE_NEWNET):
        active["network"] = "own namespace without interfaces"
    if protection.unshare(protection.CLONE_NEWIPC):
        active["ipc"] = "own namespace"
    config = receive(connection)
    if config is not None:
        Server(connection, config, alone=alone).serve(active)


if __name__ == "__main__":
    main()
