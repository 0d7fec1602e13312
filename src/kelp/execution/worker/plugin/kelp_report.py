"""A pytest plugin that reports the session it is loaded into, by `-p kelp_report`, to Kelp.

It runs in the project's own interpreter, which may know nothing of Kelp: it needs pytest 7 and Python 3.9.  It shares
the process with the program under test, so its report is trusted only as far as `command.py` can check it.
"""

from __future__ import annotations

import ast
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kelp_needs import NETWORK, Needs  # type: ignore[import-not-found]  # beside this file
from kelp_sides import computed, statements_around, uses  # type: ignore[import-not-found]

_LIMIT = 400  # characters kept of a repr or a message


def _text(make: Callable[[Any], str], value: Any) -> str:
    try:
        return make(value)[:_LIMIT]
    except BaseException as error:
        return f"<{type(value).__name__} whose text raises {type(error).__name__}>"


class _Program:
    """The file under repair: its lines in tracebacks, and those that are executed."""

    def __init__(self, path: str, send: Callable[..., None]):
        self.path, self.name, self.send = path, os.path.basename(path), send
        self.known: dict[str, bool] = {}
        self.seen: set[int] | None = None  # the lines that the running test has executed

    def is_at(self, path: str) -> bool:
        if path not in self.known:
            self.known[path] = os.path.basename(path) == self.name and os.path.realpath(path) == self.path
        return self.known[path]

    def line_of(self, error: BaseException) -> tuple[int | None, bool]:
        """The innermost line of the program on the traceback, and whether nothing else is below it."""
        line, innermost, traceback = None, False, error.__traceback__
        while traceback is not None:
            innermost = self.is_at(traceback.tb_frame.f_code.co_filename)
            line = traceback.tb_lineno if innermost else line
            traceback = traceback.tb_next
        if isinstance(error, SyntaxError) and error.filename and self.is_at(error.filename):
            line = error.lineno
        return line, innermost

    def executed(self, line: int) -> None:
        if self.seen is not None and line not in self.seen:
            self.seen.add(line)
            self.send(event="line", line=line)

    def trace(self) -> None:
        """Report the executed lines from now on; `untrace` puts any other trace function back."""
        self.seen = set()

        def local(frame: Any, event: str, _argument: Any) -> Any:
            if event == "line":
                self.executed(frame.f_lineno)
            return local

        def entered(frame: Any, _event: str, _argument: Any) -> Any:
            return local if self.is_at(frame.f_code.co_filename) else None

        self.before = sys.gettrace()
        threading.settrace(entered)
        sys.settrace(entered)

    def untrace(self) -> None:
        sys.settrace(self.before)
        threading.settrace(self.before)
        self.seen = None


