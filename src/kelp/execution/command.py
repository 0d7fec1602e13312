"""A test command, on the caller's side: the plan of its runs, and their observations.

Unlike runs of test files and asserts, its runs have no judge: the program shares a process with the code that
reports its tests as passed.  `observe` checks the report from outside, against the run of the file as it is.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Container, Iterable, Mapping
from dataclasses import replace
from glob import glob
from pathlib import Path
from typing import Any

from kelp.execution.interpreter import Interpreter
from kelp.execution.observation import NEWLY_SKIPPED, Observation, TestOutcome, fewer, outcome_of
from kelp.execution.replies import cut_off
from kelp.execution.worker.command_run import PLUGIN
from kelp.execution.worker.folders import holds_home, outside_home, project_root
from kelp.execution.worker.plugin.kelp_needs import NETWORK
from kelp.execution.worker.protocol import Event, Outcome, Plan, Reply, function_of, timed_out

_ASK_PATHS = (  # prints an interpreter's import path, the folder of the user's own packages, and its own path
    "import site, sys\n"
    "print(*sys.path, sys.prefix, sys.base_prefix, sys.exec_prefix, site.getuserbase(), sys.executable, sep='\\n')"
)
_PYTHON = os.path.dirname(sys.executable)
_REFUSED = re.compile(  # as a traceback ends
    r"(?m)^(?:\w+\.)*(gaierror: \[Errno -\d+\]|OSError: \[Errno 101\] Network is unreachable$"
    r"|PermissionError: \[Errno 13\] Permission denied: '([^']+)')"
)


# Before a run


def root_of(module: Path) -> str:
    """Project root of the file, where the command runs: the first folder up with a project's mark, else the file's own.

    `module` may be a folder.  Raises ValueError.
    """
    root = project_root(str(module / "-" if module.is_dir() else module))
    if holds_home(root, str(Path.home())):
        raise ValueError(f"{module} is in the home folder itself, and a test command runs on no whole home folder")
    return root


def plan(command: tuple[str, ...], module: Path, python: Interpreter) -> Plan:
    """Plan of a command: where it runs, the file that it executes, its environment, and the paths that it may read.

    `module` is a file of the project, or the project's folder.

    Programs of the environment of `python` come first.  The readable paths are those that the command's interpreter
    imports from, as far as it can be asked.

    Raises ValueError.
    """
    root, word = root_of(module), command[0]
    search_path = _search_path(python)
    program = shutil.which(os.path.join(root, word) if os.sep in word else word, path=search_path)
    if program is None:
        raise ValueError(f"there is no program {word}" + (f" in {root}" if os.sep in word else " on the PATH"))
    environment = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "VIRTUAL_ENV") if name in os.environ}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (PLUGIN, os.environ.get("PYTHONPATH"))))
    environment["PATH"] = search_path
    if not python.is_own and python.environment is not None:
        environment["VIRTUAL_ENV"] = python.environment
    readable = ["/bin", "/sbin", *glob("/etc/python3*")]
    script_python = _interpreter(program)
    interpreter = script_python or shutil.which("python3", path=search_path)
    if interpreter is not None and _is_below(interpreter, root):
        interpreter = os.path.realpath(interpreter)  # no program of the project runs outside of the sandbox
    if interpreter is not None and not _is_below(interpreter, root) and (answer := _ask(interpreter)) is not None:
        *paths, base, itself = answer
        folder = os.path.dirname(itself)
        readable += [itself, os.path.realpath(itself), *paths]
        environment["PYTHONUSERBASE"] = base  # the sandbox has another home folder
        environment["PATH"] = os.pathsep.join([folder, environment["PATH"]])
        if os.sep not in word and script_python in (None, program):  # pyenv's shim on the PATH only leads to it
            program = shutil.which(word, path=folder) or program
    readable += [program, os.path.realpath(program)]  # and not their folder, which may be the home
    home = str(Path.home())
    readable, listed = outside_home([path for path in readable if os.path.isabs(path) and path != os.sep], home)
    return {
        "root": root, "program": program, "readable": readable, "listed": listed,
        "environment": environment,
        "pytest": _pytest_arguments(command, program, script_python, python),
    }  # fmt: skip


def _pytest_arguments(
    command: tuple[str, ...], program: str, script_python: str | None, python: Interpreter
) -> list[str] | None:
    """Arguments of a command that is pytest in the environment of `python`; None for any other."""
    if script_python is None or os.path.dirname(script_python) != os.path.dirname(python.path):
        return None
    if program == script_python:
        return list(command[3:]) if command[1:3] == ("-m", "pytest") else None
    return list(command[1:]) if os.path.basename(program) in ("pytest", "py.test") else None


def _interpreter(program: str) -> str | None:
    """The Python interpreter that the program is, or that its first line names."""
    if os.path.basename(program).startswith("python"):
        return program
    with open(program, "rb") as file:
        first = file.readline(512)
    words = first[2:].decode("utf-8", "replace").split() if first.startswith(b"#!") else []
    if words and os.path.basename(words[0]) == "env":
        words = [path for word in words[1:2] if (path := shutil.which(word))]
    return words[0] if words and os.path.basename(words[0]).startswith("python") else None


def _ask(interpreter: str) -> list[str] | None:
    """Lines that the interpreter prints for `_ASK_PATHS`; None where it fails."""
    try:
        question = [interpreter, "-c", _ASK_PATHS]
        done = subprocess.run(question, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.splitlines()
    return lines if done.returncode == 0 and len(lines) > 2 else None


def _is_below(path: str, folder: str) -> bool:
    return os.path.abspath(path).startswith(os.path.join(folder, ""))


def _search_path(python: Interpreter) -> str:
    """Folders of programs: that of `python`, the PATH, and that of Kelp's own Python, which has a pytest."""
    first = None if python.is_own else os.path.dirname(python.path)
    return os.pathsep.join(filter(None, (first, os.environ.get("PATH"), _PYTHON)))


