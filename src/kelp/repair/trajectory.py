"""Trajectory: the record of a repair, from which JSON output, pages and evaluation results are made."""

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from kelp.errors import KelpError
from kelp.execution.observation import Observation
from kelp.repair.program import Program
from kelp.search.node import Node
from kelp.search.policy import PointedSite
from kelp.search.task import Budget

UNNAMED = "program.py"  # in the diffs of a program that is no file
SCHEMA = 1  # version of what `Trajectory` and the records in it hold


@dataclass(frozen=True)
class TextEdit:
    """Bytes `start` to `end` of a source, which read `old`, become `new`."""

    start: int
    end: int
    old: str
    new: str

    def apply(self, source: bytes) -> bytes:
        """Return the edited source. Raises ValueError where it does not read `old` there."""
        if source[self.start : self.end] != self.old.encode():
            raise ValueError(f"bytes {self.start} to {self.end} are not {self.old!r}")
        return source[: self.start] + self.new.encode() + source[self.end :]


@dataclass(frozen=True)
class State:
    """A state of the file: its parent after one edit. Offsets of the edit are bytes of the parent's source."""

    id: int
    parent: int | None  # None: the file as it was
    edit: TextEdit | None
    function: str  # qualname of the function edited
    origin: str  # "start", "model", "near-miss" or "values"
    log_prob: float | None  # of the edits up to here, in nats; None: minus infinity
    run: int | None  # number of its test run, from 1; None: not run
    seconds: float  # of the budget, used up when that ended
    observation: Observation | None


@dataclass(frozen=True)
class Candidate:
    """A function that is searched: bytes `start` to `end` of the file, and its log-probability (nats) of the fault."""

    name: str
    log_prob: float
    intent: str
    start: int
    end: int  # of its last definition, where a name has several: a property and its setter


@dataclass(frozen=True)
class Trajectory:
    """Everything that one repair tried, in order. Raises ValueError, which names the place, where it does not fit."""

    schema: int
    file: str  # as it was given; empty for a program that is no file; the folder of a project
    source: str  # of a project: the bundle of `files`
    model: str
    strategy: str
    seed: int
    budget: Budget
    functions: tuple[Candidate, ...]
    states: tuple[State, ...]  # that were run; the file as it was first, be it run or not
    patches: tuple[int, ...]  # ids of states that pass all tests, best first
    runs: int
    seconds: float
    made: int  # states that were made ...
    valid: int  # ... and how many of them compiled
    stopped: str  # reason
    timings: dict[str, float]
    files: tuple[str, ...] = ()  # of a project, relative to its folder
    pointer: dict[int, tuple[PointedSite, ...]] = field(default_factory=dict)  # by state: where the model would edit

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise ValueError(f"the schema is {self.schema}, and this Kelp reads {SCHEMA}")
        if not self.states:
            raise ValueError("there are no states")
        for id in self.patches:
            if id not in self.sources:
                raise ValueError(f"a patch names state {id}, which is not there")

    @cached_property
    def sources(self) -> dict[int, bytes]:
        """The program of each state by its id."""
        sources: dict[int, bytes] = {}
        for state in self.states:
            if state.id in sources:
                raise ValueError(f"two states have the id {state.id}")
            if state.parent is None or state.edit is None:
                if state.parent is not None or state.edit is not None:
                    raise ValueError(f"state {state.id}: a parent and an edit go together")
                sources[state.id] = self.source.encode()
                continue
            if state.parent not in sources:
                raise ValueError(f"state {state.id}: its parent {state.parent} does not come before it")
            try:
                sources[state.id] = state.edit.apply(sources[state.parent])
            except ValueError as error:
                raise ValueError(f"state {state.id}: {error} in state {state.parent}") from None
        return sources

    @cached_property
    def program(self) -> Program:
        paths = [Path(self.file, name) for name in self.files] or [Path(self.file or UNNAMED)]
        return Program(tuple(paths), self.source.encode())

    @cached_property
    def by_id(self) -> dict[int, State]:
        return {state.id: state for state in self.states}

    def path(self, id: int) -> tuple[State, ...]:
        """The states from the start to this one."""
        state = self.by_id[id]
        return (*(() if state.parent is None else self.path(state.parent)), state)

    @property
    def status(self) -> str:
        if self.stopped == "interrupted":
            return "interrupted"
        return "repaired" if self.patches else "not repaired"

    @property
    def validity(self) -> float:
        return self.valid / self.made if self.made else 1.0

    @property
    def closest(self) -> State:
        """The state that passes the most tests; among equals the likeliest."""

        def rank(state: State) -> tuple[int, float]:
            passed = state.observation.passed if state.observation else 0
            return passed, -math.inf if state.log_prob is None else state.log_prob

        return max(self.states, key=rank)

    def dumps(self) -> str:
        """Return the trajectory as JSON."""
        return json.dumps(as_json(self))

    @classmethod
    def loads(cls, text: str | bytes) -> "Trajectory":
        """Read what `dumps` gave. Raises KelpError."""
        from pydantic import TypeAdapter  # takes a tenth of a second to import

        try:
            return TypeAdapter(cls).validate_json(text)
        except ValueError as error:
            raise KelpError(f"This is no trajectory of schema {SCHEMA}: {' '.join(str(error).split())[:300]}") from None


def as_json(record: Any) -> Any:
    """Return a record, a dataclass, as JSON values, with sets as sorted lists."""
    return _plain(dataclasses.asdict(record))


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case set() | frozenset():
            return sorted(value)
    return value


def state_of(node: Node) -> State:
    """Return a node of a search as a record."""
    edit = None
    if node.parent is not None and node.edit is not None:
        old = node.parent.source[node.edit.start : node.edit.end]
        edit = TextEdit(start=node.edit.start, end=node.edit.end, old=old.decode(), new=node.edit.text.decode())
    return State(
        id=node.id,
        parent=None if node.parent is None else node.parent.id,
        edit=edit,
        function=node.function,
        origin=node.origin,
        log_prob=node.log_prob if math.isfinite(node.log_prob) else None,
        run=node.run,
        seconds=node.seconds,
        observation=node.observation,
    )


def edits_of(path: Sequence[State]) -> list[TextEdit]:
    return [state.edit for state in path if state.edit is not None]
