"""A pytest plugin that reports the session it is loaded into, by `-p kelp_report`, to Kelp.

It runs in the project's own interpreter, which may know nothing of Kelp: it needs pytest 7 and Python 3.9.  It shares
the process with the program under test, so its report is trusted only as far as `command.py` can check it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from traceback import walk_tb
from typing import Any

import pytest
from kelp_failures import explain, safe_message, safe_repr  # type: ignore[import-not-found]  # beside this file
from kelp_lines import Lines, monitor, monitoring, trace  # type: ignore[import-not-found]
from kelp_needs import Needs  # type: ignore[import-not-found]

_ROUNDS = 3  # limits of time that a test gets if it computes for less than half of one
_FRAMES = 20  # of the project, kept of a traceback


class _Program:
    """The files under repair: their lines in tracebacks. `offsets`: the number of lines before those of each file."""

    def __init__(self, root: str, offsets: dict[str, int]):
        self.inside, self.offsets = os.path.join(root, ""), offsets
        self.names = {os.path.basename(path) for path in offsets}
        self.known: dict[str, int | None] = {}

    def offset(self, path: str) -> int | None:
        """Number of lines before those of the file; None for any other file."""
        if path not in self.known:
            there = os.path.basename(path) in self.names
            self.known[path] = self.offsets.get(os.path.realpath(path)) if there else None
        return self.known[path]

    def line_of(self, error: BaseException) -> tuple[int | None, bool]:
        """The innermost line of the program on the traceback, and whether nothing else is below it."""
        line, offset = None, None
        for frame, number in walk_tb(error.__traceback__):
            offset = self.offset(frame.f_code.co_filename)
            line = line if offset is None else offset + number
        if isinstance(error, SyntaxError) and error.filename and error.lineno:
            at = self.offset(error.filename)
            line = line if at is None else at + error.lineno
        return line, offset is not None

    def frames(self, error: BaseException) -> tuple[list[str], list[int]]:
        """Files of the project on the traceback, and lines in them, the innermost last."""
        places = [(frame.f_code.co_filename, line) for frame, line in walk_tb(error.__traceback__)]
        inside = [place for place in places if place[0].startswith(self.inside)][-_FRAMES:]
        return [path for path, _ in inside], [line for _, line in inside]


class _Functions:
    """Functions of the project that the running test calls, reported when it ends, or every second while it runs."""

    def __init__(self, program: _Program, send: Callable[..., None]):
        self.inside, self.send = program.inside, send
        self.codes: dict[int, tuple[int, Any]] = {}  # by id: the number of a function, -1 for others, and the code
        self.count = 0
        self.reached: set[int] = set()
        self.watched = ""  # the running test
        self.monitored = False
        threading.Thread(target=self._watch, daemon=True).start()

    def number(self, code: Any) -> int:
        known = self.codes.get(id(code))
        if known is not None:
            return known[0]
        path, number = code.co_filename, -1
        if path.startswith(self.inside) and "site-packages" not in path and code.co_name != "<module>":
            number, self.count = self.count, self.count + 1
            self.send(event="code", path=path, line=code.co_firstlineno)
        self.codes[id(code)] = number, code
        return number

    def start(self, name: str = "") -> None:
        self.reached, self.watched = set(), name
        if monitoring is None:
            self.before = trace(self._entered)
        elif not self.monitored:  # from now on, since functions of others are left alone after their first call
            self.monitored = True
            monitor({monitoring.events.PY_START: self._started}, monitoring.events.PY_START)

    def stop(self, name: str) -> None:
        if monitoring is None:
            trace(self.before)
        self.watched = ""
        self.send(event="reached", name=name, codes=sorted(self.reached))

    def _entered(self, frame: Any, _event: str, _argument: Any) -> Any:
        number = self.number(frame.f_code)
        if number >= 0:
            self.reached.add(number)

    def _started(self, code: Any, _at: int) -> Any:
        number = self.number(code)
        if number < 0:
            return monitoring.DISABLE
        self.reached.add(number)
        return None

    def _watch(self) -> None:
        """Report a test that may never end."""
        before = ""
        while True:
            time.sleep(1.0)
            if self.watched and self.watched == before:
                self.send(event="reached", name=self.watched, codes=sorted(self.reached.copy()))
            before = self.watched


_Failed: Any = pytest.fail.Exception


class _Slow(_Failed):  # `except Exception` of a program lets it through
    """Raised in a test that takes too long."""


class _Reporter:
    def __init__(self, send: Callable[..., None], settings: dict[str, Any]):
        self.send, self.settings = send, settings
        self.program = _Program(settings["root"], dict(settings["files"]))
        self.only: list[str] | None = settings["only"]
        self.lines = (
            Lines(self.program.offset, lambda line: send(event="line", line=line)) if settings["trace"] else None
        )
        self.functions = _Functions(self.program, send) if settings["survey"] else None
        self.opened = time.perf_counter()
        self.failed = False
        self.began: dict[str, float] = {}
        self.status: dict[str, str] = {}
        self.facts: dict[str, dict[str, Any]] = {}
        self.compared: tuple[str, str, str] | None = None
        self.needs = Needs(os.getcwd(), (), inside=True)

    # Collecting

    @pytest.hookimpl(hookwrapper=True)
    def pytest_load_initial_conftests(self, early_config: pytest.Config) -> Iterator[None]:
        if self.apart:
            vars(early_config.known_args_namespace)["cov_source"] = []  # pytest-cov would trace everything
        yield

    def pytest_configure(self, config: pytest.Config) -> None:
        vars(config.option)["dist"] = "no"  # pytest-xdist's workers would report nothing
        if self.apart:
            vars(config.option).update(maxfail=0, continue_on_collection_errors=True)
        if self.only is not None:  # nobody reads these tracebacks, and those with source text search all modules for it
            vars(config.option)["tbstyle"] = "native"

    @property
    def apart(self) -> bool:
        """Return whether a file that cannot be imported is a failing test like others."""
        return self.functions is not None or self.only is not None

    @pytest.hookimpl(hookwrapper=True)
    def pytest_collection(self, session: pytest.Session) -> Iterator[None]:
        if self.only is not None:
            root = str(session.config.rootpath)
            self.wanted = {os.path.join(root, name.partition("::")[0]) for name in self.only}
        if self.functions is None or monitoring is None:  # a trace function would take longer than the rest
            yield
            return
        self.functions.start()
        yield
        self.functions.stop("")

    def pytest_ignore_collect(self, collection_path: Any) -> bool | None:
        if self.only is None or collection_path.name in ("__init__.py", "conftest.py"):
            return None
        path, folder = str(collection_path), os.path.join(str(collection_path), "")
        return None if any(file == path or file.startswith(folder) for file in self.wanted) else True

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self.only is not None:
            turn = {name: number for number, name in enumerate(self.only)}
            whole = {name for name in self.only if "::" not in name}  # files that could not be imported
            kept = [item for item in items if item.nodeid in turn or item.nodeid.partition("::")[0] in whole]
            items[:] = sorted(kept, key=lambda item: turn.get(item.nodeid, -1))
        elif self.settings["front"]:
            front = set(self.settings["front"])
            items.sort(key=lambda item: not {item.nodeid, item.nodeid.partition("[")[0]} & front)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.session, self.opened = session, time.perf_counter()
        self.send(event="collected", names=[item.nodeid for item in session.items])

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if self.only is not None and report.passed and report.nodeid in self.only:
            self.send(event="outcome", name=report.nodeid, status="pass", seconds=0.0)

    def pytest_exception_interact(self, node: Any, call: Any) -> None:
        if isinstance(node, pytest.Collector):
            raised = call.excinfo.value
            error = raised.__cause__ or raised  # pytest wraps what an import raised
            line, needs = self.program.line_of(error)[0], self.needs.of(error)
            if self.apart and node.nodeid:
                facts = {"status": "error", "exception": type(error).__name__, "message": safe_message(error)}
                self.send(event="outcome", name=node.nodeid, seconds=0.0, line=line, needs=needs, **facts)
                self.raised(node.nodeid, error)
                return
            at = "" if line is None else f" line {line}"
            sentence = (
                f"{type(error).__name__}{at}: {safe_message(error)} (while importing {node.nodeid or 'the tests'})"
            )
            self.send(event="error", sentence=sentence, line=line, needs=needs)

    def raised(self, name: str, error: BaseException) -> None:
        if self.functions is not None:
            paths, lines = self.program.frames(error)
            self.send(event="raised", name=name, paths=paths, lines=lines)

    # Running

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.began[nodeid], self.compared = time.perf_counter(), None
        self.needs.forget()
        self.send(event="begin", name=nodeid)

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        if self.lines is not None:
            self.lines.start()
        if self.functions is not None:
            self.functions.start(item.nodeid)
        yield
        if self.lines is not None:
            self.lines.stop()
        if self.functions is not None:
            self.functions.stop(item.nodeid)

    @pytest.hookimpl(hookwrapper=True, trylast=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        seconds = self.settings["test_seconds"]
        if seconds is None or signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL:
            yield
            return

        began, rounds = time.process_time(), 1

        def alarm(*_: Any) -> None:
            nonlocal rounds
            if time.process_time() - began < seconds / 2 and rounds < _ROUNDS:  # it waits, or others use the machine
                rounds += 1
                signal.setitimer(signal.ITIMER_REAL, seconds)
                return
            raise _Slow(f"it did not end within {rounds * seconds:g} s")

        signal.signal(signal.SIGALRM, alarm)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        yield
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)

    def pytest_assertrepr_compare(self, op: str, left: object, right: object) -> None:
        self.compared = (op, safe_repr(left), safe_repr(right))

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: Any) -> Iterator[None]:
        yield
        if call.excinfo is not None and item.nodeid not in self.facts:
            self.needs.folders = tuple(str(path) for path in item.path.parents if str(path).startswith(self.needs.home))
            self.facts[item.nodeid] = self.explain(call.excinfo.value, call.when, str(item.path))
            self.facts[item.nodeid]["needs"] = self.needs.of(call.excinfo.value)
            self.raised(item.nodeid, call.excinfo.value)

    def explain(self, error: BaseException, when: str, test_file: str) -> dict[str, Any]:
        line, innermost = self.program.line_of(error)
        if isinstance(error, _Slow):
            return {"status": "timeout", "line": line, "message": safe_message(error)}
        own = self.program.offset(test_file) is not None
        failed = isinstance(error, (AssertionError, pytest.fail.Exception)) and when == "call"
        failed = failed and (own or not innermost)
        program = next(iter(self.program.offsets), None)
        return explain(error, test_file, self.compared, line=line, failed=failed, program=program, own=own)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.status[report.nodeid] = "fail" if report.when == "call" else "error"
        elif report.skipped:
            self.status.setdefault(report.nodeid, "skip")
        elif report.when == "call":
            self.status.setdefault(report.nodeid, "pass")
        if report.failed and report.nodeid not in self.facts:  # it ran in another process
            crash = getattr(report.longrepr, "reprcrash", None)
            self.facts[report.nodeid] = {"message": str(getattr(crash, "message", ""))[:400]}

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        status, facts = self.status.pop(nodeid, "error"), self.facts.pop(nodeid, {})
        if status == "skip" and facts.get("line") is not None:  # a program does not decide whether it is tested
            status, facts["message"] = "error", "skipped its own test"
        if status in ("pass", "skip"):
            facts = {}
        facts = dict({"status": status}, **facts)
        facts["needs"] = facts.get("needs") or self.needs.attempted
        self.send(event="outcome", name=nodeid, seconds=time.perf_counter() - self.began.get(nodeid, 0), **facts)
        self.failed = self.failed or (status not in ("pass", "skip") and facts["needs"] is None)
        enough = self.settings["enough_seconds"]
        if enough is not None and self.failed and time.perf_counter() - self.opened > enough:
            self.session.shouldstop = "enough is known to search for a repair"

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        self.send(event="finished")

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:  # plugins import libraries for their summaries
        if self.settings["modules"]:
            modules = dict(sys.modules)
            files = {name: getattr(module, "__file__", None) for name, module in modules.items()}
            files = {name: file for name, file in files.items() if isinstance(name, str) and isinstance(file, str)}
            self.send(event="modules", files=files, rewritten=[])


def _connect() -> tuple[Callable[..., None], dict[str, Any]] | None:
    """Return (function that sends an event, settings of `command_run.py`); None except in the first pytest."""
    text = os.environ.pop("KELP_REPORT", "")
    os.environ.pop("PYTEST_ADDOPTS", None)  # a session inside a test is not reported
    try:
        settings = json.loads(text)
        pipe = settings["pipe"]
        key = os.read(settings["key"], 64)
        os.close(settings["key"])
        os.set_inheritable(pipe, False)
    except (OSError, ValueError):
        return None
    lock, process_id, session_id = threading.Lock(), os.getpid, os.getpid()

    def send(**event: object) -> None:
        if process_id() != session_id:  # a fork of the session is not the session, even if it lives longer
            return
        line = key + json.dumps(event).encode() + b"\n"
        with lock:
            while line:
                line = line[os.write(pipe, line) :]

    return (send, settings) if key else None


def pytest_addoption(pluginmanager: Any) -> None:
    """Called as soon as this file is loaded, which is before any of the project's own is."""
    connection = _connect()
    if connection is not None:
        send, settings = connection
        send(event="hello")
        pluginmanager.register(_Reporter(send, settings), "kelp_reporter")
