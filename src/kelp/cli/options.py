"""The options by which a person says what the tests are, the same for all commands that run them."""

from pathlib import Path
from typing import Annotated

import typer

Tests = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="TEST_FILE.py",
        help="pytest file; repeatable. Without any test option: test_FILE.py or FILE_test.py beside "
        "FILE.py or in tests/.",
    ),
]
Asserts = Annotated[
    list[str] | None,
    typer.Option("--assert", metavar="EXPRESSION", help="Expression that must be true; repeatable."),
]
Doctest = Annotated[bool, typer.Option("--doctest", help="Run the examples in the docstrings.")]
TestCommand = Annotated[
    str | None,
    typer.Option(
        metavar="COMMAND",
        help="Command to run instead, in a copy of the project (the first folder up from FILE.py with a "
        "pyproject.toml, .git or the like). It passes with exit status 0 and, where it runs pytest, when every test "
        "passes. Slower, and a hostile program can forge its verdict.",
    ),
]
AllowWeakSandbox = Annotated[
    bool, typer.Option("--allow-weak-sandbox", help="Run although this machine lacks protections (see kelp doctor).")
]
