"""One run, in a process forked for it: protect the machine, load the program and run its tests."""

from __future__ import annotations

import ast
import contextlib
import os
import random
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

from kelp.execution.worker import protection, seccomp
from kelp.execution.worker.bare_asserts import Named, Test, call_of, run_calls, run_test
from kelp.execution.worker.candidate import BARE_MODULE, Candidate, describe, dotted_name
from kelp.execution.worker.checks import Snapshot, TestChecks, changed
from kelp.execution.worker.code_cache import PROJECT, TESTS
from kelp.execution.worker.events import Report
from kelp.execution.worker.folders import LIBRARIES, WORKER, import_path, prefixes, work_folder, work_folders
from kelp.execution.worker.leaves import imports
from kelp.execution.worker.plugin.kelp_needs import Needs
from kelp.execution.worker.protocol import Config, Request
from kelp.execution.worker.verdict import adapted
from kelp.execution.worker.view import write_sources


class Known:
    """Facts of a suite that its server finds out once, for every run.

    `labels`: by test function, the file and name of its code; `before`: functions and classes that must not change;
    `trusted`: prefixes of the files that a run may read, `readable`.
    """

    def __init__(self, config: Config, readable: list[str], writable: list[str]):
        self.config = config
        self.work_folder = work_folder(config, writable)
        self.work_folders = work_folders(config)
        self.trusted = prefixes(readable)
        self.labels: dict[str, set[str]] = {}
        self.before: Snapshot = []


def be_child(
    known: Known, request: Request, asserts: list[Test], secret: str, confinement: Confinement, pipe: int
) -> Callable[[], NoReturn]:
    """Do everything between the fork and the first line of the program.

    The caller calls the returned function, which ends the process, from a stack without frames of the server.
    """
    of_suite = request["asserts"] is None
    if of_suite and confinement.open:
        with contextlib.suppress(OSError):  # of another user: the processes that it starts see the file as it is
            write_sources(sources(request))
    os.chdir(known.work_folder)
    active = confinement.enter()
    close_all_but(pipe)
    needs = Needs(known.config["scratch"], known.work_folders, inside=confinement.open)
    report = Report(pipe, secret, needs, stop_on_failure=request["stop_on_failure"])
    if request["kind"] == "probe":
        report.send("protections", active=active)
        report.done()
    random.seed(0)  # the same program gives the same observation
    sys.path[:] = import_path(known.config, of_suite=of_suite)
    return partial(_run, known, request, asserts, report)


@dataclass(frozen=True)
class Confinement:
    """Confinement of runs.

    `ruleset` is a Landlock ruleset, `size` from `own_size`, `limits` are those of a run. `open`: the runs have
    namespaces and a view of the file system of their own, so that they may do whatever stays inside.
    """

    ruleset: int | None
    open: bool
    size: int | None
    limits: dict[str, Any]

    def enter(self) -> dict[str, str]:
        """Confine this process for good, and return the active protections."""
        resources = "rlimits, processes and memory counted 20 times a second" if self.open else "rlimits"
        active = {"resources": resources, "privileges": "none", "files": "none"}
        protection.limit_resources(self.limits, self.size)
        self._enter_files(active)
        what = "no sockets but inside" if self.open else "no sockets, processes or signals"
        if seccomp.forbid_calls(open=self.open):
            active["calls"] = f"seccomp: {what}"
        elif self.open:
            active["calls"] = "none"
        else:
            protection.forbid_events()
            active["calls"] = f"audit hook: {what}"
        return active

    def enter_server(self) -> None:
        """Confine the server, which imports and compiles what runs have named, to what a run may reach."""
        if self.open:
            protection.drop_privileges()
            seccomp.forbid_calls(open=True)
        else:  # it could not clear the scratch folder away without some of the calls
            self._enter_files({})

    def _enter_files(self, active: dict[str, str]) -> None:
        if protection.drop_privileges():
            active["privileges"] = "capabilities dropped, no_new_privs"
            if self.ruleset is not None and protection.restrict_files(self.ruleset):
                active["files"] = "Landlock: reads of libraries and project, writes to copies and scratch folder only"


def become_run(output: int) -> None:
    """Make this fork of the server a session of its own that ends with the server and prints to `output`."""
    os.setsid()
    protection.die_with_parent()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # process 1 has none


def sources(request: Request) -> dict[str, bytes]:
    """The files of a request with their sources."""
    return {path: source.encode("latin-1") for path, source in request["files"]}


def close_all_but(*kept: int) -> None:
    """Close all descriptors but 0, 1, 2 and these."""
    last = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 4096)
    for low, high in zip([2, *sorted(kept)], [*sorted(kept), last]):
        os.closerange(low + 1, high)


