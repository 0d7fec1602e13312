"""The caller's side: a Sandbox sends a server programs and turns its replies into observations."""

import os
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kelp.execution import command
from kelp.execution.interpreter import Interpreter, own
from kelp.execution.observation import NEWLY_SKIPPED, CallResult, Observation
from kelp.execution.replies import end_of, judged, lost, observation_of, without_false_needs
from kelp.execution.server_process import Server
from kelp.execution.suite import Limits, Suite, absolute, as_tests
from kelp.execution.survey import Survey, survey_of
from kelp.execution.worker.protection import missing
from kelp.execution.worker.protocol import PROBE, Config, Plan, Reply, Request, function_of, timed_out

_GRACE = 30.0  # seconds beyond a run's own limit after which the server itself is given up
_REPR_LIMIT = 2000


class Sandbox:
    """Runs the tests of one suite against program after program, each in a fresh process.

    `module` is the file under repair: the program's source is imported in its place, under every name that leads
    to it, with the files beside it importable; without one the program is a bare module whose names the asserts
    read.  A command may also run in a `project`, a folder, of which `run_files` replaces any files.
    Any thread may call; runs go one at a time.  Use as a context manager, or `close()`.

    Raises WeakSandbox, before any code of the program has run, where this machine cannot give a guarantee (`missing`)
    and `allow_weak` is false.
    """

    def __init__(
        self,
        suite: Suite = Suite(),
        *,
        module: Path | None = None,
        project: Path | None = None,
        limits: Limits = Limits(),
        allow_weak: bool = False,
        python: Interpreter | None = None,
    ):
        if module is not None and not Path(module).is_file():
            raise FileNotFoundError(f"module {module} is not a file")
        if suite.pytest_files and module is None:
            raise ValueError("pytest files import the program, so a module's path is needed")
        self.suite, self.limits, self.allow_weak = suite, limits, allow_weak
        if suite.command and module is None and project is None:
            raise ValueError("a test command runs in the project of a file, so a module's path is needed")
        self.module = None if module is None else absolute(module)
        self.python = own() if python is None else python
        self._plan: Plan | None = None  # for a test command
        self._before: dict[str, Any] | None = None  # its run with the file as it is
        self._ran: frozenset[str] | None = None  # tests of files that the file as it is neither skips nor may skip
        self._skipped: frozenset[str] = frozenset()  # those that it may skip
        if suite.command and self.module is not None:
            self.module = self.module.resolve()  # the project's copy has the target of a link
            self._plan = command.plan(suite.command, self.module, self.python)
        elif suite.command and project is not None:
            self._plan = command.plan(suite.command, project.resolve(), self.python)
        self._lock = threading.Lock()
        self._closed = False
        self._server: Server | None = self._start()

    @property
    def protections(self) -> Mapping[str, str]:
        """Active protections of a run: the part of the machine, and by what means."""
        with self._lock:
            return dict(self._ready().protections)

    @property
    def missing(self) -> tuple[str, ...]:
        """Guarantees that this machine cannot give, each in a few words; usually none."""
        return missing(self.protections)

    def run(
        self,
        source: bytes,
        *,
        first: str | None = None,
        stop_on_failure: bool = False,
        trace: bool = False,
        shuffle: int | None = None,
        asserts: Sequence[str] | None = None,
        setup: str | None = None,
        seconds: float | None = None,
    ) -> Observation:
        """Run the suite, `first` before the others, against the program `source`, for `seconds` at most.

        `shuffle` is the seed of another order of the tests of files.

        With `asserts`, those are run instead of the suite's tests, with the program as a bare module.
        """
        request = self._request(source, seconds)
        request |= {"first": first, "stop_on_failure": stop_on_failure, "trace": trace, "setup": setup}
        request["shuffle"] = shuffle
        request["asserts"] = None if asserts is None else list(as_tests(asserts))
        if self.suite.command and asserts is None:
            return self._run_command(request)
        reply = self._ask(request)
        observation = observation_of(reply, end_of(reply, request))
        skips = {outcome.name for outcome in observation.outcomes if outcome.status == "skip"}
        skips -= judged(reply, "pass")  # only a part of these was skipped
        return self._without_new(skips, observation, request) if skips and asserts is None else observation

    def _request(self, source: bytes, seconds: float | None = None) -> Request:
        """A run of the whole suite against the source, within `limits`, which may change between runs."""
        limits = self.limits
        return PROBE | {
            "kind": "tests",
            "source": source.decode("latin-1"),
            "repr_limit": _REPR_LIMIT,
            "seconds": limits.seconds if seconds is None else min(seconds, limits.seconds),
            "cpu_seconds": limits.cpu_seconds,
        }

    def _without_new(self, skips: set[str], observation: Observation, request: Request) -> Observation:
        """Replace skipped tests by errors where the file as it is does not skip them.

        The judge cannot know who skips a test: a program may pass the test a function of pytest's in place of its own.
        """
        assert self.module is not None
        if self._ran is None:
            request = self._request(self.module.read_bytes()) | {"setup": request["setup"]}
            before = self._ask(request)
            ran = {outcome.name for outcome in observation_of(before, end_of(before, request)).outcomes}
            self._skipped = frozenset(ran & judged(before, "skip"))
            self._ran = frozenset(ran) - self._skipped
        functions = {function_of(name) for name in self._ran}
        new = {name for name in skips - self._skipped if name in self._ran or function_of(name) in functions}
        outcomes = tuple(
            replace(outcome, status="error", exception="Skipped", message=NEWLY_SKIPPED)
            if outcome.name in new
            else outcome
            for outcome in observation.outcomes
        )
        return replace(observation, outcomes=outcomes)

    def _run_command(self, request: Request) -> Observation:
        assert self.module is not None
        unchanged = self.module.read_bytes().decode("latin-1")
        if self._before is None:
            self._before = command.baseline(self._ask(request | {"files": [[str(self.module), unchanged]]}))
        reply = self._ask(request | {"files": [[str(self.module), request["source"]]]})
        return command.observe(reply, self._before, self.suite.command, str(self.module), end_of(reply, request))

    def survey(self, front: Sequence[str], *, enough: float, of_a_test: float) -> Survey:
        """Run all tests of the project as it is, `front` first, and trace the functions that they call.

        The run ends early when a test has failed and `enough` seconds have passed since the first test began; a test is
        cut off after `of_a_test` seconds.
        """
        request = self._request(b"")
        request |= {"survey": True, "front": list(front), "enough_seconds": enough, "test_seconds": of_a_test}
        reply = self._ask(request)
        self._before = command.baseline(reply)
        observation = command.observe(reply, self._before, self.suite.command, "", end_of(reply, request))
        return survey_of(reply["events"], observation)

    def run_files(
        self,
        files: Mapping[str, bytes],
        only: Sequence[str] | None,
        *,
        trace: bool = False,
        seconds: float | None = None,
        of_a_test: float | None = None,
    ) -> Observation:
        """Run tests of the project, after `survey`, with these sources of files; lines are counted through all files.

        `only` are the tests to run, in this order; None: all.  A test is cut off after `of_a_test` seconds.
        """
        assert self._before is not None
        sources = [[path, source.decode("latin-1")] for path, source in files.items()]
        request = self._request(b"", seconds)
        request |= {"files": sources, "only": None if only is None else list(only)}
        request |= {"trace": trace, "test_seconds": of_a_test}
        reply = self._ask(request)
        before = self._before if only is None else self._before | {"tests": list(only)}
        return command.observe(reply, before, self.suite.command, "", end_of(reply, request))

    def evaluate(
        self, source: bytes, calls: Sequence[str], setup: str = "", *, seconds: float | None = None
    ) -> list[CallResult]:
        """Evaluate each call expression with the program as a bare module; one result a call, in order.

        The exception is `Timeout` for the call that was running at the deadline (`ProcessDied`: at the process's own
        end) and `NotRun` for those after it; every call has `NotLoaded` where the program cannot be loaded.
        """
        request = self._request(source, seconds)
        reply = self._ask(request | {"kind": "calls", "asserts": [], "setup": setup, "calls": list(calls)})
        results: list[CallResult] = []
        begun = False
        for event in reply["events"]:
            if event["event"] == "begin":
                begun = True
            elif event["event"] == "call" and len(results) < len(calls):
                begun = False
                text = None if event["repr"] is None else event["repr"][:_REPR_LIMIT]  # a program may exceed it
                results.append(CallResult(calls[len(results)], text, event["exception"], event["round_trips"]))
        rest = calls[len(results) :]
        if begun and rest:
            results.append(CallResult(rest[0], exception="Timeout" if timed_out(reply) else "ProcessDied"))
            rest = rest[1:]
        missing = "NotRun" if results else "NotLoaded"
        return results + [CallResult(call, exception=missing) for call in rest]

    def close(self) -> None:
        """Kill the server and everything in it, a run of another thread's too, and remove its folder."""
        self._closed = True
        if self._lock.locked() and (server := self._server) is not None:
            server.process.kill()  # a thread that waits for its answer gets none
        with self._lock:
            if self._server is not None:
                self._server.stop()
                self._server = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> Server:
        config: Config = {
            "asserts": list(self.suite.asserts),
            "pytest_files": [str(path) for path in self.suite.pytest_files],
            "only": list(self.suite.only),
            "doctest": self.suite.doctest,
            "setup": self.suite.setup,
            "module": None if self.module is None else str(self.module),
            "limits": asdict(self.limits),
            "allow_weak": self.allow_weak,
            "home": str(Path.home()),
            "folder": os.getcwd(),
            "command": list(self.suite.command),
            "plan": self._plan,
            "scratch": "",  # the server's to fill in, as is the next
            "pythonpath": [],
        }
        executed = self._plan is not None and self._plan["pytest"] is None
        return Server(config, sys.executable if executed else self.python.path)

    def _ready(self) -> Server:
        if self._closed:
            raise RuntimeError("the sandbox is closed")
        if self._server is None or not self._server.alive():
            if self._server is not None:
                self._server.stop()
            self._server = self._start()
        return self._server

    def _ask(self, request: Request) -> Reply:
        with self._lock:
            server = self._ready()
            try:
                reply: Reply | None = server.ask(request, self.limits.seconds + _GRACE)
            except BaseException:  # Ctrl-C: its answer would be taken for the next one's
                server.stop()
                self._server = None
                raise
            if reply is None or reply["last"]:
                server.stop()
                self._server = None
            return lost() if reply is None else without_false_needs(reply)
