"""`kelp test`: run the tests of a file once, as `kelp repair` does, and explain the failures."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from kelp.cli import options
from kelp.errors import KelpError, printable
from kelp.execution.explain import explain
from kelp.execution.interpreter import Interpreter
from kelp.execution.observation import Observation


def test(
    file: Annotated[Path, typer.Argument(metavar="FILE.py", help="Python file to test.")],
    tests: options.Tests = None,
    asserts: options.Asserts = None,
    doctest: options.Doctest = False,
    test_command: options.TestCommand = None,
    python: options.Python = None,
    max_seconds: Annotated[float, typer.Option(help="Seconds that the tests may take.")] = 10.0,
    coverage: Annotated[
        bool, typer.Option("--coverage", help="Also show the lines of FILE.py that failing and passing tests ran.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print every result as one JSON object.")] = False,
    quiet: options.Quiet = False,
    allow_weak_sandbox: options.AllowWeakSandbox = False,
) -> None:
    """Run the tests of a file in the sandbox, once, and explain the failures.

    \b
    Examples:
      kelp test slugs.py
      kelp test slugs.py --tests tests/test_slugs.py --coverage
      kelp test slugs.py --assert "slug('A b') == 'a-b'" --json
      kelp test src/app/slugs.py --test-command "pytest -q tests/test_app.py"

    \b
    Exit status:
      0  all tests passed
      1  some did not
      2  bad usage or bad input
    """
    from kelp.cli.progress import say, set_level
    from kelp.cli.repair import print_out
    from kelp.execution.worker.protection import weakness
    from kelp.files import read
    from kelp.repair.tests import check_program, check_ran, found_tests, run_limits, start_sandbox

    set_level(quiet, False)
    if not max_seconds > 0:
        raise KelpError(f"--max-seconds must be positive, not {max_seconds}")
    source = read(file)
    interpreter = options.python(file, python)
    check_program(source, str(file), interpreter)
    options.say_python(interpreter)
    with options.in_options():
        given = options.given_tests(tests, asserts, doctest, test_command) or found_tests(file)
        limits = run_limits(given, max_seconds)
        with start_sandbox(given, file, limits, allow_weak=allow_weak_sandbox, python=interpreter) as sandbox:
            if sandbox.missing:
                say(f"{weakness(sandbox.missing)}; running all the same.")
            observation = sandbox.run(source, trace=coverage or as_json)
        check_ran(given, str(file), observation)
    if as_json:
        print_out(json.dumps(as_object(file, interpreter, observation), indent=1) + "\n")
    else:
        print_out(printable(explain(observation, source, os.path.relpath(file), coverage=coverage)))
    raise typer.Exit(0 if observation.ok else 1)


def as_object(file: Path, python: Interpreter, observation: Observation) -> dict[str, Any]:
    """Return the JSON object of an observation."""
    from kelp.repair.trajectory import as_json

    return {
        "status": "passed" if observation.ok else "not passed",
        "file": str(file),
        "python": vars(python),
        "passed": observation.passed,
        "total": observation.total,
        "error": observation.error,
        "error_line": observation.error_line,
        "needs": observation.needs,
        "tests": as_json(observation)["outcomes"],
        "seconds": round(observation.seconds, 4),
        "output": observation.output,
    }