def _run(known: Known, request: Request, asserts: list[Test], report: Report) -> NoReturn:
    """Run everything, in the suite's order except for the test to run first, and end the process."""
    try:
        config, of_suite = known.config, request["asserts"] is None
        candidate = Candidate(request["source"].encode("latin-1"), config["module"] if of_suite else None)
        if request["trace"]:
            candidate.trace()
        setup = config["setup"] if request["setup"] is None else request["setup"]
        files = _Files(known, request, candidate, report) if of_suite and config["pytest_files"] else None
        kind, first, wants_examples = request["kind"], request["first"], of_suite and config["doctest"]
        wants_module = bool(asserts or wants_examples or kind == "calls" or files is None)
        bound = {}
        if kind != "rehearsal":  # which judges nothing
            bound = _read(candidate, asserts, report, wants_examples)  # before anything else is reported
        for test in asserts:
            report.send("test", name=test.text)
        asserts = [adapted(test, bound, setup) for test in asserts]
        namespace = _load(candidate, setup, report, wants_module)
        if namespace is None:
            report.done()
        if kind == "calls":
            run_calls(request["calls"], namespace, report=report, limit=request["repr_limit"])
            report.done()

        def begin(name: str, sides: tuple[Named, ...], namespace: dict[str, Any] | None) -> None:
            report.begin(name, call_of(sides, namespace, candidate.filename))
            candidate.record(report.line)

        parts: list[tuple[str, Callable[[], None]]] = []
        for test in asserts:
            parts.append((test.text, partial(run_test, test, namespace, candidate, report, begin)))
        parts.sort(key=lambda part: part[0] != first)
        examples: list[tuple[str, Callable[[], None]]] = []
        if wants_examples:
            from kelp.execution.worker import doctests

            for each in doctests.find(sys.modules[_module_name(candidate)]):
                report.send("test", name=each.name)
                examples.append((each.name, partial(doctests.run_test, each, candidate, report, begin)))
            examples.sort(key=lambda part: part[0] != first)
        parts = examples + parts if examples and examples[0][0] == first else parts + examples
        files_first = first is not None and all(name != first for name, _ in parts)
        if files is not None and files_first:
            files.run(collect_only=False, last=False)
        for _, run in parts:
            if not report.stopped and kind != "rehearsal":
                run()
        if files is not None and not files_first:  # after a stop its tests need not run but still count
            files.run(collect_only=report.stopped, last=True)
        if files is None or not files.finished:  # else pytest has only printed its summary since
            if kind == "rehearsal":
                _list_modules(report)
            _flush()
        if files is not None and (change := changed(known.before)) is not None:
            report.tampered(f"{change} was replaced while the tests ran")
        report.done()
    except BaseException:
        os._exit(71)


def _read(candidate: Candidate, asserts: list[Test], report: Report, wants_examples: bool) -> dict[str, str]:
    """Read the program's text before it runs, and report what the tests are judged by; return the names it binds."""
    names = {name for test in asserts for name in test.names} | {"*"}
    bound: dict[str, str] = {}
    found: dict[str, Any] = {}
    if asserts or wants_examples:
        with contextlib.suppress(Exception):
            tree = ast.parse(candidate.source)
            bound = {name: path for name, path in imports(tree).items() if name in names}
            if wants_examples:
                from kelp.execution.worker import doctests

                found = doctests.examples(tree, _module_name(candidate))
    report.send("source", names=bound, examples=found)
    return bound


def _module_name(candidate: Candidate) -> str:
    return BARE_MODULE if candidate.path is None else dotted_name(candidate.path)


def _load(candidate: Candidate, setup: str, report: Report, wants_module: bool) -> dict[str, Any] | None:
    """Load the program; return the namespace that its asserts read, or None where it cannot be loaded."""
    name = "the program" if candidate.path is None else os.path.basename(candidate.path)
    try:
        candidate.compile()  # pytest need not start for a program that does not compile
        candidate.install()
        return candidate.load(setup) if wants_module else {}
    except BaseException as error:
        line = candidate.line_of(error)
        report.error(f"{describe(error, line)} (while loading {name})", line, report.needs.of(error))
        return None


class _Files:
    """The test files of a run."""

    def __init__(self, known: Known, request: Request, candidate: Candidate, report: Report):
        from kelp.execution.worker import pytest_run, test_sources

        self.config, self.request, self.candidate, self.report = known.config, request, candidate, report
        self.finished = False
        test_sources.refresh(candidate)
        libraries = () if candidate.filename.startswith(LIBRARIES) else (*LIBRARIES, "<built-in>")
        self.checks = TestChecks(
            candidate.filename,
            os.path.join(known.config["scratch"], ""),
            (WORKER, "<frozen", *known.trusted),
            known.labels,
            tests={id(code): code for codes in (TESTS.codes(), PROJECT.codes()) for code in codes},
            words=test_sources.words(libraries),
            runs=pytest_run.RUNS,
            inner_test=pytest_run.inner_test(),
        )

    def run(self, *, collect_only: bool, last: bool) -> None:
        """Run pytest; the `last` run flushes its output when the session is over."""
        from kelp.execution.worker import pytest_run

        kind = self.request["kind"]

        def finish() -> None:
            _flush()
            self.finished = True

        pytest_run.run_pytest(
            self.config, self.request, self.candidate, self.report, self.checks,
            collect_only=collect_only or kind == "rehearsal", finish=finish if last and kind == "tests" else None,
        )  # fmt: skip


def _list_modules(report: Report) -> None:
    modules = dict(sys.modules)
    paths = {name: getattr(module, "__file__", None) for name, module in modules.items()}
    loaders = {name: type(getattr(module, "__loader__", None)).__name__ for name, module in modules.items()}
    rewritten = [paths[name] for name in paths if loaders[name] == "AssertionRewritingHook"]
    report.send("modules", files=paths, rewritten=rewritten)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):
            stream.flush()
