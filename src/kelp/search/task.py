"""What is to be repaired: a file, the functions in it that may be edited, and what is known of each."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from kelp.encoding.condition import Condition
from kelp.syntax.functions import Function, functions
from kelp.syntax.program import Language, Wanted


@dataclass(frozen=True)
class Target:
    """A function that may be edited. `prior` is the log-probability that the fault is in it."""

    qualname: str
    intent: str = ""
    asserts: tuple[str, ...] = ()
    prior: float = 0.0


@dataclass(frozen=True)
class Task:
    """A file and its targets. Tests are the sandbox's business."""

    source: bytes
    targets: tuple[Target, ...]
    language: Language
    setup: bytes = b""  # code that is run before the file, in its namespace

    def __post_init__(self) -> None:
        known = {f.qualname for f in functions(self.source, self.language)}
        for target in self.targets:
            if target.qualname not in known:
                raise ValueError(f"there is no function {target.qualname}")

    @cached_property
    def names(self) -> frozenset[str] | None:
        """That are defined around the functions; None where that is not known."""
        try:
            found = [self.language.bound_names(part) for part in (self.setup, self.source)]
        except (SyntaxError, ValueError):  # beyond what one of the parsers takes
            return None
        return None if None in found else frozenset[str]().union(*filter(None, found))

    @cached_property
    def wanted(self) -> dict[Target, list[Wanted]]:
        """Values that the asserts of each target expect of its calls."""
        return {target: self.language.specs.wanted(target.asserts, target.qualname) for target in self.targets}

    def windows(self, source: bytes) -> Iterable[tuple[Target, Function]]:
        """The targets as they stand in a state of the file."""
        windows = functions(source, self.language)
        for target in self.targets:  # a name may be defined more than once: a property and its setter
            yield from ((target, window) for window in windows if window.qualname == target.qualname)

    def condition(self, target: Target, observation: str) -> Condition:
        return Condition(target.intent, target.asserts, observation, names=self.names)


@dataclass(frozen=True)
class Budget:
    """Limits of one search. `more_runs`: test runs spent on further patches after the first."""

    runs: int = 256
    seconds: float = 60.0
    edits: int = 3
    patches: int = 3
    more_runs: int = field(default=16)

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0 and not (name == "more_runs" and value == 0):
                raise ValueError(f"{name} must be positive, not {value}")
