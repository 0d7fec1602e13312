"""Result of a case: a line of results.jsonl."""

from dataclasses import dataclass
from typing import Any

from kelp.repair.trajectory import SCHEMA, State


@dataclass(frozen=True)
class CaseResult:
    """Result of a case. Runs are those of the visible tests, the broken program's included."""

    id: str
    group: str
    repaired: bool  # some state passed every visible test
    correct: bool | None  # whether the patch ranked best passes the hidden tests too; None: there are none
    first_correct: bool | None  # the same of the patch found first
    exact: bool | None  # whether the best patch is the correct program; None: that is not known
    first_exact: bool | None
    pass_rate: float  # share of the visible tests that the best state passes
    first_repair: int | None  # test runs up to the first repair
    first_seconds: float | None  # seconds up to it
    runs: int
    seconds: float
    states: int
    valid_states: int
    rejected: int
    stopped: str
    site_rank: int | None  # place of the first right site among the proposed ones; 0: none is right; None: not known
    site_edit: bool | None  # whether the first edit proposed at that site is right
    source: str
    patch: str | None  # the one ranked best
    first_patch: str | None
    path: tuple[State, ...]  # to the best patch, or to the state that passed most tests
    samples: int = 0  # programs drawn without any test
    samples_correct: int = 0  # number of them that pass all tests
    schema: int = SCHEMA  # of the states

    @property
    def solved(self) -> bool:
        """True where the first repair is correct, as far as tests can tell."""
        return self.repaired and self.first_correct is not False

    @classmethod
    def of(cls, fields: Any) -> "CaseResult":
        """Make a result of the values in a line of JSON. Raises ValueError."""
        from pydantic import TypeAdapter

        result = TypeAdapter(cls).validate_python(fields)
        if result.schema != SCHEMA:
            raise ValueError(f"the schema is {result.schema}, and this Kelp reads {SCHEMA}")
        return result
