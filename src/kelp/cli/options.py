"""The options by which a person says what the tests are, the same for all commands that run them."""

from pathlib import Path
from typing import Annotated

import typer

Tests = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="TEST_FILE.py",
        help="A pytest file; may be given again. Without any test option: test_FILE.py or FILE_test.py beside "
        "FILE.py or in tests/.",
    ),
]
Asserts = Annotated[
    list[str] | None,
    typer.Option("--assert", metavar="EXPRESSION", help="An expression that must be true; may be given again."),
]
Doctest = Annotated[bool, typer.Option("--doctest", help="The examples in the docstrings must hold.")]
TestCommand = Annotated[
    str | None,
    typer.Option(
        metavar="COMMAND",
        help="Instead of those: a command, run in a copy of the project, in the first folder up from FILE.py with a "
        "pyproject.toml, .git or the like; slower. Passing is exit status 0 and, where it runs pytest, every test. "
        "A program made to deceive the process that tests it can pass here, other than with --tests.",
    ),
]
AllowWeakSandbox = Annotated[
    bool, typer.Option("--allow-weak-sandbox", help="Run even where this machine lacks protections (see kelp doctor).")
]
