"""Test files, in the child process: pytest itself collects and runs them, and a small plugin reports."""

from __future__ import annotations

import importlib
import inspect
import os
import random
import re
import sys
import time
import unittest
from collections.abc import Callable, Generator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from _pytest import python
from _pytest.assertion import rewrite
from _pytest.unittest import TestCaseFunction

from kelp.execution.worker.candidate import Candidate, describe
from kelp.execution.worker.checks import TestChecks, label, same
from kelp.execution.worker.code_cache import TESTS
from kelp.execution.worker.events import Report
from kelp.execution.worker.folders import project_root
from kelp.execution.worker.plugin.kelp_failures import explain, safe_message, safe_repr
from kelp.execution.worker.protocol import Config, Request
from kelp.execution.worker.quick_start import prepare_session, skim_plugins
from kelp.execution.worker.test_sources import compile_file

# Plugins that only print, store or debug: a session starts sooner without them.
_UNUSED = "cacheprovider faulthandler junitxml pastebin setuponly setupplan stepwise terminalprogress"
_now = time.perf_counter


SKIPS = (pytest.skip.Exception, unittest.SkipTest)
RUNS = (vars(unittest.IsolatedAsyncioTestCase)["_callMaybeAsync"],)
_current: list[_Plugin] = []  # the running one, for functions that pytest does not hand it to


def prepare(files: list[str]) -> None:
    """In the server: compile the test files, and the conftest.py files beside them, once; prepare pytest and unittest.

    Pytest reads compiled tests through an internal function; were it gone, no test would count as the tests' own.
    """
    conftests = [str(folder / "conftest.py") for file in files for folder in Path(file).parents]
    TESTS.add((path for path in dict.fromkeys([*files, *conftests]) if os.path.isfile(path)), compile_file)
    read_pyc: Any = getattr(rewrite, "_read_pyc", None)
    vars(rewrite)["_read_pyc"] = lambda source, *rest: TESTS.get(str(source)) or read_pyc(source, *rest)
    function: Any = pytest.Function
    function.repr_failure = lambda item, excinfo, style=None: safe_message(excinfo.value)  # no more is shown
    _watch_unittest()
    _watch_async()
    unraisable: Any = importlib.import_module("_pytest.unraisableexception")
    unraisable.gc_collect_harder = lambda *_: None  # since 8.4, after the session, whose outcomes are known by then
    skim_plugins()
    prepare_session(_arguments(files))


def _arguments(files: list[str]) -> list[str]:
    arguments = [*files, "-q", "-s", "--override-ini=addopts=", "--override-ini=required_plugins="]
    arguments.append(f"--rootdir={os.path.commonpath([project_root(file) for file in files])}")
    return arguments + [f"-pno:{name}" for name in _UNUSED.split()]


def inner_test() -> Callable[[Any], Any]:
    """Return a function of C for the attributes of hypothesis' handle on a test; it raises TypeError for others."""
    handle = getattr(sys.modules.get("hypothesis.core"), "HypothesisHandle", ModuleType)
    return vars(handle)["__dict__"].__get__ if "__dict__" in vars(handle) else vars(ModuleType)["__dict__"].__get__


def _watch_unittest() -> None:
    """Patch unittest: it calls its test methods, and compares, through the plugin and `same`."""

    def call_test_method(case: unittest.TestCase, method: Any) -> None:
        plugin = _current[-1]
        plugin.call(method, getattr(case, "_callMaybeAsync", None), {})

    def base_assert_equal(case: unittest.TestCase, first: object, second: object, msg: str | None = None) -> None:
        if not same(first, second):
            standard = f"{safe_repr(first)} != {safe_repr(second)}"
            raise case.failureException(case._formatMessage(msg, standard))

    case: Any = unittest.TestCase
    case._baseAssertEqual = base_assert_equal
    for kind in (unittest.TestCase, unittest.IsolatedAsyncioTestCase):
        vars_of: Any = kind
        vars_of._callTestMethod = call_test_method
    function: Any = TestCaseFunction
    add_skip = function.addSkip

    def add_skip_and_report(item: Any, testcase: Any, reason: str, **rest: Any) -> None:
        _current[-1].skipped(item.nodeid)
        add_skip(item, testcase, reason, **rest)

    function.addSkip = add_skip_and_report


