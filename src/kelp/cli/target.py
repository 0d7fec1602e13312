"""Target of `kelp repair` and `kelp locate`: a project, or a part of it."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kelp.errors import KelpError

if TYPE_CHECKING:  # imported when a command runs, so that --help is fast
    from kelp.repair import Project
    from kelp.repair.settings import Settings

Argument = Annotated[
    str | None,
    typer.Argument(
        metavar="TARGET",
        help="FILE.py, FILE.py:LINE, FILE.py::FUNCTION, a test file, TEST_FILE.py::TEST, or a folder. Without it: the "
        "project of the current folder.",
    ),
]


@dataclass(frozen=True)
class Target:
    """A file or folder, a line or function of it, or a test in it (the rest of a node id)."""

    path: Path
    line: int | None = None
    name: str | None = None

    @property
    def is_test(self) -> bool:
        from kelp.repair.project import is_test

        return self.path.suffix == ".py" and is_test(self.path.name)


def read_target(text: str | None) -> Target:
    """Return the target that an argument names. Raises KelpError."""
    path, _, name = (text or ".").partition("::")
    line = re.fullmatch(r"(.+\.py):(\d+)", path)
    target = Target(Path(path), name=name or None)
    if line is not None and not Path(path).exists():
        target = Target(Path(line[1]), int(line[2]))
    if not target.path.exists():
        raise KelpError(f"{target.path} does not exist.")
    return target


def root_of(target: Target) -> Path:
    """Return the folder of the target's project. Raises KelpError."""
    from kelp.execution.command import root_of

    try:
        return Path(root_of(target.path.resolve()))
    except ValueError as error:
        raise KelpError(str(error)) from None


def is_project(root: Path) -> bool:
    """Return whether a folder has a file or folder that marks a project."""
    from kelp.execution.worker.folders import ROOT_MARKS

    return any((root / mark).exists() for mark in ROOT_MARKS)


def project_of(
    target: Target,
    root: Path,
    settings: "Settings",
    *,
    tests: list[Path],
    command: str | None,
    functions: list[str],
    python: str,
) -> "Project":
    """Return the project of a target, narrowed to it. `python` runs its pytest. Raises KelpError."""
    from kelp.cli.options import split_command
    from kelp.repair import Project

    given = [os.path.relpath(os.path.abspath(path), root) for path in tests]
    only: tuple[Path, ...] = ()
    if target.is_test or (target.path.is_dir() and {"tests", "test"} & {target.path.name}):
        given.append(os.path.relpath(target.path.resolve(), root) + (f"::{target.name}" if target.name else ""))
    elif target.path.resolve() != root:
        only = (target.path.resolve(),)
        functions = [*functions, target.name] if target.name else functions
    words = command or settings.test_command
    default = (python, "-m", "pytest")
    return Project(
        root=root,
        command=split_command(words) if words else default,
        exclude=tuple(settings.exclude),
        only=only,
        functions=tuple(functions),
        line=target.line,
        tests=tuple(given),
    )


def function_at(path: Path, line: int) -> str:
    """Return the name of the function at a line of a file. Raises KelpError."""
    from kelp.files import check_python, read
    from kelp.languages import registry
    from kelp.syntax.functions import functions

    source = read(path)
    check_python(source, str(path))
    for function in functions(source, registry.by_name("python")):
        if function.first_line <= line <= function.last_line:
            return function.qualname
    raise KelpError(f"Line {line} of {path} is in no function")
