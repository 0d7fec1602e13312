"""One run, in a process forked for it: protect the machine, start the judge, and return the stage for its tasks."""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import sys
import sysconfig
from _thread import get_ident, start_new_thread
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from types import CodeType
from typing import Any

from kelp.execution.worker import protection
from kelp.execution.worker.bare_asserts import Named, Test, call_of, report_raised, report_unmet, run_calls
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
from kelp.execution.worker.code_cache import PROJECT, TESTS
from kelp.execution.worker.events import Report
from kelp.execution.worker.plugin.kelp_needs import Needs
from kelp.execution.worker.protocol import Config, Request
from kelp.execution.worker.stage import Stage, places

_NOTIFY, _PLACES = places()
_INSTALLED = [path for path in sys.path if os.path.basename(path) in SITES]  # the user's, and others' by a .pth file
LIBRARIES = tuple(
    os.path.join(path, "")
    for path in dict.fromkeys([*map(sysconfig.get_path, ("stdlib", "platstdlib", "purelib", "platlib")), *_INSTALLED])
)
_encode = json.JSONEncoder().encode
WORKER = os.path.join(os.path.dirname(__file__), "")


@dataclass(frozen=True)
class Run:
    """Input of the judge, made before the program is loaded: functions that it has the stage call, and facts."""

    asserts: tuple[Test, ...]
    first: str | None
    stop_on_failure: bool
    rehearsal: bool  # only load and collect
    # functions for the stage
    load: Callable[[], dict[str, Any] | None]  # returns the namespace of the asserts; None: an error
    calls: Callable[[dict[str, Any]], None] | None  # evaluates calls instead of running tests
    examples: Callable[[], list[tuple[str, Callable[[], dict[str, Any]]]]]  # the docstrings with examples
    files: Callable[[bool, bool], bool] | None  # run pytest (collect only?, is it the last?); returns whether to stop
    begin: Callable[[str, tuple[Named, ...], dict[str, Any] | None], None]
    unmet: Callable[..., None]
    raised: Callable[..., None]
    ended: Callable[[str, float, dict[str, Any]], None]
    flush: Callable[[], None]
    # facts for the judge
    main: int  # the thread of the stage
    notify: CodeType  # code of `Stage.notify`
    places: dict[tuple[int, int], str]  # event by the line that calls `notify`
    program: str  # the program's file
    scratch: str  # prefix of files that the program may have written
    labels: dict[str, set[str]]  # by test function: file and name of its code, as the file as it is has it
    tests: dict[int, CodeType]  # by id: code of the tests and the project, without the program
    trusted: tuple[str, ...]  # prefixes of files whose code may be below a test on the stack
    skips: tuple[type, ...]  # the exceptions that skip a test
    runs: tuple[Any, ...]  # the functions that may call a test
    inner_test: Callable[[Any], Any]  # returns the attributes of hypothesis' handle on a test
    words: dict[str, tuple[dict[str, Any], frozenset[str]]]  # by test file: meaning of names; builtins' names


def be_child(
    config: Config,
    request: Request,
    asserts: list[Test],
    labels: dict[str, set[str]],
    trusted_files: tuple[str, ...],
    secret: str,
    sealed: dict[str, Any],
    *,
    pipe: int,
    output: int,
    ruleset: int | None,
    read_only: bool,
) -> Stage:
    """Do everything between the fork and the first line of the program.

    The caller calls `perform` of the returned stage, from a stack without frames of the server.
    """
    os.setsid()
    protection.die_with_parent()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(config["scratch"])
    active = _protect(config["limits"], ruleset, read_only)
    _close_all_but(pipe)
    if request["kind"] == "probe":
        os.write(pipe, (secret + _encode({"event": "protections", "active": active}) + "\n").encode())
        os.write(pipe, (secret + _encode({"event": "done"}) + "\n").encode())
        os._exit(0)
    random.seed(0)  # the same program gives the same observation
    sys.path[:] = _import_path(config, request)
    needs = Needs(config["scratch"], _work_folders(config))
    report, stage = Report(pipe, needs, stop_on_failure=request["stop_on_failure"]), Stage()
    run = _plan(config, request, asserts, labels, trusted_files, report, stage)
    start_new_thread(sealed["judge"], (secret, pipe, stage, run, sealed["before"]))
    return stage


def _protect(limits: dict[str, Any], ruleset: int | None, read_only: bool) -> dict[str, str]:
    active = {"resources": "rlimits", "privileges": "none", "files": "none"}
    protection.limit_resources(limits)
    if protection.drop_privileges():
        active["privileges"] = "capabilities dropped, no_new_privs"
        if ruleset is not None and protection.restrict_files(ruleset):
            active["files"] = "Landlock: reads of libraries and project, writes to the scratch folder only"
    if protection.forbid_calls(read_only=read_only):
        active["calls"] = "seccomp: no sockets, processes or signals"
    else:
        protection.forbid_events()
        active["calls"] = "audit hook: no sockets, processes or signals"
    return active


