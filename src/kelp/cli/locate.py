"""`kelp locate`: list the functions and lines that probably make tests fail, without a search."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kelp.cli import options
from kelp.cli.target import Argument, Target, read_target
from kelp.errors import KelpError

if TYPE_CHECKING:  # imported when the command runs, so that --help is fast
    from kelp.repair import Located, Session, Suspect


def locate(
    target: Argument = None,
    tests: options.Tests = None,
    asserts: options.Asserts = None,
    doctest: options.Doctest = False,
    test_command: options.TestCommand = None,
    python: options.Python = None,
    most: Annotated[int, typer.Option("--most", min=1, metavar="N", help="Most functions to list.")] = 10,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
    allow_weak_sandbox: options.AllowWeakSandbox = False,
) -> None:
    """List the functions and lines that probably make the tests fail, and why.

    The tests run once, in the sandbox. A function is suspicious if failing tests run it and passing ones do not, and
    more so if a failing test raises in it. No model is needed, and nothing is changed.

    \b
    Examples:
      kelp locate
      kelp locate tests/test_app.py::test_total
      kelp locate src/app
      kelp locate slugs.py --tests tests/test_slugs.py --json

    \b
    Exit status:
      0  functions are listed
      2  bad usage or bad input, or nothing to list
      3  all tests pass
      130  interrupted
    """
    from kelp.cli.progress import QUIET, say, set_level
    from kelp.cli.repair import chosen, exit_status, print_out, say_tests

    set_level(quiet, False)
    asked = Target(Path(target or "."))
    try:
        asked = read_target(target)
        with options.in_options():
            from kelp.repair import Session

            program, given, names, _, interpreter = chosen(asked, tests, asserts, doctest, test_command, None, python)
            session = Session(
                program, given, functions=names, model="none", python=interpreter, allow_weak=allow_weak_sandbox
            )
            say_tests(session, given is None)
            located = _run(session, most)
        print_out(json.dumps(_object(session, located), indent=1) + "\n" if as_json else _text(located))
        code = 0
    except (KelpError, KeyboardInterrupt) as error:
        problem = error if isinstance(error, KelpError) else KelpError("Interrupted", status="interrupted")
        if as_json:
            blank = {"status": problem.status, "error": str(problem), "suspects": []}
            print_out(json.dumps(blank, indent=1) + "\n")
        say(str(problem), QUIET)
        code = exit_status(problem)
    raise typer.Exit(code)


def _run(session: "Session", most: int) -> "Located":
    from kelp.cli.progress import status_line
    from kelp.cli.repair import say_found
    from kelp.repair import Located

    with status_line("running the tests"):
        for event in session.locate(most):
            say_found(session, event)
            if isinstance(event, Located):
                return event
    raise AssertionError("it ends with Located")


def _object(session: "Session", located: "Located") -> dict[str, Any]:
    from kelp.cli.output import suspect_json

    return {
        "status": "located",
        "failing": [outcome.name for outcome in located.observation.failures],
        "suspects": [suspect_json(suspect) for suspect in located.suspects],
        "set_aside": [{"name": name, "needs": what or None} for name, what in session.aside.items()],
        "python": vars(session.python),
    }


def _text(located: "Located") -> str:
    sources: dict[Path, list[str]] = {}
    paragraphs = []
    for number, suspect in enumerate(located.suspects, 1):
        if suspect.file not in sources:
            sources[suspect.file] = suspect.file.read_text("utf-8").splitlines()
        paragraphs.append(_paragraph(number, suspect, sources[suspect.file]))
    return "\n\n".join(paragraphs) + "\n"


def _paragraph(number: int, suspect: "Suspect", code: list[str]) -> str:
    from kelp.execution.observation import shorten

    file = os.path.relpath(suspect.file)
    failing, passing = len(suspect.failing), len(suspect.passing)
    lines = [f"{number}. {file}:{suspect.first_line} {suspect.function} ({suspect.probability:.0%})"]
    lines.append(f"   {failing} failing {'test runs' if failing == 1 else 'tests run'} it, {passing} passing")
    if suspect.raised is not None:
        lines.append(f"   {suspect.raised[0]} is raised on line {suspect.raised[1]}")
    lines += [f"   failing: {shorten(name, 100)}" for name in suspect.failing[:3]]
    if failing > 3:
        lines.append(f"   ... and {failing - 3} more")
    lines += [f"   {line:5}  {value:4.0%}  {shorten(code[line - 1], 90)}" for line, value in sorted(suspect.lines)]
    return "\n".join(lines)
