"""Survey of a project: the outcome of every test, and the functions that each one reaches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kelp.execution.observation import Observation
from kelp.execution.worker.protocol import Event


class Place(NamedTuple):
    """A line of a file, counted from 1."""

    path: str
    line: int


@dataclass(frozen=True)
class Survey:
    """Tests of a project as it is.

    `reached`: the first lines of the functions that each test calls; `imported`: of those that are called while tests
    are imported, and so concern any test. `frames`: the project's lines on the traceback of a failing test, the
    innermost last.
    """

    observation: Observation
    tests: tuple[str, ...]  # all of the project, those that the survey did not come to included
    reached: dict[str, frozenset[Place]]
    imported: frozenset[Place]
    frames: dict[str, tuple[Place, ...]]


def survey_of(events: Sequence[Event], observation: Observation) -> Survey:
    """Return the survey that a run reports. A malformed report gives fewer facts."""
    codes: list[Place] = []
    reached: dict[str, frozenset[Place]] = {}
    frames: dict[str, tuple[Place, ...]] = {}
    for event in events:
        if event["event"] == "code":
            codes.append(Place(event["path"], event["line"]))
        elif event["event"] == "reached":
            reached[event["name"]] = frozenset(codes[n] for n in event["codes"] if 0 <= n < len(codes))
        elif event["event"] == "raised":
            frames[event["name"]] = tuple(map(Place, event["paths"], event["lines"]))
    imported = reached.pop("", frozenset())
    tests = [name for event in events if event["event"] == "collected" for name in event["names"]]
    tests += [outcome.name for outcome in observation.outcomes]
    return Survey(observation, tuple(dict.fromkeys(tests)), reached, imported, frames)
