"""The caller's side: a Sandbox starts a server, sends it programs and turns its reports into observations."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import kelp
from kelp.execution.observation import CallResult, Observation, TestOutcome
from kelp.execution.suite import Limits, Suite
from kelp.execution.wire import receive, send

_GRACE = 30.0  # seconds beyond a run's own limit after which the server itself is given up
_START = 60.0  # seconds that a server may take to import what the tests need
_REPR_LIMIT = 2000


class Sandbox:
    """Runs the tests of one suite against program after program, each in a fresh process.

    `module` is the file under repair: the program's source is imported in its place, under every name that leads
    to it, with the files beside it importable; without one the program is a bare module whose names the asserts
    see.  Any thread may call; one run goes on at a time.  Use as a context manager, or `close()`.
    """

    def __init__(self, suite: Suite = Suite(), *, module: Path | None = None, limits: Limits = Limits()):
        if module is not None and not Path(module).is_file():
            raise FileNotFoundError(f"module {module} is not a file")
        if suite.pytest_files and module is None:
            raise ValueError("pytest files import the program, so a module's path is needed")
        self.suite, self.limits = suite, limits
        self.module = None if module is None else Path(module).absolute()
        self._lock = threading.Lock()
        self._closed = False
        self._server: _Server | None = self._start()

    @property
    def protections(self) -> Mapping[str, str]:
        """What keeps a run apart from this machine here and now: the part, and how."""
        with self._lock:
            return dict(self._ready().protections)

    def run(
        self,
        source: bytes,
        *,
        first: str | None = None,
        stop_on_failure: bool = False,
        trace: bool = False,
        asserts: Sequence[str] | None = None,
        setup: str | None = None,
    ) -> Observation:
        """Run the suite, `first` before the others, against the program `source`.

        With `asserts`, those are run instead of the suite's tests, with the program as a bare module.
        """
        if isinstance(asserts, str):
            raise TypeError("asserts must be a sequence of strings, not one string")
        request = {
            "kind": "tests",
            "source": source.decode("latin-1"),
            "first": first,
            "stop_on_failure": stop_on_failure,
            "trace": trace,
            "asserts": None if asserts is None else list(asserts),
            "setup": setup,
        }
        return _observation(self._ask(request), self.limits.seconds)

    def evaluate(self, source: bytes, calls: Sequence[str], setup: str = "") -> list[CallResult]:
        """What each call expression gives with the program as a bare module, in order, one result a call.

        The exception is `Timeout` for the call that was running at the deadline and `NotRun` for those after it;
        where the program itself cannot be loaded, every call has `NotLoaded`.
        """
        request = {"kind": "calls", "source": source.decode("latin-1"), "calls": list(calls), "setup": setup}
        request |= {
            "asserts": [],
            "first": None,
            "trace": False,
            "stop_on_failure": False,
            "limit": _REPR_LIMIT,
        }
        reply = self._ask(request)
        results = [
            CallResult(
                call,
                _text(event.get("repr")),
                _text(event.get("exception")),
                event.get("round_trips") is True,
            )
            for call, event in zip(calls, (event for event in reply["events"] if event["event"] == "call"))
        ]
        if len(results) < len(calls):
            begun = sum(event["event"] == "begin" for event in reply["events"]) > len(results)
            if any(event["event"] == "error" for event in reply["events"]) or not (begun or results):
                rest = ["NotLoaded"] * (len(calls) - len(results))
            else:
                rest = ["Timeout" if _timed_out(reply) else "ProcessDied"] + ["NotRun"] * (
                    len(calls) - len(results) - 1
                )
            results += [CallResult(call, exception=name) for call, name in zip(calls[len(results) :], rest)]
        return results

    def close(self) -> None:
        """Kill the server and everything in it, and remove its folder."""
        with self._lock:
            self._closed = True
            if self._server is not None:
                self._server.stop()
                self._server = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> "_Server":
        config = {
            "asserts": list(self.suite.asserts),
            "pytest_files": [str(path) for path in self.suite.pytest_files],
            "doctest": self.suite.doctest,
            "setup": self.suite.setup,
            "module": None if self.module is None else str(self.module),
            "limits": asdict(self.limits),
            "warm": True,
        }
        try:
            return _Server(config)
        except RuntimeError:  # something that the tests import does not take to being imported early
            return _Server(config | {"warm": False})

    def _ready(self) -> "_Server":
        if self._closed:
            raise RuntimeError("the sandbox is closed")
        if self._server is None or not self._server.alive():
            if self._server is not None:
                self._server.stop()
            self._server = self._start()
        return self._server

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            server = self._ready()
            reply = server.ask(request, self.limits.seconds + _GRACE)
            if reply is None:
                server.stop()
                self._server = None
                lost = {
                    "event": "error",
                    "sentence": "the sandbox's server died or hung during this run",
                    "line": None,
                }
                reply = {"events": [lost], "ended": "lost", "status": 0, "output": "", "seconds": 0.0}
            return reply


class _Server:
    """A server process, the socket to it and its folder."""

    def __init__(self, config: dict[str, Any]):
        folder = tempfile.mkdtemp(prefix="kelp-")
        os.mkdir(os.path.join(folder, "work"), 0o700)
        scratch = os.path.join(folder, "work", "run")
        environment = {
            name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT") if name in os.environ
        }
        environment |= {
            "HOME": scratch,
            "TMPDIR": scratch,
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(Path(kelp.__file__).parents[1]),
            "PYTHONHASHSEED": "0",  # the same program gives the same observation
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        self.socket, theirs = socket.socketpair()
        log = os.path.join(folder, "log")
        try:
            with theirs, open(log, "wb") as errors:
                self.process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "kelp.execution.server", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    pass_fds=[theirs.fileno()],
                    env=environment,
                    cwd=folder,
                    start_new_session=True,
                )
        except BaseException:
            self.socket.close()
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self.stop = weakref.finalize(self, _stop, self.process, self.socket, folder)
        hello = self.ask(config | {"folder": os.path.join(folder, "work"), "scratch": scratch}, _START)
        if hello is None:
            said = Path(log).read_text("utf-8", "replace")[-500:].strip()
            self.stop()
            raise RuntimeError(f"the sandbox's server did not start: {said or 'it said nothing'}")
        self.protections: dict[str, str] = hello["protections"]

    def alive(self) -> bool:
        return self.process.poll() is None

    def ask(self, message: dict[str, Any], seconds: float) -> dict[str, Any] | None:
        """The server's answer, or None where there is none in time."""
        self.socket.settimeout(seconds)
        try:
            send(self.socket, message)
            return receive(self.socket)
        except (OSError, ValueError):
            return None


