"""`kelp repair`: search for small edits with which the failing tests pass."""

import gc
import json
import math
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kelp.cli import options, progress
from kelp.cli.model import offer_import
from kelp.cli.progress import QUIET, VERBOSE, say
from kelp.cli.target import Argument, Target, function_at, is_project, project_of, read_target, root_of
from kelp.errors import KelpError, reason

if TYPE_CHECKING:  # imported when the command runs, so that --help is fast
    from collections.abc import Mapping

    from kelp.execution.interpreter import Interpreter
    from kelp.repair import Event, Project, Result, Session, Tests
    from kelp.repair.settings import Settings


class Strategy(StrEnum):
    best_first = "best-first"
    beam = "beam"
    best_of_n = "best-of-n"


class Format(StrEnum):
    diff = "diff"
    sarif = "sarif"
    github = "github"
    lsp = "lsp"


def repair(
    target: Argument = None,
    tests: options.Tests = None,
    asserts: options.Asserts = None,
    doctest: options.Doctest = False,
    test_command: options.TestCommand = None,
    python: options.Python = None,
    function: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Function to repair, methods as Class.method; repeatable. "
            "Without it: the functions that the failing tests reach.",
        ),
    ] = None,
    intent: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Purpose of the function. Without it: its docstring's first sentence."),
    ] = None,
    max_seconds: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Seconds to search, from the first run of the tests on (default: 60)."),
    ] = None,
    max_runs: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Most test runs, the first one included (default: 256)."),
    ] = None,
    max_edits: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Most edits in a patch (default: 3).")
    ] = None,
    patches: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Search for N patches and print all. Without it: print the best of a few."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Random seed.")] = 0,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME_OR_FOLDER", help="Model that proposes edits; 'none' tries all small edits, likely ones first."
        ),
    ] = None,
    search: Annotated[Strategy, typer.Option(help="Search strategy.")] = Strategy.best_first,
    diff: Annotated[bool, typer.Option("--diff", help="Print the best patch as a diff (the default).")] = False,
    format: Annotated[
        Format,
        typer.Option(
            help="Print the patch as a diff, or all patches and the line of the fault as SARIF 2.1.0, a GitHub "
            "workflow's annotation or LSP code actions."
        ),
    ] = Format.diff,
    write: Annotated[bool, typer.Option("--write", help="Write the best patch to the files.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole result as one JSON object.")] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Exit with status 0 if all tests pass already, and with 1 if a patch is found."),
    ] = False,
    trace: Annotated[
        Path | None, typer.Option(metavar="OUT.html", help="Also write a page to step through the search.")
    ] = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    allow_weak_sandbox: options.AllowWeakSandbox = False,
) -> None:
    """Repair the functions at fault until the tests pass.

    In a project: runs its pytest, finds the failing tests and the functions at fault in any file. Prints a unified
    diff; changes no file without --write. Tests run in a sandbox.

    \b
    Examples:
      kelp repair slugs.py --tests tests/test_slugs.py
      kelp repair
      kelp repair tests/test_app.py::test_total | git apply
      kelp repair src/app/slugs.py:42
      kelp repair slugs.py --assert "slug('A b') == 'a-b'" --function slug --write
      kelp repair slugs.py --doctest --max-seconds 10 --json
      kelp repair slugs.py --python 3.12
      kelp repair src/app/slugs.py --test-command "pytest -q tests/test_app.py"
      kelp repair slugs.py --model none --trace slugs.html

    \b
    Exit status:
      0  repaired
      1  no patch found within the budget
      2  bad usage or bad input
      3  all tests pass already
      130  interrupted
    """
    from kelp.repair.timing import Timings

    timings = Timings()
    gc.disable()  # until the search begins: what is imported stays, and examining it takes time
    asked = Target(Path(target or "."))
    try:
        progress.set_level(quiet, verbose)
        if diff + write + as_json + (format is not Format.diff) > 1:
            raise KelpError("--diff, --write, --json and --format exclude one another: give one of them")
        asked = read_target(target)
        _check_outputs(asked.path if write and asked.path.is_file() else None, trace)
        with timings("import"):
            from kelp.repair import Session
        with options.in_options():
            program, given, names, settings, interpreter = chosen(
                asked, tests, asserts, doctest, test_command, function, python
            )
            model = model or settings.model or "default"
            offer_import(model)
            wanted = patches or settings.patches
            session = Session(
                program,
                given,
                options.budget(
                    runs=max_runs or settings.max_runs,
                    seconds=settings.max_seconds if max_seconds is None else max_seconds,
                    edits=max_edits or settings.max_edits,
                    patches=wanted,
                ),
                model=model,
                functions=names,
                intent=intent,
                strategy=search.value,
                seed=seed,
                python=interpreter,
                allow_weak=allow_weak_sandbox,
                timings=timings,
            )
            say_tests(session, given is None)
            result = _run(session)
        code = _hand_out(session, result, write=write, as_json=as_json, format=format, trace=trace, several=wanted or 1)
    except (KelpError, KeyboardInterrupt) as error:
        from kelp.cli.formats import FORMATS
        from kelp.cli.output import blank

        problem = error if isinstance(error, KelpError) else KelpError("Interrupted", status="interrupted")
        if as_json:
            print_out(json.dumps(blank(asked.path, problem, timings.rounded()["total"]), indent=1) + "\n")
        else:
            print_out(FORMATS[format](None))
        say(str(problem), QUIET)
        code = exit_status(problem)
        if check and problem.status == "passes already":
            code = 0
    else:
        code = code or int(check)
    finally:
        gc.enable()
    raise typer.Exit(code)


