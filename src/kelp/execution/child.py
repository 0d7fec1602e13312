"""One run, in a process forked for it: protect, load the program, run the tests, report, end."""

import contextlib
import os
import random
import resource
import sys
from functools import partial
from typing import Any

from kelp.execution import protection
from kelp.execution.asserts import run_asserts, run_calls
from kelp.execution.candidate import Candidate, describe, package_root
from kelp.execution.report import Report

_ROOT_MARKS = ("pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg", "setup.py", ".git")


def be_child(
    config: dict[str, Any],
    request: dict[str, Any],
    secret: str,
    *,
    pipe: int,
    output: int,
    ruleset: int | None,
) -> None:
    """Everything between the fork and the end of the process."""
    os.setsid()
    protection.die_with_parent()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(config["scratch"])
    active = _protect(config["limits"], ruleset)
    _close_all_but(pipe)
    report = Report(pipe, secret, stop_on_failure=request["stop_on_failure"])
    if request["kind"] == "probe":
        report.protections(active)
        report.done()
    else:
        random.seed(0)  # the same program gives the same observation
        sys.path[:] = _import_path(config, request)
        _run(config, request, report)
        finish(report, request["kind"])


def finish(report: Report, kind: str) -> None:
    """Say that the run came to its end, and end: nothing that the program left behind gets to run."""
    if kind == "rehearsal":
        report.modules({name: getattr(module, "__file__", None) for name, module in sys.modules.items()})
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):
            stream.flush()
    report.done()
    os._exit(0)


def _protect(limits: dict[str, Any], ruleset: int | None) -> dict[str, str]:
    active = {"resources": "rlimits", "privileges": "none", "files": "none"}
    protection.limit_resources(**limits)
    if protection.drop_privileges():
        active["privileges"] = "capabilities dropped, no_new_privs"
        if ruleset is not None and protection.restrict_writes(ruleset):
            active["files"] = "Landlock: writes beneath the scratch folder only"
    if protection.forbid_calls():
        active["calls"] = "seccomp: no sockets, processes or signals"
    else:
        protection.forbid_events()
        active["calls"] = "audit hook: no sockets, processes or signals"
    return active


def _close_all_but(pipe: int) -> None:
    os.closerange(3, pipe)
    os.closerange(pipe + 1, min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 4096))


def _import_path(config: dict[str, Any], request: dict[str, Any]) -> list[str]:
    """The folders of the module and the tests as when run by hand, around the interpreter's own."""
    front: list[str] = []
    back: list[str] = []
    if config["module"] and request["asserts"] is None:
        front.append(package_root(config["module"]))
        back.append(os.path.dirname(config["module"]))  # last, so that a package's `types.py` hides nothing
    for file in config["pytest_files"]:
        folder = root = os.path.dirname(file)
        while not any(os.path.exists(os.path.join(root, mark)) for mark in _ROOT_MARKS):
            if root == os.path.dirname(root):
                root = folder
                break
            root = os.path.dirname(root)
        back += [folder, root, os.path.join(root, "src")]
    return list(dict.fromkeys([*front, *sys.path, *back]))


def _run(config: dict[str, Any], request: dict[str, Any], report: Report) -> None:
    """Load the program and run what the request asks for, in the suite's order but for the test to run first."""
    own = request["asserts"] is None  # the suite's own tests, and not others for a bare module
    path = config["module"] if own else None
    name = "the program" if path is None else os.path.basename(path)
    candidate = Candidate(request["source"].encode("latin-1"), path)
    asserts = config["asserts"] if own else request["asserts"]
    setup = config["setup"] if request["setup"] is None else request["setup"]
    files = config["pytest_files"] if own else []
    examples = own and config["doctest"]
    kind, first, trace = request["kind"], request["first"], request["trace"]

    report.tests(len(asserts))
    doctests: list[Any] = []
    namespace: dict[str, Any] = {}
    try:
        candidate.compile()  # pytest need not start for a program that does not
        candidate.install()
        if asserts or examples or kind == "calls" or (kind == "rehearsal" and not files):
            namespace = candidate.load(setup)
        if examples:
            from kelp.execution.doctests import find_doctests, run_doctests

            doctests = find_doctests(sys.modules[namespace["__name__"]])
            report.tests(len(doctests))
    except BaseException as error:
        line = candidate.line_of(error)
        report.error(f"{describe(error, line)} (while loading {name})", line)
        return
    if kind == "calls":
        run_calls(request["calls"], namespace, report, limit=request["limit"])
        return

    asserts = sorted(asserts, key=lambda text: text != first)
    doctests.sort(key=lambda test: test.name != first)
    parts: list[Any] = []
    if asserts:
        parts.append((asserts[0], partial(run_asserts, asserts, namespace, candidate, report, trace=trace)))
    if doctests:
        parts.append((doctests[0].name, partial(run_doctests, doctests, candidate, report, trace=trace)))
    parts.sort(key=lambda part: part[0] != first)
    pytest_first = first is not None and all(name != first for name, _ in parts)
    if files and pytest_first and kind == "tests":
        _run_pytest(files, candidate, report, request)
    for _, part in parts:
        if kind == "tests" and not report.stopped:
            part()
    if files and not (pytest_first and kind == "tests"):
        _run_pytest(files, candidate, report, request, finish=partial(finish, report, kind))


def _run_pytest(
    files: list[str], candidate: Candidate, report: Report, request: dict[str, Any], **options: Any
) -> None:
    from kelp.execution.pytest_run import run_pytest

    # after a stop its tests need not run but still count
    collect_only = request["kind"] == "rehearsal" or report.stopped
    stop, first, trace = request["stop_on_failure"], request["first"], request["trace"]
    run_pytest(
        files,
        candidate,
        report,
        first=first,
        trace=trace,
        stop_on_failure=stop,
        collect_only=collect_only,
        **options,
    )