# After a run


def baseline(reply: Reply) -> dict[str, Any]:
    """Facts of the run of the unchanged file, to compare later runs with: tests, those not skipped, changed files."""
    events = reply["events"]
    outcomes = [event for event in events if event["event"] == "outcome"]
    return {
        "reported": _has(events, "hello"),
        "tests": list(dict.fromkeys(_collected(events) + [event["name"] for event in outcomes])),
        "ran": [event["name"] for event in outcomes if event["status"] != "skip"],
        "changed": reply["changed"],
    }


def observe(reply: Reply, before: Mapping[str, Any], command: Iterable[str], module: str, how: str) -> Observation:
    """Observation of one run.  `before` is the `baseline`; `how` says in words how the run ended."""
    events = reply["events"]
    facts: dict[str, Any] = {"seconds": reply["seconds"], "output": reply["output"]}
    tampered = [name for name in reply["changed"] if name not in before["changed"]]
    if tampered:
        message = f"the program changed files of its project: {', '.join(tampered[:3])}"
        return Observation((), error=message, not_run=max(1, len(before["tests"])), **facts)
    if not _has(events, "hello"):
        if before["reported"]:
            error = f"pytest did not report; the command {how}"
            return Observation((), error=error, not_run=len(before["tests"]), **facts)
        return Observation((_plain(reply, shlex.join(command), module, how),), **facts)

    functions_run = set(map(function_of, before["ran"]))
    new = {name for name in _collected(events) if name not in before["tests"] and function_of(name) in functions_run}
    outcomes, died = _outcomes(events, {*before["ran"], *new})
    for name, lines in died.items():
        outcomes[name] = TestOutcome(name, **cut_off(reply), message=f"the command {how}", lines=frozenset(lines))
    expected = before["tests"] + _collected(events)
    functions = {function_of(name) for name in outcomes}
    # A test function that ran with other parameters is not missing: the parameters may come from the program.
    missing = {name for name in expected if name not in outcomes}
    missing -= {name for name in missing if name in before["tests"] and function_of(name) in functions}
    fine = not missing and not died and all(outcome.status in ("pass", "skip") for outcome in outcomes.values())
    not_run = fewer(before["tests"], outcomes) if fine else len(missing)
    first = next((event for event in events if event["event"] == "error"), None)
    if first is not None:
        facts |= {"error": " ".join(first["sentence"].split()), "error_line": first["line"], "needs": first["needs"]}
    elif not died:
        facts |= _bad_end(reply, module, how, found=bool(expected or outcomes), passed=fine)
    return Observation(tuple(outcomes.values()), not_run=not_run, **facts)