def exit_status(problem: KelpError) -> int:
    """Return the exit status of a command that ended before its search."""
    return {"interrupted": 130, "passes already": 3}.get(problem.status, 2)


def chosen(
    asked: Target,
    tests: list[Path] | None,
    asserts: list[str] | None,
    doctest: bool,
    command: str | None,
    function: list[str] | None,
    python: str | None,
) -> "tuple[Path | Project, Tests | None, list[str], Settings, Interpreter]":
    """Return the program of a target, its tests, its functions, the project's settings and Python. Raises KelpError.

    The program is the target's file if tests are given with it or found by its name; else it is the project.
    """
    from kelp.repair import find_tests
    from kelp.repair.settings import settings_of

    path, root = asked.path, root_of(asked)
    settings = settings_of(root) if path.is_dir() or is_project(root) else settings_of(path.parent)
    interpreter = options.python(root / "-" if path.is_dir() else path, python, settings, root)
    alone = bool(asserts or doctest) or not is_project(root) or (bool(tests or command) and path.is_file())
    if path.is_file() and not asked.is_test and (alone or find_tests(path)):
        given = options.given_tests(tests, asserts, doctest, command)
        names = [*(function or []), *([asked.name] if asked.name else [])]
        if asked.line is not None:
            names.append(function_at(path, asked.line))
        return path, given, names, settings, interpreter
    if asserts or doctest:
        raise KelpError("--assert and --doctest need a file, and not a project or a test file")
    project = project_of(
        asked, root, settings, tests=tests or [], command=command, functions=function or [], python=interpreter.path
    )
    return project, None, [], settings, interpreter


def say_tests(session: "Session", found: bool) -> None:
    """Print on stderr the Python and the test files that the command has found by itself."""
    options.say_python(session.python)
    for file in session.tests.files if found else ():
        say(f"Tests: {os.path.relpath(file)}")


def _run(session: "Session") -> "Result":
    """Run a session to its end, or until Ctrl-C, and show its progress. Raises KelpError and KeyboardInterrupt."""
    from kelp.cli import output
    from kelp.cli.progress import status_line
    from kelp.repair import Done, ModelReady, StateTested

    best = 0
    try:
        with status_line("running the tests") as show:
            for event in session.run():
                say_found(session, event)
                match event:
                    case ModelReady():
                        gc.freeze()
                        gc.enable()
                    case StateTested(state=state) if state.observation is not None:
                        say(output.step(state), VERBOSE)
                        best = max(best, state.observation.passed)
                        runs = f"{state.run}/{session.budget.runs} test runs"
                        edit = state.edit and f": {output.change_text(state.edit, 20)}"
                        show(f"{runs}, best {best}/{state.observation.total} tests, {state.function}{edit or ''}")
                    case Done(result=result):
                        return result
    except KeyboardInterrupt:
        if (found := session.result) is not None:
            return found
        raise
    raise AssertionError("a session ends with Done")