def _stop(process: subprocess.Popen[bytes], connection: socket.socket, folder: str) -> None:
    connection.close()  # the server ends when its caller is gone
    try:
        process.wait(2)
    except subprocess.TimeoutExpired:
        process.kill()  # the server dies with its launcher
        process.wait()
    shutil.rmtree(folder, ignore_errors=True)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _timed_out(reply: dict[str, Any]) -> bool:
    return reply["ended"] == "deadline" or reply["status"] == -signal.SIGXCPU


def _how(reply: dict[str, Any], limit: float) -> str:
    if _timed_out(reply):
        return f"was killed at its limit of {limit:g} s"
    if reply["ended"] == "flood":
        return "was killed for reporting too much"
    if reply["status"] < 0:
        return f"was killed by {signal.Signals(-reply['status']).name}"
    return f"ended by itself (exit status {reply['status']})"


def _observation(reply: dict[str, Any], limit: float) -> Observation:
    outcomes: list[TestOutcome] = []
    failing: set[int] = set()
    passing: set[int] = set()
    total, begun = 0, None
    error: str | None = None
    error_line: int | None = None
    for event in reply["events"]:
        kind = event["event"]
        if kind == "tests":
            total += int(event["count"])
        elif kind == "begin":
            begun = str(event["name"])
        elif kind == "outcome":
            begun = None
            outcomes.append(
                TestOutcome(
                    name=str(event["name"]),
                    status=event["status"],
                    seconds=float(event["seconds"]),
                    call=_text(event.get("call")),
                    got=_text(event.get("got")),
                    expected=_text(event.get("expected")),
                    exception=_text(event.get("exception")),
                    message=_text(event.get("message")),
                    line=None if event.get("line") is None else int(event["line"]),
                )
            )
            if event["status"] != "skip":
                (passing if event["status"] == "pass" else failing).update(map(int, event["lines"]))
        elif kind == "error" and error is None:
            error, error_line = str(event["sentence"]), event["line"]
    if begun is not None:
        status = "timeout" if _timed_out(reply) else "error"
        message = f"the process {_how(reply, limit)}"
        if reply["ended"] == "done":
            message = "it ended the whole test session"
        exception = None if status == "timeout" else "ProcessDied"
        outcomes.append(TestOutcome(begun, status, call=begun, exception=exception, message=message))  # type: ignore
    elif error is None and reply["ended"] != "done":
        error = f"the process {_how(reply, limit)} outside of any test"
    if error is None and total == 0 and not outcomes:
        error = "no tests were found"
    return Observation(
        outcomes=tuple(outcomes),
        lines_failing=frozenset(failing),
        lines_passing=frozenset(passing),
        error=error,
        error_line=error_line,
        not_run=max(0, total - len(outcomes)),
        seconds=float(reply["seconds"]),
        output=reply["output"],
    )