class _Reporter:
    def __init__(self, send: Callable[..., None], program: _Program, traced: bool):
        self.send, self.program, self.traced = send, program, traced
        self.began: dict[str, float] = {}
        self.status: dict[str, str] = {}
        self.facts: dict[str, dict[str, Any]] = {}
        self.compared: tuple[str, str, str] | None = None
        self.needs = Needs(os.getcwd(), (), refused=(NETWORK,))  # processes may be started

    # Collecting

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.send(event="collected", names=[item.nodeid for item in session.items])

    def pytest_exception_interact(self, node: Any, call: Any) -> None:
        if isinstance(node, pytest.Collector):
            raised = call.excinfo.value
            error = raised.__cause__ or raised  # pytest wraps what an import raised
            line = self.program.line_of(error)[0]
            at = "" if line is None else f" line {line}"
            sentence = f"{type(error).__name__}{at}: {_text(str, error)} (while importing {node.nodeid or 'the tests'})"
            self.send(event="error", sentence=sentence, line=line, needs=self.needs.of(error))

    # Running

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.began[nodeid], self.compared, self.needs.attempted = time.perf_counter(), None, None
        self.send(event="begin", name=nodeid)

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Iterator[None]:
        if self.traced:
            self.program.trace()
        yield
        if self.traced:
            self.program.untrace()

    def pytest_assertrepr_compare(self, op: str, left: object, right: object) -> None:
        self.compared = (op, _text(repr, left), _text(repr, right))

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: Any) -> Iterator[None]:
        yield
        if call.excinfo is not None and item.nodeid not in self.facts:
            self.needs.folders = tuple(str(path) for path in item.path.parents if str(path).startswith(self.needs.home))
            self.facts[item.nodeid] = self.explain(call.excinfo.value, call.when, str(item.path))
            self.facts[item.nodeid]["needs"] = self.needs.of(call.excinfo.value)

    def explain(self, error: BaseException, when: str, test_file: str) -> dict[str, Any]:
        line, innermost = self.program.line_of(error)
        failed = isinstance(error, (AssertionError, pytest.fail.Exception)) and when == "call" and not innermost
        facts: dict[str, Any] = {"status": "fail" if failed else "error", "line": line}
        facts.update(exception=type(error).__name__, message=_text(str, error))
        traceback, frame, number = error.__traceback__, None, 0
        while traceback is not None:
            if traceback.tb_frame.f_code.co_filename == test_file:
                frame, number = traceback.tb_frame, traceback.tb_lineno
            traceback = traceback.tb_next
        around = statements_around(test_file, number)
        sides = _sides(around[-1]) if around else []
        if frame is None or not sides:
            return facts
        scope = [part for part in around if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef))][-1:]
        variables = {**frame.f_globals, **frame.f_locals}
        ranks = [computed(uses(side, scope, number), variables, self.program.path, test_file) for side in sides]
        if failed and len(sides) == 2 and self.compared and self.compared[0] == "==":
            values = self.compared[1:]
            at = int(ranks[1] > ranks[0])
            facts["got"], facts["expected"] = values[at], values[1 - at]
        else:
            calls = [any(isinstance(part, ast.Call) for part in ast.walk(side)) for side in sides]
            at = max(range(len(sides)), key=lambda at: (ranks[at], calls[at]))
        facts["call"] = ast.unparse(sides[at])
        return facts

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.status[report.nodeid] = "fail" if report.when == "call" else "error"
        elif report.skipped:
            self.status.setdefault(report.nodeid, "skip")
        elif report.when == "call":
            self.status.setdefault(report.nodeid, "pass")
        if report.failed and report.nodeid not in self.facts:  # it ran in another process
            crash = getattr(report.longrepr, "reprcrash", None)
            self.facts[report.nodeid] = {"message": str(getattr(crash, "message", ""))[:_LIMIT]}

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        status, facts = self.status.pop(nodeid, "error"), self.facts.pop(nodeid, {})
        if status == "skip" and facts.get("line") is not None:  # a program does not decide whether it is tested
            status, facts["message"] = "error", "skipped its own test"
        if status in ("pass", "skip"):
            facts = {}
        facts = dict({"status": status}, **facts)
        facts["needs"] = facts.get("needs") or self.needs.attempted
        self.send(event="outcome", name=nodeid, seconds=time.perf_counter() - self.began.get(nodeid, 0), **facts)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        self.send(event="finished")


def _sides(statement: ast.stmt) -> list[ast.expr]:
    """An assert's expression, or both sides where it compares."""
    if not isinstance(statement, ast.Assert):
        return []
    test = statement.test
    return [test.left, *test.comparators] if isinstance(test, ast.Compare) else [test]


def _connect() -> tuple[Callable[..., None], str, bool] | None:
    """Return (function that sends an event, the program's path, whether to trace); None except in the first pytest."""
    settings = os.environ.pop("KELP_REPORT", "")
    os.environ.pop("PYTEST_ADDOPTS", None)  # a session inside a test is not reported
    try:
        key_pipe, pipe, traced, path = settings.split(" ", 3)
        key = os.read(int(key_pipe), 64)
        os.close(int(key_pipe))
        os.set_inheritable(int(pipe), False)
    except (OSError, ValueError):
        return None
    lock, process_id, session_id = threading.Lock(), os.getpid, os.getpid()

    def send(**event: object) -> None:
        if process_id() != session_id:  # a fork of the session is not the session, even if it lives longer
            return
        line = key + json.dumps(event).encode() + b"\n"
        with lock:
            while line:
                line = line[os.write(int(pipe), line) :]

    return (send, path, traced == "1") if key else None


def pytest_addoption(pluginmanager: Any) -> None:
    """Called as soon as this file is loaded, which is before any of the project's own is."""
    connection = _connect()
    if connection is not None:
        send, path, traced = connection
        send(event="hello")
        pluginmanager.register(_Reporter(send, _Program(path, send), traced), "kelp_reporter")