def _watch_async() -> None:
    """Have pytest, which before 8.4 skips an async test that no plugin runs, tell the plugin."""
    warn_and_skip: Any = getattr(python, "async_warn_and_skip", None)

    def skip_and_say(nodeid: str) -> None:
        try:
            warn_and_skip(nodeid)
        except SKIPS:
            _current[-1].skipped(nodeid)
            raise

    if warn_and_skip is not None:
        vars(python)["async_warn_and_skip"] = skip_and_say


def run_pytest(
    config: Config,
    request: Request,
    candidate: Candidate,
    report: Report,
    checks: TestChecks,
    *,
    collect_only: bool,
    finish: Callable[[], None] | None,
) -> None:
    """Run the suite's files in one session and report each test under its node id.

    `finish`, if given, is called when the session is over and the run needs nothing more.
    """
    arguments = _arguments(config["pytest_files"])
    arguments += ["--maxfail=1"] * request["stop_on_failure"] + ["--collect-only"] * collect_only
    plugin = _Plugin(config["only"], request, candidate, report, checks, finish)
    _current.append(plugin)
    code = pytest.main(arguments, plugins=[plugin])
    if plugin.collected is None and not plugin.broken:
        report.error(f"pytest could not start (exit status {int(code)}); its output says why")


def _may_skip(item: pytest.Item) -> bool:
    """Return whether the test's own markers allow it to be skipped, or expect it to fail."""
    if any(item.get_closest_marker(name) for name in ("skip", "skipif", "xfail")):
        return True
    return getattr(getattr(item, "obj", None), "__unittest_expecting_failure__", False) is True


def _is_of(test: str, names: list[str]) -> bool:
    """Return whether a test is one of the node ids, or of the class or function that one of them names."""
    return any(test == name or test.startswith((f"{name}::", f"{name}[")) for name in names)


def _shuffle(items: list[pytest.Item], seed: int) -> None:
    """Put the tests into another order; those of a file and of a class stay together, as their fixtures want it."""
    rng = random.Random(seed)
    place: dict[Any, float] = {}
    for item in items:
        for part in (item.path, item.parent, item):
            place.setdefault(part, rng.random())
    items.sort(key=lambda item: [place[part] for part in (item.path, item.parent, item)])