def _has(events: Iterable[Event], kind: str) -> bool:
    return any(event["event"] == kind for event in events)


def _collected(events: Iterable[Event]) -> list[str]:
    return [name for event in events if event["event"] == "collected" for name in event["names"]]


def _outcomes(events: Iterable[Event], ran: Container[str]) -> tuple[dict[str, TestOutcome], dict[str, set[int]]]:
    """Return the outcomes by test, and the lines executed by each test that began and did not end.

    `ran` are tests that the unchanged file does not skip, and further ones of the same functions.
    """
    outcomes: dict[str, TestOutcome] = {}
    begun: dict[str, set[int]] = {}
    latest = ""
    for event in events:
        if event["event"] == "begin":
            latest = event["name"]
            begun[latest] = set()
        elif event["event"] == "line" and latest:
            begun.setdefault(latest, set()).add(event["line"])
        elif event["event"] == "outcome":
            name = event["name"]
            outcomes[name] = _outcome(event, frozenset(begun.pop(name, ())), name in ran)
    return outcomes, begun


def _bad_end(reply: Reply, module: str, how: str, *, found: bool, passed: bool) -> dict[str, Any]:
    """Error in the end of a run that reports none; whether tests were `found`, and all of them `passed`."""
    if reply["ended"] != "exit" or not _has(reply["events"], "finished"):
        line = next(reversed(_lines_named(reply["output"], module)), None)
        return {"error": f"the command {how}, and its tests were not over", "error_line": line}
    if not found:
        return {"error": "no tests were found"}
    return {"error": f"every test passed, but the command {how}"} if reply["status"] != 0 and passed else {}


def _outcome(event: Outcome, lines: frozenset[int], ran_before: bool) -> TestOutcome:
    outcome = outcome_of(event, lines)
    newly_skipped = outcome.status == "skip" and ran_before
    return replace(outcome, status="error", message=NEWLY_SKIPPED) if newly_skipped else outcome


def _plain(reply: Reply, name: str, module: str, how: str) -> TestOutcome:
    """Outcome of a command that does not run pytest, which is one test: it passes by ending with status 0."""
    seconds, lines = reply["seconds"], _lines_named(reply["output"], module)
    if reply["ended"] == "exit" and reply["status"] == 0:
        return TestOutcome(name, "pass", seconds)
    if timed_out(reply):
        return TestOutcome(name, "timeout", seconds, message=f"the command {how}", lines=frozenset(lines))
    printed = [text for text in reply["output"].splitlines() if text.strip()]
    message = f"the command {how}" + (f": {printed[-1].strip()[:200]}" if printed else "")
    line, needs = lines[-1] if lines else None, _need_named(reply["output"])
    return TestOutcome(name, "fail", seconds, message=message, line=line, lines=frozenset(lines), needs=needs)


def _need_named(output: str) -> str | None:
    """The first resource that a traceback in the output names as refused."""
    refusal = _REFUSED.search(output)
    return None if refusal is None else f"access to {refusal[2]}" if refusal[2] else NETWORK


def _lines_named(output: str, module: str) -> list[int]:
    """Lines of the program that tracebacks in the output name."""
    name = re.escape(os.path.basename(module))
    return [int(number) for number in re.findall(rf'(?m)(?:^|[\s"/]){name}(?:", line |:)(\d+)', output)]
