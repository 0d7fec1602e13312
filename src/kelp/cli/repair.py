"""`kelp repair`: a broken function goes in, a tested patch comes out."""

import gc
import json
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kelp.cli import options
from kelp.cli.model import offer_import
from kelp.errors import KelpError, printable, reason

if TYPE_CHECKING:  # imported when the command runs, so that --help is fast
    from kelp.repair import Result, Session


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
    file: Annotated[Path, typer.Argument(metavar="FILE.py", help="Python file to repair.")],
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
        float, typer.Option(metavar="SECONDS", help="Seconds to search, from the first run of the tests on.")
    ] = 60.0,
    max_runs: Annotated[int, typer.Option(min=1, metavar="N", help="Test runs, the first one included.")] = 256,
    max_edits: Annotated[int, typer.Option(min=1, metavar="N", help="Edits in a patch, at most.")] = 3,
    patches: Annotated[int, typer.Option(min=1, metavar="N", help="Patches after which the search stops.")] = 3,
    seed: Annotated[int, typer.Option(metavar="N", help="Random seed.")] = 0,
    model: Annotated[
        str,
        typer.Option(metavar="NAME_OR_FOLDER", help="Model to use; 'none' tries small edits, likely ones first."),
    ] = "default",
    search: Annotated[Strategy, typer.Option(help="Search strategy.")] = Strategy.best_first,
    diff: Annotated[bool, typer.Option("--diff", help="Print the best patch as a diff (the default).")] = False,
    format: Annotated[
        Format,
        typer.Option(
            help="Print the patch as a diff, or all patches and the place of the fault as SARIF 2.1.0, a GitHub "
            "workflow's annotation or LSP code actions."
        ),
    ] = Format.diff,
    write: Annotated[bool, typer.Option("--write", help="Replace FILE.py by the best patch.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole result as one JSON object.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with status 0 where all tests pass already, and with 1 for a repair.")
    ] = False,
    trace: Annotated[
        Path | None, typer.Option(metavar="OUT.html", help="Also write a page to step through the search.")
    ] = None,
    allow_weak_sandbox: options.AllowWeakSandbox = False,
) -> None:
    """Repair a function until its tests pass.

    Prints a unified diff; changes no file without --write. Tests run in a sandbox.

    \b
    Examples:
      kelp repair slugs.py
      kelp repair slugs.py --tests tests/test_slugs.py | patch -p1
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
      130  interrupted
    """
    from kelp.repair.timing import Timings

    timings = Timings()
    gc.disable()  # until the search begins: imports and JAX traces stay, and examining them takes time
    try:
        if diff + write + as_json + (format is not Format.diff) > 1:
            raise KelpError("--diff, --write, --json and --format exclude one another: give one of them")
        _check_outputs(file if write else None, trace)
        offer_import(model)
        with timings("import"):
            from kelp.repair import Session
        with options.in_options():
            session = Session(
                file,
                options.given_tests(tests, asserts, doctest, test_command),
                options.budget(runs=max_runs, seconds=max_seconds, edits=max_edits, patches=patches),
                model=model,
                functions=function or [],
                intent=intent,
                strategy=search.value,
                seed=seed,
                python=options.python(file, python),
                allow_weak=allow_weak_sandbox,
                timings=timings,
            )
            options.say_python(session.python)
            if not (tests or asserts or doctest or test_command):
                for found in session.tests.files:
                    say(f"Tests: {os.path.relpath(found)}")
            result = _run(session)
        code = _hand_out(session, result, write=write, as_json=as_json, format=format, trace=trace)
    except (KelpError, KeyboardInterrupt) as error:
        from kelp.cli.formats import FORMATS
        from kelp.cli.output import blank

        problem = error if isinstance(error, KelpError) else KelpError("Interrupted", status="interrupted")
        if as_json:
            print_out(json.dumps(blank(file, problem), indent=1) + "\n")
        else:
            print_out(FORMATS[format](None))
        say(str(problem))
        code = 130 if problem.status == "interrupted" else 2
        if check and problem.status == "passes already":
            code = 0
    else:
        code = code or int(check)
    finally:
        gc.enable()
    raise typer.Exit(code)


def _run(session: "Session") -> "Result":
    """Run a session to its end, or until Ctrl-C, and show its progress. Raises KelpError and KeyboardInterrupt."""
    from kelp.cli.progress import status_line
    from kelp.execution.explain import needs_of
    from kelp.execution.worker.protection import weakness
    from kelp.repair import Done, ModelReady, SandboxStarted, StateTested, TestsSetAside

    best = 0
    try:
        with status_line("reading the program") as show:
            for event in session.run():
                match event:
                    case SandboxStarted(missing=missing) if missing:
                        say(f"{weakness(missing)}; running all the same.")
                    case TestsSetAside(needs=needs):
                        say(f"Set aside, as no fault of the program: {needs_of(needs)}.")
                    case ModelReady():
                        gc.freeze()
                        gc.enable()
                    case StateTested(state=state) if state.observation is not None:
                        best = max(best, state.observation.passed)
                        runs = f"{state.run}/{session.budget.runs} test runs"
                        show(f"{runs}, best {best}/{state.observation.total} tests")
                    case Done(result=result):
                        return result
    except KeyboardInterrupt:
        if (found := session.result) is not None:
            return found
        raise
    raise AssertionError("a session ends with Done")


def _hand_out(
    session: "Session", result: "Result", *, write: bool, as_json: bool, format: Format, trace: Path | None
) -> int:
    """Print, write and explain a result; return the exit status. Raises KelpError."""
    from kelp import files
    from kelp.cli import output
    from kelp.cli.formats import FORMATS

    path = session.path
    assert path is not None
    interrupted = result.status == "interrupted"
    if as_json:
        print_out(json.dumps(output.as_json(result, session.python, session.timings), indent=1) + "\n")
    elif write and result.patches and not interrupted:
        if files.read(path) != session.source:
            raise KelpError(f"{path} has changed since the search began and is left as it is")
        _write(path, result.patches[0].source)
    else:
        print_out(FORMATS[format](result))
    say(output.sentence(result))
    if not (result.patches or as_json):
        say(output.still_failing(result))
    if trace:
        from kelp.web.trace import render_trace

        try:
            _write(trace, render_trace(result.trajectory).encode())
        except KelpError as problem:  # the patch is printed already
            say(str(problem))
            return 2
    return 130 if interrupted else 0 if result.patches else 1


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


def say(sentence: str) -> None:
    print(printable(sentence), file=sys.stderr)
