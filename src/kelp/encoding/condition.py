"""Conditions: the goal and the test results that a model is given beside the program."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from kelp.syntax.edits import Edit


@dataclass(frozen=True)
class Condition:
    """The goal of a repair and the test results of one state. An empty part is unknown and is not encoded."""

    intent: str = ""
    asserts: tuple[str, ...] = ()  # visible tests, as source
    observation: str = ""  # result of the tests on this very program
    # Read by the search alone, never encoded:
    suspicion: tuple[float, ...] = ()  # of each line of the program, from 0 to 1
    names: frozenset[str] | None = None  # defined by the file around the program; None where unknown
    exception: str | None = None  # name of the exception that the first failing test ends with
    effects: Mapping[Edit, float] = field(default_factory=dict)  # log-suspicion of edits, by what they change


@dataclass(frozen=True)
class EncodingConfig:
    """Longest parts of a condition, in tokens. The program is never cut."""

    max_intent: int = 24
    max_spec: int = 80
    max_observation: int = 48

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}  # in a recipe, an unknown key is refused

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 0:
                raise ValueError(f"{name} is a number of tokens and cannot be {value}")
