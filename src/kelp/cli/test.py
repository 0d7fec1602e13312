"""`kelp test`: what the tests say about a file, as `kelp repair` sees it."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from kelp.cli import options
from kelp.errors import Problem
from kelp.execution.explain import explain
from kelp.execution.observation import Observation


def test(
    file: Annotated[Path, typer.Argument(metavar="FILE.py", help="The Python file to test.")],
    tests: options.Tests = None,
    asserts: options.Asserts = None,
    doctest: options.Doctest = False,
    test_command: options.TestCommand = None,
    max_seconds: Annotated[float, typer.Option(help="Seconds that the tests may take.")] = 10.0,
    coverage: Annotated[
        bool, typer.Option("--coverage", help="Also show the lines of FILE.py that failing and passing tests ran.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print all that was observed as one JSON object.")] = False,
    allow_weak_sandbox: options.AllowWeakSandbox = False,
) -> None:
    """Run the tests of a file in the sandbox, once, and say what failed and how.

    \b
    Examples:
      kelp test slugs.py
      kelp test slugs.py --tests tests/test_slugs.py --coverage
      kelp test slugs.py --assert "slug('A b') == 'a-b'" --json
      kelp test src/app/slugs.py --test-command "pytest -q tests/test_app.py"

    \b
    Exit status:
      0  all tests passed
      1  not all did
      2  bad usage or bad input
    """
    from kelp.cli.files import read_python
    from kelp.cli.repair import check_tests_ran, print_out, start_sandbox
    from kelp.repair.tests import specify

    if not max_seconds > 0:
        raise Problem(f"--max-seconds must be positive, not {max_seconds}.")
    source = read_python(file)
    specification, found = specify(
        file, tests or [], asserts or [], use_doctest=doctest, command=test_command, intent=None
    )
    with start_sandbox(specification.suite, file, allow_weak_sandbox, max_seconds) as sandbox:
        observation = sandbox.run(source, trace=coverage or as_json)
    check_tests_ran(file, [*(tests or []), *found], test_command, observation)
    if as_json:
        print_out(json.dumps(as_object(file, observation), indent=1) + "\n")
    else:
        print_out(explain(observation, source, os.path.relpath(file), coverage=coverage))
    raise typer.Exit(0 if observation.ok else 1)


def as_object(file: Path, observation: Observation) -> dict[str, Any]:
    """All of an observation, for JSON."""
    return {
        "status": "passed" if observation.ok else "not passed",
        "file": str(file),
        "passed": observation.passed,
        "total": observation.total,
        "error": observation.error,
        "error_line": observation.error_line,
        "needs": observation.needs,
        "tests": [vars(outcome) | {"lines": sorted(outcome.lines)} for outcome in observation.outcomes],
        "seconds": round(observation.seconds, 4),
        "output": observation.output,
    }
