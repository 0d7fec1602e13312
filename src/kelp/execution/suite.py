"""What to run and how much of the machine it may use."""

from dataclasses import dataclass
from pathlib import Path


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
        if isinstance(self.asserts, str):
            raise TypeError("asserts must be a tuple of strings, not one string")
        files = tuple(Path(path).absolute() for path in self.pytest_files)
        for path in files:
            if not path.exists():
                raise FileNotFoundError(f"test file {path} does not exist")
        object.__setattr__(self, "asserts", tuple(self.asserts))
        object.__setattr__(self, "pytest_files", files)


@dataclass(frozen=True)
class Limits:
    """What one run may use.  `memory_mb` is on top of what the warm interpreter has mapped already."""

    seconds: float = 2.0
    memory_mb: int = 1024
    file_mb: int = 16
    open_files: int = 256

    def __post_init__(self) -> None:
        for name in ("seconds", "memory_mb", "file_mb", "open_files"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
