"""One run, in a process forked for it: protect the machine, load the program and run its tests."""

from __future__ import annotations

import ast
import contextlib
import os
import random
import resource
import signal
import sys
import sysconfig
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from kelp.execution.worker import protection, seccomp
from kelp.execution.worker.bare_asserts import Named, Test, call_of, run_calls, run_test
from kelp.execution.worker.candidate import (
    BARE_MODULE,
    SITES,
    Candidate,
    describe,
    dotted_name,
    holds_home,
    package_root,
    project_root,
)
from kelp.execution.worker.checks import Snapshot, TestChecks, changed
from kelp.execution.worker.code_cache import PROJECT, TESTS
from kelp.execution.worker.events import Report
from kelp.execution.worker.leaves import imports
from kelp.execution.worker.plugin.kelp_needs import Needs
from kelp.execution.worker.protocol import Config, Request
from kelp.execution.worker.verdict import adapted
from kelp.execution.worker.view import write_sources

_INSTALLED = [path for path in sys.path if os.path.basename(path) in SITES]  # the user's, and others' by a .pth file
LIBRARIES = tuple(
    os.path.join(path, "")
    for path in dict.fromkeys([*map(sysconfig.get_path, ("stdlib", "platstdlib", "purelib", "platlib")), *_INSTALLED])
)
WORKER = os.path.join(os.path.dirname(__file__), "")


def be_child(
    config: Config,
    request: Request,
    asserts: list[Test],
    labels: dict[str, set[str]],
    trusted_files: tuple[str, ...],
    secret: str,
    before: Snapshot,
    confinement: Confinement,
    pipe: int,
) -> Callable[[], NoReturn]:
    """Do everything between the fork and the first line of the program.

    The caller calls the returned function, which ends the process, from a stack without frames of the server.
    """
    if request["asserts"] is None and confinement.open:
        with contextlib.suppress(OSError):  # of another user: the processes that it starts see the file as it is
            write_sources(sources(request))
    os.chdir(_work_folder(config, confinement.writable) if confinement.open else config["scratch"])
    active = confinement.enter(config["limits"])
    close_all_but(pipe)
    needs = Needs(config["scratch"], _work_folders(config), inside=confinement.open)
    report = Report(pipe, secret, needs, stop_on_failure=request["stop_on_failure"])
    if request["kind"] == "probe":
        report.protections(active)
        report.done()
    random.seed(0)  # the same program gives the same observation
    sys.path[:] = _import_path(config, request)
    return partial(_run, config, request, asserts, labels, trusted_files, report, before)


@dataclass(frozen=True)
class Confinement:
    """Confinement of runs.

    `ruleset` is a Landlock ruleset, `size` from `own_size`. `open`: the runs have namespaces and a view of the file
    system of their own, so that they may do whatever stays inside; then `writable` are the folders to write to.
    """

    ruleset: int | None
    open: bool
    size: int | None
    writable: tuple[str, ...] = ()

    def enter(self, limits: dict[str, Any]) -> dict[str, str]:
        """Confine this process for good, with the limits of a run, and return the active protections."""
        resources = "rlimits, processes and memory counted 20 times a second" if self.open else "rlimits"
        active = {"resources": resources, "privileges": "none", "files": "none"}
        protection.limit_resources(limits, self.size)
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


def close_all_but(pipe: int) -> None:
    os.closerange(3, pipe)
    os.closerange(pipe + 1, min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 4096))


def _import_path(config: Config, request: Request) -> list[str]:
    """Import path: the folders of the module and the tests as when run by hand, around the interpreter's own."""
    front: list[str] = []
    back: list[str] = []
    if config["module"] and request["asserts"] is None:
        front.append(package_root(config["module"]))
        back.append(os.path.dirname(config["module"]))  # last, so that a package's `types.py` hides nothing
    for file in config["pytest_files"]:
        folder, root = os.path.dirname(file), project_root(file)
        back += [folder, root, os.path.join(root, "src")]
    return list(dict.fromkeys([*front, *config["pythonpath"], *sys.path, *back]))


def _work_folders(config: Config) -> list[str]:
    """Folders in which a person may run the tests: where Kelp runs, and from the project's root down to the files."""
    work_folders = [config["folder"]]
    for file in [*config["pytest_files"], *([config["module"]] if config["module"] else [])]:
        folder, root = os.path.dirname(file), project_root(file)
        while folder.startswith(root) and folder != os.path.dirname(folder):
            work_folders.insert(1, folder)
            folder = os.path.dirname(folder)
    return list(dict.fromkeys(work_folders))


def _work_folder(config: Config, writable: Iterable[str]) -> str:
    """The folder in which tests run: the caller's, if it is the project's, else the project's root."""
    for folder in (config["folder"], *map(project_root, [*config["pytest_files"], *filter(None, [config["module"]])])):
        if any(Path(folder).resolve().is_relative_to(place) for place in writable) and os.path.isdir(folder):
            return folder
    return config["scratch"]


def project_folders(config: Config) -> list[str]:
    """The project's root or, without one, the folders of the program, its tests and their neighbors."""
    if config["plan"] is not None:
        return [config["plan"]["root"]]
    files = [*config["pytest_files"], *([config["module"]] if config["module"] else [])]
    folders = [project_root(file) for file in files] + [package_root(file) for file in files]
    common = os.path.commonpath(folders) if folders else ""
    beside = [common] if common in map(os.path.dirname, folders) and common != os.sep else []  # src/ and tests/
    return list(dict.fromkeys(folders + beside))


