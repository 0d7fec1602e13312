"""One run, in a process forked for it: protect, load the program, run the tests, report, never return."""

import os
import resource
import sys
from pathlib import Path
from typing import Any

from kelp.execution import protection
from kelp.execution.asserts import run_asserts, run_calls
from kelp.execution.candidate import Candidate, describe
from kelp.execution.report import Report


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
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(config["scratch"])
    active = _protect(config["limits"], ruleset)
    _close_all_but({0, 1, 2, pipe})
    report = Report(pipe, secret, stop_on_failure=request.get("stop_on_failure", False))
    if request["kind"] == "probe":
        report.protections(active)
    else:
        sys.path[:] = _import_path(config, request)
        _run(config, request, report)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:
            pass
    report.done()


def _protect(limits: dict[str, Any], ruleset: int | None) -> dict[str, str]:
    protection.limit_resources(**limits)
    active = {"resources": "rlimits"}
    if protection.drop_privileges():
        active["privileges"] = "capabilities dropped, no_new_privs"
    if ruleset is not None and protection.restrict_writes(ruleset):
        active["files"] = "Landlock: writes only in the scratch folder"
    if protection.forbid_calls():
        active["calls"] = "seccomp: no sockets, processes, signals"
    else:
        protection.forbid_events()
        active["calls"] = "audit hook: no sockets, processes, signals"
    return active


def _close_all_but(keep: set[int]) -> None:
    low = 0
    for descriptor in [*sorted(keep), min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 4096)]:
        if low < descriptor:  # closerange(0, 0) closes everything
            os.closerange(low, descriptor)
        low = descriptor + 1


def _import_path(config: dict[str, Any], request: dict[str, Any]) -> list[str]:
    """The folders of the module and of the tests as they would be when run by hand, then the interpreter's own."""
    front: list[str] = []
    back: list[str] = []
    if config["module"] and request["asserts"] is None:
        folder = root = Path(config["module"]).parent
        while (root / "__init__.py").exists() and root != root.parent:
            root = root.parent
        front.append(str(root))
        back.append(str(folder))  # last, so that a package's `types.py` hides nothing
    for file in config["pytest_files"]:
        folder = Path(file).parent
        marks = ("pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg", "setup.py", ".git")
        root = next(
            (up for up in [folder, *folder.parents] if any((up / mark).exists() for mark in marks)), folder
        )
        back += [str(folder), str(root), str(root / "src")]
    return list(dict.fromkeys([*front, *sys.path, *back]))


def _run(config: dict[str, Any], request: dict[str, Any], report: Report) -> None:
    overridden = request["asserts"] is not None or request["kind"] == "calls"
    candidate = Candidate(request["source"].encode("latin-1"), None if overridden else config["module"])
    asserts = request["asserts"] if overridden else config["asserts"]
    setup = config["setup"] if request["setup"] is None else request["setup"]
    files = [] if overridden else config["pytest_files"]
    first, trace = request["first"], request["trace"]
    doctests: list[Any] = []
    report.tests(len(asserts or ()))
    try:
        candidate.compile()  # pytest need not start for a program that does not
        candidate.install()
        if asserts or config["doctest"] or request["kind"] == "calls":
            namespace = candidate.load(setup)
            if config["doctest"] and not overridden:
                from kelp.execution.doctests import find_doctests, run_doctests

                doctests = find_doctests(sys.modules[namespace["__name__"]])
                report.tests(len(doctests))
    except BaseException as error:
        line = candidate.line_of(error)
        name = "the program" if candidate.path is None else os.path.basename(candidate.path)
        where = "" if line is not None or not isinstance(error, SyntaxError) else f" in {error.filename}"
        report.error(f"{name} could not be loaded: {describe(error, line)}{where}", line)
        return
    if request["kind"] == "calls":
        run_calls(request["calls"], namespace, report, limit=request["limit"])
        return

    def pytest_files(*, collect_only: bool = False) -> None:
        from kelp.execution.pytest_run import run_pytest

        run_pytest(
            files,
            candidate,
            report,
            first=first,
            trace=trace,
            stop_on_failure=request["stop_on_failure"],
            collect_only=collect_only,
        )

    asserts = sorted(asserts, key=lambda text: text != first)
    doctests.sort(key=lambda test: test.name != first)
    names = {*asserts, *(test.name for test in doctests)}
    parts: list[Any] = []
    if asserts:
        parts.append(lambda: run_asserts(asserts, namespace, candidate, report, trace=trace))
    if doctests:
        found = doctests
        parts.append(lambda: run_doctests(found, candidate, report, trace=trace))
        if first in {test.name for test in doctests}:
            parts.reverse()
    if files and first is not None and first not in names:
        pytest_files()
        files = []
    for part in parts:
        if not report.stopped:
            part()
    if files:
        pytest_files(collect_only=report.stopped)
