"""The tests of a program, and the limits of a run."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


def as_tests(asserts: Iterable[str]) -> tuple[str, ...]:
    """Return the asserts as a tuple. Raises TypeError for a single string."""
    if isinstance(asserts, str):
        raise TypeError(f"asserts must be several strings, not one: {asserts!r}")
    return tuple(asserts)


def absolute(path: Path) -> Path:
    """Absolute path without `..` and `//`, which neither pytest nor an import keeps in a file's name.

    Links before a `..` are followed, as the system does; others are kept.
    """
    parts = Path(path).absolute().parts
    parts = (parts[0].replace("//", "/"), *parts[1:])
    if ".." in parts:
        last = len(parts) - parts[::-1].index("..")
        parts = (*Path(*parts[:last]).resolve().parts, *parts[last:])
    return Path(*parts)


@dataclass(frozen=True)
class Suite:
    """The tests of a program, of one kind or several.

    `asserts`: `assert` statements or bare expressions that must hold; each one is a test named by its text.
    `pytest_files`: files that pytest runs.  `doctest`: run the examples in the program's docstrings.
    `setup`: code run before the program (or, for a module, before the asserts): imports, helpers.
    `command`: instead of all those, a program and its arguments, run in a copy of the whole project.
    `only`: the tests of the files that count, as node ids with absolute paths; empty: all.
    """

    asserts: tuple[str, ...] = ()
    pytest_files: tuple[Path, ...] = ()
    doctest: bool = False
    setup: str = ""
    command: tuple[str, ...] = ()
    only: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        files = tuple(absolute(path) for path in self.pytest_files)
        for path in files:
            if not path.exists():
                raise FileNotFoundError(f"test file {path} does not exist")
        object.__setattr__(self, "asserts", as_tests(self.asserts))
        object.__setattr__(self, "pytest_files", files)
        if self.command and (self.asserts or files or self.doctest or self.setup):
            raise ValueError("a command is the only test of a suite that has one")


@dataclass(frozen=True)
class Limits:
    """Limits of one run.  `memory_mb` comes on top of the memory that the warm interpreter has mapped already.

    `cpu_seconds` bounds processor time, which is the same however busy the machine is (on Linux; not at all elsewhere).
    `disk_mb` bounds all files of a run together, where there is a mount namespace.
    For a test command, `cpu_seconds` bounds its first process, `memory_mb` also bounds the resident memory of all its
    processes together, and `tasks` the number of processes and threads at a time.
    """

    seconds: float = 2.0
    memory_mb: int = 512
    file_mb: int = 16
    open_files: int = 256
    cpu_seconds: float | None = None
    tasks: int = 256
    disk_mb: int = 256

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be positive, got {value}")