class _Plugin:
    def __init__(
        self,
        only: list[str],
        request: Request,
        candidate: Candidate,
        report: Report,
        checks: TestChecks,
        finish: Callable[[], None] | None,
    ):
        self.only, self.first, self.shuffle = only, request["first"], request["shuffle"]
        self.candidate, self.report, self.checks, self.finish = candidate, report, checks, finish
        self.called = False  # the running test's function was called, so that it is known whether it skips
        self.calling = False  # it is running
        self.nodeid = ""
        self.import_mode: str | None = None
        self.collected: int | None = None
        self.broken = False  # an error has been reported
        self.began = 0.0
        self.verdict: dict[str, Any] = {}  # of the running test; empty: nothing has gone wrong yet
        self.facts: dict[str, Any] = {}  # about its first exception
        self.compared: tuple[str, str, str] | None = None

    def fail_session(self, what: str, error: BaseException) -> None:
        if not self.broken:
            line = self.candidate.line_of(error)
            self.report.error(f"{describe(error, line)} (while {what})", line, self.report.needs.of(error))
        self.broken = True

    # Loading and collecting

    @pytest.hookimpl(wrapper=True)
    def pytest_load_initial_conftests(self, early_config: pytest.Config) -> Generator[None, Any, Any]:
        if early_config.inipath is not None:  # the one option in the file that decides what can be imported
            option = re.search(r"--import-mode[= ](\w+)", early_config.inipath.read_text("utf-8", "replace"))
            if option is not None:
                self.import_mode = early_config.known_args_namespace.importmode = option[1]
        try:
            return (yield)
        except BaseException as error:
            cause = getattr(error, "cause", error)
            path = getattr(error, "path", None)
            self.fail_session(f"loading {Path(path).name if path else 'pytest'}", cause)
            raise

    def pytest_configure(self, config: pytest.Config) -> None:
        if self.import_mode is not None:
            config.option.importmode = self.import_mode

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> Generator[None, Any, Any]:
        what = f"importing {collector.nodeid or 'the tests'}"
        try:
            report = yield
        except BaseException as error:
            self.fail_session(what, error)
            raise
        raised = getattr(getattr(report.call, "excinfo", None), "value", None)
        if raised is not None:
            raised = raised.__cause__ or raised  # pytest wraps what an import raised
            if report.failed or self.candidate.line_of(raised) is not None:  # skipped, but by the program
                self.fail_session(what, raised)
        return report

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self.only:
            items[:] = [item for item in items if _is_of(f"{item.path}::{item.nodeid.partition('::')[2]}", self.only)]
        if self.shuffle is not None:
            _shuffle(items, self.shuffle)
        items.sort(key=lambda item: item.nodeid != self.first)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.collected = len(session.items)
        for item in session.items:
            self.report.send("test", name=item.nodeid, label=label(getattr(item, "obj", None)))
        for item in session.items:
            if _may_skip(item):
                self.report.verdict(item.nodeid, "skip")

    # Running

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.verdict, self.facts, self.compared, self.began = {}, {}, None, _now()
        self.nodeid, self.called = nodeid, False
        self.report.begin(nodeid)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, Any, Any]:  # fixtures may call the program
        with self.candidate.recording(self.report.line):
            try:
                return (yield)
            except SKIPS:
                self.skipped(item.nodeid)
                raise

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Generator[None, Any, Any]:
        with self.candidate.recording(self.report.line):
            return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool | None:
        if inspect.iscoroutinefunction(pyfuncitem.obj) or inspect.isasyncgenfunction(pyfuncitem.obj):
            return None  # pytest itself reports that it needs a plugin, or skips it
        names = pyfuncitem._fixtureinfo.argnames
        self.call(pyfuncitem.obj, None, {name: pyfuncitem.funcargs[name] for name in names})
        return True

    def call(self, test: Any, run: Any, arguments: dict[str, Any]) -> None:
        """Call a function of the tests, through `run` if there is one, and report how it ends if it is their own."""
        if self.calling:
            self.report.tampered("a test was called while another ran")
        if (file := self.checks.intruder()) is not None:
            self.report.tampered(f"code that is not theirs took part in running the tests ({file})")
        name, function = self.nodeid, self.checks.function(self.nodeid, test, run)
        self.called = self.calling = True
        if function is None:
            self.report.send("unknown", name=name)
        try:
            test(**arguments) if run is None else run(test)
        except SKIPS as skip:
            if function is not None and not self.checks.through_program(skip):
                self.report.verdict(name, "skip")
            raise
        finally:
            self.calling = False
        if function is not None:
            if (change := self.checks.replaced(function)) is not None:
                self.report.tampered(change)
            self.report.verdict(name, "pass")

    def skipped(self, nodeid: str) -> None:
        if not self.called:
            self.report.verdict(nodeid, "skip")

    def pytest_assertrepr_compare(self, op: str, left: object, right: object) -> None:
        self.compared = (op, safe_repr(left), safe_repr(right))

    def pytest_exception_interact(self, node: pytest.Item | pytest.Collector, call: Any) -> None:
        if isinstance(node, pytest.Item) and not self.facts:
            error, file = call.excinfo.value, str(node.path)
            line, own = self.candidate.line_of(error), self.candidate.is_at(file)
            failed = isinstance(error, (AssertionError, pytest.fail.Exception)) and (line is None or own)
            program = self.candidate.filename
            try:
                self.facts = explain(error, file, self.compared, line=line, failed=failed, program=program, own=own)
            except BaseException:  # the values that it reads are the program's, and may do anything
                self.facts = {"status": "error", "exception": type(error).__name__, "message": "cannot be explained"}
            if call.when != "call":
                self.facts["status"] = "error"
            self.facts["needs"] = self.report.needs.of(error)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, call: Any) -> Generator[None, Any, Any]:
        report = yield
        if report.skipped and call.excinfo is not None and not hasattr(report, "wasxfail"):
            line = self.candidate.line_of(call.excinfo.value)
            if line is not None:  # a program does not decide whether it is tested
                self.facts = {
                    "status": "error",
                    "exception": "Skipped",
                    "line": line,
                    "message": "skipped its own test",
                }
        return report

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:  # pytest_exception_interact, which comes later, has the details
            self.verdict = {"status": "fail", "message": str(report.longrepr)[-200:]}
        elif report.skipped and not self.verdict:
            self.verdict = {"status": "skip"}

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        facts = self.facts or self.verdict or {"status": "pass"}
        self.report.outcome(nodeid, seconds=_now() - self.began, **facts)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        if self.finish is not None and self.collected is not None:
            self.finish()
