"""The record of a repair: written, read again, and refused where it does not fit together."""

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.web.test_trace import a_trajectory

from kelp.errors import KelpError
from kelp.execution.observation import TestOutcome
from kelp.repair.trajectory import Trajectory


def test_a_trajectory_that_is_written_is_read_again() -> None:
    trajectory = a_trajectory()
    assert Trajectory.loads(trajectory.dumps()) == trajectory
    start = trajectory.states[0]
    assert start.observation is not None
    traced = replace(start.observation, outcomes=(TestOutcome("adds", "fail", lines=frozenset({3, 1})),))
    unlikely = replace(trajectory, states=(replace(start, observation=traced), *trajectory.states[1:]))
    again = json.loads(unlikely.dumps())
    assert again["schema"] == 1
    assert again["states"][0]["observation"]["outcomes"][0]["lines"] == [1, 3]
    assert Trajectory.loads(unlikely.dumps()) == unlikely


def test_programs_are_made_again_from_the_edits() -> None:
    trajectory = a_trajectory()
    assert [trajectory.sources[id].count(b"x + y") for id in (0, 1, 2)] == [0, 0, 1]
    assert [state.id for state in trajectory.path(2)] == [0, 2]
    assert trajectory.closest.id == 2 and trajectory.status == "repaired"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("schema", 2, "the schema is 2, and this Kelp reads 1"),
        ("states", [], "there are no states"),
        ("states.1.edit.start", "here", r"states\.1\.edit\.start"),
        ("states.0.observation.outcomes.0.status", "green", r"states\.0\.observation\.outcomes\.0\.status"),
        ("states.2.id", 1, "two states have the id 1"),
        ("states.1.parent", 2, "state 1: its parent 2 does not come before it"),
        ("states.1.parent", None, "state 1: a parent and an edit go together"),
        ("states.1.edit.start", 54, "state 1: bytes 54 to .* are not 'x - y' in state 0"),
        ("patches.0", 9, "a patch names state 9, which is not there"),
        ("seconds", None, "seconds"),
    ],
)
def test_a_malformed_trajectory_is_refused_and_its_place_named(path: str, value: Any, message: str) -> None:
    fields = json.loads(a_trajectory().dumps())
    *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    at = fields
    for part in way:
        at = at[part]
    at[last] = value
    with pytest.raises(KelpError, match=message):
        Trajectory.loads(json.dumps(fields))
