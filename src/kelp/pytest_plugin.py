"""Plugin of pytest: `pytest --kelp` suggests a patch below the failures, and changes nothing without `--kelp-write`.

Without these options it only adds them: it imports nothing else of Kelp. With them it notes which files of the project
each failing test leads to, in whichever process runs it, and repairs in a process of its own when all tests have run.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType, ModuleType, TracebackType
from typing import Any

import pytest

COMMAND = (sys.executable, "-P", "-m", "kelp", "repair")  # without the current folder on the import path
FILES = 3  # that are tried, the likeliest first
VISITED = 200  # modules that are looked at for those that a test imports
LEAST_SECONDS = 1.0  # for a search to be worth its start
START_SECONDS = 120.0  # that Kelp may take on top of its search, to start and to load and compile the model


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("kelp", "repair of failing tests (Kelp)")
    group.addoption("--kelp", action="store_true", help="suggest a patch below the failures")
    group.addoption(
        "--kelp-seconds", type=float, default=30.0, metavar="SECONDS", help="seconds to search for a patch (default 30)"
    )
    group.addoption("--kelp-write", action="store_true", help="like --kelp, and write the patch to the file")


def pytest_configure(config: pytest.Config) -> None:
    option = config.option
    if not (option.kelp or option.kelp_write) or option.collectonly:
        return
    if config.pluginmanager.has_plugin("kelp_report"):  # Kelp itself runs these tests
        return
    if not option.kelp_seconds > 0:
        raise pytest.UsageError(f"--kelp-seconds must be positive, not {option.kelp_seconds:g}")
    config.pluginmanager.register(_Notes(config), "kelp_notes")
    if not hasattr(config, "workerinput"):  # of xdist: the controller alone repairs
        config.pluginmanager.register(_Suggestion(config), "kelp_suggestion")


class _Notes:
    """Notes in the report of a failing test the files that it leads to. Runs where the test does."""

    def __init__(self, config: pytest.Config) -> None:
        self.root = config.rootpath

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[Any]) -> Iterator[None]:
        report: Any = yield
        if report.failed and call.excinfo is not None and isinstance(item, pytest.Function):
            files = files_reached(item.obj, item.module, call.excinfo.tb, self.root)
            report.kelp = {"test": str(item.path), "files": [file for file in files if file != str(item.path)]}
        return report


@dataclass(frozen=True)
class Suspect:
    """A file that may hold the fault, and the test files that lead to it."""

    file: Path
    tests: tuple[Path, ...]

    def arguments(self, cwd: Path) -> list[str]:
        """Arguments of the `kelp repair` that repairs it."""
        tests = [word for test in self.tests for word in ("--tests", _relative(test, cwd))]
        return [_relative(self.file, cwd), *tests]


class _Suggestion:
    """Collects the notes of all processes, and prints a patch in the summary."""

    def __init__(self, config: pytest.Config) -> None:
        self.config, self.notes = config, list[dict[str, Any]]()

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed and hasattr(report, "kelp"):
            self.notes.append(report.kelp)

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any, exitstatus: int) -> None:
        if exitstatus != pytest.ExitCode.TESTS_FAILED:
            return
        option, cwd = self.config.option, self.config.invocation_params.dir
        found = suspects(self.notes)
        terminalreporter.section("Kelp")
        if not found:
            terminalreporter.write_line("The failing tests lead to no file of this project beside their own.")
            return
        ends = time.monotonic() + option.kelp_seconds
        reasons: list[str] = []
        for left, suspect in zip(range(len(found), 0, -1), found):
            seconds = (ends - time.monotonic()) / left
            if seconds < LEAST_SECONDS and reasons:
                break
            name = _relative(suspect.file, cwd)
            if terminalreporter.isatty:
                terminalreporter.rewrite(f"repairing {name} ...", erase=True)
            before = suspect.file.read_bytes()
            result = repaired(suspect, max(LEAST_SECONDS, seconds), cwd)
            if terminalreporter.isatty:
                terminalreporter.rewrite("", erase=True)
            if not result.get("patches"):
                reasons.append(f"{name}: {result.get('error') or _no_patch(result)}")
                continue
            self._show(terminalreporter, result, suspect, before, cwd)
            return
        for reason in reasons:
            terminalreporter.write_line(reason)
        terminalreporter.write_line(f"To see more: kelp repair {shlex.join(found[0].arguments(cwd))}")

    def _show(self, terminal: Any, result: dict[str, Any], suspect: Suspect, before: bytes, cwd: Path) -> None:
        best, name = result["patches"][0], _relative(suspect.file, cwd)
        for line in best["diff"].splitlines():
            color = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
            terminal.write_line(line, **({color: True} if color else {}))
        terminal.write_line("")
        terminal.write_line(
            f"With this patch {best['tests_passed']} of {best['tests_total']} tests of "
            f"{', '.join(_relative(test, cwd) for test in suspect.tests)} pass "
            f"({result['runs']} test runs, {result['seconds']:.1f} s). Read it: tests may be too weak."
        )
        if not self.config.option.kelp_write:
            terminal.write_line("--kelp-write writes it.")
        elif suspect.file.read_bytes() != before:
            terminal.write_line(f"{name} has changed meanwhile and is left as it is.")
        else:
            from kelp.errors import reason
            from kelp.files import write

            try:
                write(suspect.file, best["source"].encode())
            except OSError as error:
                terminal.write_line(f"{name} cannot be written: {reason(error)}.")
            else:
                terminal.write_line(f"{name} is repaired. Run the tests again.")


def repaired(suspect: Suspect, seconds: float, cwd: Path) -> dict[str, Any]:
    """Repair a file in a process of its own, which leaves this one as it is; return the object that `--json` prints."""
    options = ["--python", sys.executable, "--max-seconds", f"{seconds:.1f}", "--json"]
    with subprocess.Popen(
        [*COMMAND, *suspect.arguments(cwd), *options],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            output, errors = process.communicate(timeout=seconds + START_SECONDS)
        except (KeyboardInterrupt, subprocess.TimeoutExpired) as error:
            process.terminate()  # it cleans up
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=10)
            process.kill()
            return {"error": "interrupted" if isinstance(error, KeyboardInterrupt) else "Kelp did not end in time"}
    try:
        result: dict[str, Any] = json.loads(output)
    except ValueError:
        last = errors.decode(errors="replace").strip().rpartition("\n")[2]
        return {"error": last or f"kelp repair ended with status {process.returncode}"}
    return result


def _no_patch(result: dict[str, Any]) -> str:
    closest, before = result["closest"], result["tests_before"]
    near = "" if closest is None else f"; the closest edit passes {closest['tests_passed']}"
    return f"no patch ({before['passed']} of {before['total']} tests pass{near}; {result['runs']} test runs)"


def suspects(notes: Sequence[dict[str, Any]]) -> list[Suspect]:
    """The files that failing tests lead to, those that come first for most tests first."""
    score: dict[str, float] = {}
    tests: dict[str, dict[str, None]] = {}
    for note in notes:
        for rank, file in enumerate(note["files"]):
            score[file] = score.get(file, 0.0) + 2.0**-rank
            tests.setdefault(file, {})[note["test"]] = None
    likeliest = sorted(score, key=lambda file: -score[file])[:FILES]
    return [Suspect(Path(file), tuple(map(Path, tests[file]))) for file in likeliest]


def files_reached(test: Any, module: ModuleType, traceback: TracebackType | None, root: Path) -> list[str]:
    """Files of the project that a failing test leads to, likeliest first.

    They are those of the traceback from its end, then those of the names that the test uses, then those of the modules
    that its own imports, and that these do. Test files, conftest.py and installed packages do not count.
    """
    found: dict[str, None] = {}
    frames = []
    while traceback is not None:
        frames.append(traceback.tb_frame.f_code.co_filename)
        traceback = traceback.tb_next
    code = getattr(getattr(test, "__func__", test), "__code__", None)
    names = [vars(module)[name] for name in _names(code) if name in vars(module)] if isinstance(code, CodeType) else []
    for path in (*reversed(frames), *(file for value in names for file in _file_of(value)), *_imported(module, root)):
        if _is_of_project(path, root):
            found[path] = None
    return list(found)


def _names(code: CodeType) -> Iterator[str]:
    """Names of globals that a function uses, nested functions included."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _file_of(value: object) -> Iterator[str]:
    """The file of a module, or the one that a function or class is from."""
    module = value if isinstance(value, ModuleType) else None
    if isinstance(value, FunctionType | type):
        module = sys.modules.get(value.__module__)
    file = vars(module).get("__file__") if module is not None else None
    if isinstance(file, str):
        yield file


def _imported(module: ModuleType, root: Path) -> Iterator[str]:
    """Files of the modules of the project that a module imports, and that these import, nearest first."""
    seen, queue = {module.__name__}, [module]
    while queue and len(seen) < VISITED:
        for value in list(vars(queue.pop(0)).values()):
            name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
            if not isinstance(name, str) or name in seen:
                continue
            seen.add(name)
            other = sys.modules.get(name)
            for file in _file_of(other):
                if other is not None and _is_of_project(file, root):
                    queue.append(other)
                    yield file


def _is_of_project(path: str, root: Path) -> bool:
    """Return whether a path is a Python file of the project, and neither a test file nor an installed package."""
    file = Path(path)
    if file.suffix != ".py" or not file.is_relative_to(root) or not file.is_file():
        return False
    installed = {sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")}
    if any(file.is_relative_to(place) for place in installed) or "site-packages" in file.parts:
        return False
    return not (file.name == "conftest.py" or file.name.startswith("test_") or file.stem.endswith("_test"))


def _relative(path: Path, cwd: Path) -> str:
    return str(path.relative_to(cwd)) if path.is_relative_to(cwd) else str(path)
