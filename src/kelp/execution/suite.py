"""What to run and how much of the machine it may use."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


def as_tests(asserts: Iterable[str]) -> tuple[str, ...]:
    if isinstance(asserts, str):
        raise TypeError(f"asserts must be several strings, not one: {asserts!r}")
    return tuple(asserts)


@dataclass(frozen=True)
class Suite:
    """The tests of a program.

    `asserts`: `assert` statements or bare expressions that must hold; each one is a test named by its text.
    `pytest_files`: files that pytest runs.  `doctest`: run the examples in the program's docstrings.
    `setup`: code run before the program (or, for a module, before the asserts): imports, helpers.
    """

    asserts: tuple[str, ...] = ()
    pytest_files: tuple[Path, ...] = ()
    doctest: bool = False
    setup: str = ""

    def __post_init__(self) -> None:
        files = tuple(Path(path).absolute() for path in self.pytest_files)
        for path in files:
            if not path.exists():
                raise FileNotFoundError(f"test file {path} does not exist")
        object.__setattr__(self, "asserts", as_tests(self.asserts))
        object.__setattr__(self, "pytest_files", files)


@dataclass(frozen=True)
class Limits:
    """What one run may use.  `memory_mb` is on top of what the warm interpreter has mapped already.

    `cpu_seconds` bounds processor time, which is the same however busy the machine is (on Linux; not at all elsewhere).
    """

    seconds: float = 2.0
    memory_mb: int = 512
    file_mb: int = 16
    open_files: int = 256
    cpu_seconds: float | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be positive, got {value}")