def readable_paths(config: Config) -> tuple[list[str], list[str]]:
    """Return the paths that a run may read, and the folders that it may only list.

    In the home folder, which holds keys, only files and packages that are not hidden can be read.
    """
    more = [*config["pythonpath"], *filter(None, sys.path), *LIBRARIES, WORKER, *editable()]
    more += [sys.prefix, sys.base_prefix, sys.exec_prefix]
    more += map(os.path.realpath, filter(None, [config["module"], *config["pytest_files"]]))  # behind links
    readable, listed = outside_home(project_folders(config) + list(filter(os.path.exists, more)), config["home"])
    if (plan := config["plan"]) is not None:
        readable, listed = [*readable, *plan["readable"]], [*listed, *plan["listed"]]
    return readable, listed


def outside_home(folders: Iterable[str], home: str) -> tuple[list[str], list[str]]:
    """Return the paths to read and the folders to list, in which of the home folder nothing hidden can be read."""
    folders = list(folders)
    listed = [folder for folder in folders if holds_home(folder, home)]
    entries = [entry for folder in listed for entry in os.scandir(folder) if not entry.name.startswith(".")]
    entries = [entry for entry in entries if not entry.is_symlink()]  # they may lead to hidden files
    inside = [entry.path for entry in entries if entry.is_file() or os.path.exists(f"{entry.path}/__init__.py")]
    return [folder for folder in folders if folder not in listed] + inside, listed


def editable() -> list[str]:
    """Paths of packages that are installed as links to their source, by an import hook of setuptools."""
    hooks = [vars(module) for name, module in list(sys.modules.items()) if name.startswith("__editable___")]
    paths = [path for names in hooks for path in names.get("MAPPING", {}).values()]
    paths += [path for names in hooks for several in names.get("NAMESPACES", {}).values() for path in several]
    return [*paths, *(f"{path}.py" for path in paths)]


def trusted(readable: Iterable[str]) -> tuple[str, ...]:
    """Prefixes of the files that a run may read, by the given names and by their real ones."""
    names = dict.fromkeys(name for path in readable for name in (path, os.path.realpath(path)))
    return tuple(name if name.endswith(".py") else os.path.join(name, "") for name in names)


def _run(
    config: Config,
    request: Request,
    asserts: list[Test],
    labels: dict[str, set[str]],
    trusted_files: tuple[str, ...],
    report: Report,
    before: Snapshot,
) -> NoReturn:
    """Run everything, in the suite's order except for the test to run first, and end the process."""
    try:
        of_suite = request["asserts"] is None
        candidate = Candidate(request["source"].encode("latin-1"), config["module"] if of_suite else None)
        if request["trace"]:
            candidate.trace()
        setup = config["setup"] if request["setup"] is None else request["setup"]
        files = _Files(config, request, candidate, report, labels, trusted_files) if of_suite else None
        if files is not None and not files.paths:
            files = None
        kind, first, wants_examples = request["kind"], request["first"], of_suite and config["doctest"]
        wants_module = bool(asserts or wants_examples or kind == "calls" or files is None)
        bound = _read(candidate, asserts, report, wants_examples)  # before anything else is reported
        for test in asserts:
            report.expected(test.text)
        asserts = [adapted(test, bound, setup) for test in asserts]
        namespace = _load(candidate, setup, report, wants_module)
        if namespace is None:
            report.done()
        if kind == "calls":
            run_calls(request["calls"], namespace, report=report, limit=request["repr_limit"])
            report.done()

        def begin(name: str, sides: tuple[Named, ...], namespace: dict[str, Any] | None) -> None:
            candidate.record(report.begin(name, call_of(sides, namespace, candidate.filename)))

        parts: list[tuple[str, Callable[[], None]]] = []
        for test in asserts:
            parts.append((test.text, partial(run_test, test, namespace, candidate, report, begin)))
        parts.sort(key=lambda part: part[0] != first)
        examples: list[tuple[str, Callable[[], None]]] = []
        if wants_examples:
            from kelp.execution.worker import doctests

            for each in doctests.find(sys.modules[_module_name(candidate)]):
                report.expected(each.name)
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
            _list_modules(report) if kind == "rehearsal" else None
            _flush()
        if files is not None and (change := changed(before)) is not None:
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
    report.source(bound, found)
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

    def __init__(
        self,
        config: Config,
        request: Request,
        candidate: Candidate,
        report: Report,
        labels: dict[str, set[str]],
        trusted_files: tuple[str, ...],
    ):
        self.paths, self.request, self.candidate, self.report = config["pytest_files"], request, candidate, report
        self.only = config["only"]
        self.finished = False
        if not self.paths:
            return
        from kelp.execution.worker import pytest_run, test_sources

        test_sources.refresh(candidate)
        libraries = () if candidate.filename.startswith(LIBRARIES) else (*LIBRARIES, "<built-in>")
        self.checks = TestChecks(
            candidate.filename,
            os.path.join(config["scratch"], ""),
            (WORKER, "<frozen", *trusted_files),
            labels,
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
            self.paths, self.candidate, self.report, self.checks, only=self.only, first=self.request["first"],
            shuffle=self.request["shuffle"], stop_on_failure=self.request["stop_on_failure"],
            collect_only=collect_only or kind == "rehearsal", finish=finish if last and kind == "tests" else None,
        )  # fmt: skip


def _list_modules(report: Report) -> None:
    modules = dict(sys.modules)
    paths = {name: getattr(module, "__file__", None) for name, module in modules.items()}
    loaders = {name: type(getattr(module, "__loader__", None)).__name__ for name, module in modules.items()}
    report.modules(paths, [paths[name] for name in paths if loaders[name] == "AssertionRewritingHook"])


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):
            stream.flush()