def _close_all_but(pipe: int) -> None:
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


def project_folders(config: Config) -> tuple[list[str], list[str]]:
    """Return the paths of the project that a run may read, and the folders that it may only list.

    These are the project's root or, without one, the folders of the program, its tests and their neighbors.  In the
    home folder, which holds keys, only files and packages that are not hidden can be read.
    """
    files = [*config["pytest_files"], *([config["module"]] if config["module"] else [])]
    folders = [project_root(file) for file in files] + [package_root(file) for file in files]
    common = os.path.commonpath(folders) if folders else ""
    beside = [common] if common in map(os.path.dirname, folders) and common != os.sep else []  # src/ and tests/
    folders = list(dict.fromkeys(folders + beside))
    listed = [folder for folder in folders if holds_home(folder, config["home"])]
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


def _plan(
    config: Config,
    request: Request,
    asserts: list[Test],
    labels: dict[str, set[str]],
    trusted_files: tuple[str, ...],
    report: Report,
    stage: Stage,
) -> Run:
    of_suite = request["asserts"] is None
    path = config["module"] if of_suite else None
    candidate = Candidate(request["source"].encode("latin-1"), path)
    if request["trace"]:
        candidate.trace()
    setup = config["setup"] if request["setup"] is None else request["setup"]
    files = config["pytest_files"] if of_suite else []
    kind, first = request["kind"], request["first"]
    wants_examples = of_suite and config["doctest"]
    wants_module = asserts or wants_examples or kind == "calls" or not files

    def load() -> dict[str, Any] | None:
        name = "the program" if path is None else os.path.basename(path)
        try:
            candidate.compile()  # pytest need not start for a program that does not compile
            candidate.install()
            return candidate.load(setup) if wants_module else {}
        except BaseException as error:
            line = candidate.line_of(error)
            report.error(f"{describe(error, line)} (while loading {name})", line, report.needs.of(error))
            return None

    def examples() -> list[Any]:
        if not wants_examples:
            return []
        from kelp.execution.worker.doctests import find_doctests

        module = sys.modules[BARE_MODULE if path is None else dotted_name(path)]
        return find_doctests(module, candidate, report.needs)

    def begin(name: str, sides: tuple[Named, ...], namespace: dict[str, Any] | None) -> None:
        candidate.record(report.begin(name, call_of(sides, namespace, candidate.filename)))

    def ended(name: str, seconds: float, facts: dict[str, Any]) -> None:
        report.outcome(name, seconds=seconds, **({"status": "pass"} | facts))

    run_files: Callable[[bool, bool], bool] | None = None
    tests: dict[int, CodeType] = {}
    inner_test: Callable[[Any], Any] = vars
    words: dict[str, tuple[dict[str, Any], frozenset[str]]] = {}
    skips: tuple[type, ...] = ()
    runs: tuple[Any, ...] = ()
    if files:
        from kelp.execution.worker import pytest_run

        pytest_run.refresh(candidate)
        skips, runs, inner_test = pytest_run.SKIPS, pytest_run.RUNS, pytest_run.inner_test()
        words = pytest_run.words(() if candidate.filename.startswith(LIBRARIES) else (*LIBRARIES, "<built-in>"))
        tests = {id(code): code for codes in (TESTS.codes(), PROJECT.codes()) for code in codes}

        def run_files(collect_only: bool, last: bool) -> bool:
            pytest_run.run_pytest(
                files, candidate, report, stage, only=config["only"], first=first,
                stop_on_failure=request["stop_on_failure"],
                collect_only=collect_only or kind == "rehearsal", finish=_flush if last and kind == "tests" else None,
            )  # fmt: skip
            return report.stopped

    def flush() -> None:
        if kind == "rehearsal":
            modules = dict(sys.modules)
            paths = {name: getattr(module, "__file__", None) for name, module in modules.items()}
            loaders = {name: type(getattr(module, "__loader__", None)).__name__ for name, module in modules.items()}
            report.modules(paths, [paths[name] for name in paths if loaders[name] == "AssertionRewritingHook"])
        _flush()

    calls = partial(run_calls, request["calls"], report=report, limit=request["repr_limit"])
    return Run(
        asserts=tuple(asserts),
        first=first,
        stop_on_failure=request["stop_on_failure"],
        rehearsal=kind == "rehearsal",
        load=load,
        calls=calls if kind == "calls" else None,
        examples=examples,
        files=run_files,
        begin=begin,
        unmet=partial(report_unmet, report, candidate),
        raised=partial(report_raised, report, candidate),
        ended=ended,
        flush=flush,
        main=get_ident(),
        notify=_NOTIFY,
        places=_PLACES,
        program=candidate.filename,
        scratch=os.path.join(config["scratch"], ""),
        labels=labels,
        tests=tests,
        trusted=(WORKER, "<frozen", *trusted_files),
        skips=skips,
        runs=runs,
        inner_test=inner_test,
        words=words,
    )


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):
            stream.flush()
