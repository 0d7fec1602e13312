"""A run's report is read field by field: an event that is malformed is ignored, whoever has written it."""

import json
from collections.abc import Mapping

import pytest

from kelp.execution import Limits, Sandbox
from kelp.execution.worker.protocol import as_event

OUTCOME = {"event": "outcome", "name": "f() == 1", "status": "fail", "seconds": 0.5}
MALFORMED: list[object] = [
    None,
    [],
    "begin",
    {},
    {"event": ["begin"]},
    {"event": "unheard of"},
    {"event": "begin"},
    {"event": "begin", "name": 7},
    {"event": "line", "line": float("inf")},
    {"event": "line", "line": True},
    {"event": "collected", "names": "test_f"},
    {"event": "collected", "names": ["test_f", {}]},
    {"event": "modules", "files": [], "rewritten": []},
    OUTCOME | {"status": "fine"},
    OUTCOME | {"status": ["fail"]},
    OUTCOME | {"seconds": float("nan")},
    OUTCOME | {"seconds": 10**400},
    OUTCOME | {"message": {"a": 1}},
    OUTCOME | {"line": 1.5},
]


@pytest.mark.parametrize("value", MALFORMED, ids=repr)
def test_a_malformed_event_is_none(value: object) -> None:
    assert as_event(value) is None


def test_an_event_has_every_field_of_its_type_and_no_other() -> None:
    event = as_event(OUTCOME | {"color": "green", "got": "\ud800"})
    fields = ("call", "exception", "expected", "line", "message", "needs")
    assert event == OUTCOME | {"got": "?", "evidence": [], "vouched": False} | dict.fromkeys(fields)


def test_a_program_that_writes_malformed_events_is_only_wrong() -> None:
    lines = "\n".join(["", *map(json.dumps, MALFORMED), "[[[", ""]).encode()
    program = f"""
import os
for number in range(3, 64):
    try: os.write(number, {lines!r})
    except OSError: pass
def f(): return 2
"""
    with Sandbox(limits=Limits(seconds=20)) as sandbox:
        observation = sandbox.run(program.encode(), asserts=["f() == 1", "f() == 2"])
        assert [outcome.status for outcome in observation.outcomes] == ["fail", "pass"]
        assert [result.repr for result in sandbox.evaluate(program.encode(), ["f()"])] == ["2"]


def test_the_values_of_a_well_formed_event_are_kept() -> None:
    event = as_event({"event": "modules", "files": {"a": "/a.py", "b": None}, "rewritten": ["a"]})
    assert isinstance(event, Mapping) and event["files"] == {"a": "/a.py", "b": None}
