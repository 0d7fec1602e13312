"""Plugin of pytest: `pytest --kelp` suggests a patch below the failures, and changes nothing without `--kelp-write`.

Without these options it only adds them: it imports nothing else of Kelp. With them it notes the failing tests, on the
controller where xdist runs them, and repairs the project in a process of its own when all tests have run.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

COMMAND = (sys.executable, "-P", "-m", "kelp", "repair")  # without the current folder on the import path
NAMED = 100  # failing tests, at most: a command has a limited length
START_SECONDS = 120.0  # that Kelp may take on top of its search: to start, run the tests and load the model
COLORS = {"+": "green", "-": "red", "@": "cyan"}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("kelp", "repair of failing tests (Kelp)")
    group.addoption("--kelp", action="store_true", help="suggest a patch below the failures")
    group.addoption(
        "--kelp-seconds", type=float, default=30.0, metavar="SECONDS", help="seconds to search for a patch (default 30)"
    )
    group.addoption("--kelp-write", action="store_true", help="like --kelp, and write the patch to the files")


def pytest_configure(config: pytest.Config) -> None:
    option = config.option
    if not (option.kelp or option.kelp_write) or option.collectonly:
        return
    if config.pluginmanager.has_plugin("kelp_report") or hasattr(config, "workerinput"):
        return  # Kelp itself runs these tests, or xdist's controller repairs
    if not option.kelp_seconds > 0:
        raise pytest.UsageError(f"--kelp-seconds must be positive, not {option.kelp_seconds:g}")
    config.pluginmanager.register(_Suggestion(config), "kelp_suggestion")


class _Suggestion:
    """Notes the failing tests, and prints a patch in the summary."""

    def __init__(self, config: pytest.Config) -> None:
        self.config, self.failing = config, dict[str, None]()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failing[report.nodeid] = None

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any, exitstatus: int) -> None:
        if exitstatus != pytest.ExitCode.TESTS_FAILED or not self.failing:
            return
        terminalreporter.section("Kelp")
        if terminalreporter.isatty:
            terminalreporter.rewrite("searching for a patch ...", erase=True)
        began, arguments = time.time(), self._arguments()
        result = repaired(arguments, self.config.option.kelp_seconds, self.config.rootpath)
        if terminalreporter.isatty:
            terminalreporter.rewrite("", erase=True)
        if result.get("patches"):
            self._show(terminalreporter, result)
            if self.config.option.kelp_write:
                self._write(terminalreporter, result["patches"][0]["files"], began)
            else:
                terminalreporter.write_line("--kelp-write writes it.")
            return
        terminalreporter.write_line(result.get("error") or _no_patch(result))
        for suspect in result.get("suspects", [])[:3]:
            place = f"{suspect['file']}:{suspect['line']} {suspect['function']}"
            terminalreporter.write_line(f"  suspicious: {place} ({suspect['probability']:.0%})")
        where = "" if self.config.rootpath == Path.cwd() else f"cd {shlex.quote(str(self.config.rootpath))} && "
        terminalreporter.write_line(f"To see more: {where}kelp repair {shlex.join(arguments)}")

    def _arguments(self) -> list[str]:
        """Return arguments of `kelp repair` in the project's root: the failing tests, of those given to pytest."""
        arguments = [word for name in list(self.failing)[:NAMED] for word in ("--tests", name)]
        if self.config.args_source is pytest.Config.ArgsSource.ARGS:
            folder, root = self.config.invocation_params.dir, self.config.rootpath
            given = [_relative(folder / arg.partition("::")[0], root) for arg in self.config.args]
            arguments += ["--test-command", shlex.join([sys.executable, "-m", "pytest", *dict.fromkeys(given)])]
        return arguments

    def _show(self, terminal: Any, result: dict[str, Any]) -> None:
        best = result["patches"][0]
        for line in best["diff"].splitlines():
            color = COLORS.get(line[:1])
            terminal.write_line(line, **({color: True} if color else {}))
        fixed = f"{len(best['fixes'])} of {len(result['tests_before']['failing'])} failing tests"
        cost = f"{result['runs']} test runs, {result['seconds']:.1f} s"
        terminal.write_line("")
        terminal.write_line(f"This patch repairs {fixed} ({cost}). Read it: tests may be too weak.")

    def _write(self, terminal: Any, files: dict[str, str], began: float) -> None:
        from kelp.errors import reason
        from kelp.files import write

        paths = {self.config.rootpath / name: text for name, text in files.items()}
        for path in paths:
            if path.stat().st_mtime > began:
                terminal.write_line(f"{path} has changed meanwhile: nothing is written.")
                return
        for path, text in paths.items():
            try:
                write(path, text.encode())
            except OSError as error:
                terminal.write_line(f"{path} cannot be written: {reason(error)}.")
            else:
                terminal.write_line(f"{_relative(path, self.config.rootpath)} is repaired. Run the tests again.")


def repaired(arguments: list[str], seconds: float, root: Path) -> dict[str, Any]:
    """Repair in a process of its own, which leaves this one as it is; return the object that `--json` prints."""
    options = ["--python", sys.executable, "--max-seconds", f"{seconds:g}", "--json"]
    with subprocess.Popen(
        [*COMMAND, *arguments, *options],
        cwd=root,
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
            return {"error": "Interrupted." if isinstance(error, KeyboardInterrupt) else "Kelp did not end in time."}
    try:
        result: dict[str, Any] = json.loads(output)
    except ValueError:
        last = errors.decode(errors="replace").strip().rpartition("\n")[2]
        return {"error": last or f"kelp repair ended with status {process.returncode}."}
    return result


def _no_patch(result: dict[str, Any]) -> str:
    closest, before = result["closest"], result["tests_before"]
    near = "" if closest is None else f"; the closest edit passes {closest['tests_passed']}"
    return f"No patch found: {before['passed']} of {before['total']} tests pass{near} ({result['runs']} test runs)."


def _relative(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
