"""A task of repair: a file or several, the functions in them that may be edited, specifications, and the budget."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from kelp.encoding.condition import Condition
from kelp.syntax.bundle import split
from kelp.syntax.functions import Function, constants, functions
from kelp.syntax.program import Language, Wanted

DAY = 86400.0  # seconds: without a limit


@dataclass(frozen=True)
class Target:
    """A function, or an assignment outside of functions, that may be edited.

    `prior` is the log-probability that the fault is in it.
    """

    qualname: str
    intent: str = ""
    asserts: tuple[str, ...] = ()
    prior: float = 0.0
    file: int = 0  # number of its file in a bundle


@dataclass(frozen=True)
class Task:
    """A file, or a bundle of the files `files`, and its targets. The tests are with the sandbox."""

    source: bytes
    targets: tuple[Target, ...]
    language: Language
    setup: bytes = b""  # code that is run before the file, in its namespace
    files: tuple[str, ...] = ()
    goals: int = 0  # tests to be repaired, which are all of the progress that a search can make; 0: all tests

    def __post_init__(self) -> None:
        known = {(f.file, f.qualname) for f in _windows(self.source, self.language)}
        for target in self.targets:
            if (target.file, target.qualname) not in known:
                raise ValueError(f"there is no function {target.qualname}")

    def label(self, target: Target) -> str:
        """The name of a target among all: in a bundle, with its file."""
        return f"{self.files[target.file]}::{target.qualname}" if self.files else target.qualname

    @cached_property
    def names(self) -> list[frozenset[str] | None]:
        """Names that are defined around the functions of each file; None where that is not known."""
        return [self._names(source) for source in split(self.source)]

    def _names(self, source: bytes) -> frozenset[str] | None:
        try:
            found = [self.language.bound_names(part) for part in (self.setup, source)]
        except (SyntaxError, ValueError):  # beyond what one of the parsers takes
            return None
        return None if None in found else frozenset[str]().union(*filter(None, found))

    @cached_property
    def wanted(self) -> dict[Target, list[Wanted]]:
        """Values that the asserts of each target expect of its calls; none in a bundle, whose files need the others."""
        asserts = {target: () if self.files else target.asserts for target in self.targets}
        return {target: self.language.specs.wanted(asserts[target], target.qualname) for target in self.targets}

    def windows(self, source: bytes) -> Iterable[tuple[Target, Function]]:
        """Yield each target with its function in a state of the file."""
        windows = _windows(source, self.language)
        for target in self.targets:  # a name may be defined more than once: a property and its setter
            name = (target.file, target.qualname)
            yield from ((target, window) for window in windows if (window.file, window.qualname) == name)

    def condition(self, target: Target, observation: str) -> Condition:
        return Condition(target.intent, target.asserts, observation, names=self.names[target.file])


def _windows(source: bytes, language: Language) -> list[Function]:
    return [*functions(source, language), *constants(source, language)]


@dataclass(frozen=True)
class Budget:
    """Limits of one search. `more_runs` and `more_seconds`: spent on further patches after the first."""

    runs: int = 256
    seconds: float = 60.0
    edits: int = 3
    patches: int = 3
    more_runs: int = field(default=16)
    more_seconds: float = DAY

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0 and not (name == "more_runs" and value == 0):
                raise ValueError(f"{name} must be positive, not {value}")