def say_found(session: "Session", event: "Event") -> None:
    """Print on stderr the findings of the first run of the tests."""
    from kelp.execution.explain import counts, needs_of
    from kelp.execution.worker.protection import weakness
    from kelp.repair import FunctionsChosen, SandboxStarted, TestsObserved, TestsSetAside

    match event:
        case SandboxStarted(missing=missing) if missing:
            say(f"{weakness(missing)}; running all the same.")
        case TestsObserved(observation=observation) if session.project is not None and observation.outcomes:
            say(f"{counts(observation)}.")
        case FunctionsChosen(functions=functions):
            names = (f"{each.name} ({math.exp(each.log_prob):.0%})" for each in functions)
            say(f"Functions: {', '.join(names)}.", VERBOSE)
        case TestsSetAside(needs=needs, others=others):
            if needs:
                plugins = bool(session.project or session.tests.command)
                say(f"Set aside, as no fault of the program: {needs_of(needs, plugins=plugins)}.")
            if others:
                listed = [f"{name} ({how})" for name, how in others.items()]
                say(f"Set aside, as other failures: {', '.join(listed[:3])}{' ...' * (len(listed) > 3)}.")


def _hand_out(
    session: "Session",
    result: "Result",
    *,
    write: bool,
    as_json: bool,
    format: Format,
    trace: Path | None,
    several: int,
) -> int:
    """Print, write and explain a result; return the exit status. Raises KelpError."""
    from kelp.cli import output
    from kelp.cli.formats import FORMATS

    interrupted = result.status == "interrupted"
    code = 130 if interrupted else 0 if result.patches else 1
    if as_json:
        print_out(json.dumps(output.as_json(result, session), indent=1) + "\n")
    elif write and result.patches and not interrupted:
        _write_all(session, result.patches[0].files)
    elif several > 1 and format is Format.diff:
        print_out(progress.in_color(output.diffs(result.patches[:several])))
    else:
        text = FORMATS[format](result)
        print_out(progress.in_color(text) if format is Format.diff else text)
    say(output.sentence(result))
    if not (result.patches or as_json):
        say(output.still_failing(result))
    if trace:
        from kelp.web.trace import render_trace

        try:
            _write(trace, render_trace(result.trajectory).encode())
        except KelpError as problem:  # the patch is printed already
            say(str(problem), QUIET)
            return 2
    return code


def _write_all(session: "Session", files: "Mapping[Path, bytes]") -> None:
    """Replace files by those of a patch. Raises KelpError before it writes any, if one has changed since the start."""
    from kelp.files import check_writable, read

    before = session.program.files(session.source)
    for path in files:
        if read(path) != before[path]:
            raise KelpError(f"{path} has changed since the search began and is left as it is")
        check_writable(path)
    for path, source in files.items():
        _write(path, source)


def _check_outputs(*paths: Path | None) -> None:
    """Raise KelpError where a file cannot be written, before any work is done for it."""
    from kelp import files

    for path in paths:
        if path is not None:
            files.check_writable(path)


def _write(path: Path, data: bytes) -> None:
    from kelp import files

    try:
        files.write(path, data)
    except OSError as error:
        raise KelpError(f"{path} cannot be written: {reason(error)}.") from None


def print_out(text: str) -> None:
    """Print to stdout byte for byte: line ends are the file's own. Raises KelpError."""
    try:
        sys.stdout.buffer.write(text.encode())
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter tries again at its end
        if not isinstance(error, BrokenPipeError):  # its reader has closed it
            raise KelpError(f"The output cannot be written: {reason(error)}.") from None
