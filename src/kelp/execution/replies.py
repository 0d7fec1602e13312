"""Replies of a sandbox's server as observations."""

import os
import signal
from collections import Counter
from typing import Any

from kelp.execution.observation import Observation, TestOutcome, fewer, outcome_of
from kelp.execution.worker.protocol import Reply, Request, function_of, timed_out

_TOO_MUCH = {
    "flood": "reporting too much",
    "tasks": "starting too many processes",
    "memory": "using too much memory",
    "lost": "stopping the sandbox's server",
}
_UNKNOWN = "the code of the test is not in the test files or what they import of the project; --test-command can run it"
_UNSEEN = "the test was not seen to run to its end; if a plugin runs it, use --test-command"


def lost() -> Reply:
    """Reply in place of that of a server which died or hung."""
    sentence = "the sandbox's server died or hung during this run"
    return {
        "events": [{"event": "error", "sentence": sentence, "line": None, "needs": None}],
        "ended": "lost", "status": 0, "output": "", "seconds": 0.0, "expected": [], "changed": [], "last": True,
    }  # fmt: skip


def without_false_needs(reply: Reply) -> Reply:
    """Take needs of files away that are not there outside of the sandbox either, where a run cannot look."""
    for event in reply["events"]:
        if event["event"] in ("outcome", "error"):
            beginning, _, path = (event["needs"] or "").partition("access to ")
            if not beginning and path and not os.path.lexists(path.replace("\0", "")):
                event["needs"] = None
    return reply


def judged(reply: Reply, status: str) -> set[str]:
    """Tests to which the judge gave this status."""
    verdicts = [event for event in reply["events"] if event["event"] == "verdict"]
    return {verdict["name"] for verdict in verdicts if verdict["status"] == status}


def end_of(reply: Reply, request: Request) -> str:
    """End of the run, in words."""
    if reply["ended"] == "cpu":
        return f"was killed at its limit of {request['cpu_seconds']:g} s of processor time"
    if timed_out(reply):
        return f"was killed at its limit of {request['seconds']:g} s"
    if reply["ended"] in _TOO_MUCH:
        return f"was killed for {_TOO_MUCH[reply['ended']]}"
    if reply["status"] < 0:
        return f"was killed by {signal.Signals(-reply['status']).name}"
    return f"ended by itself (exit status {reply['status']})"


def cut_off(reply: Reply) -> dict[str, Any]:
    """Status and exception of a test that was running when the run ended."""
    return {"status": "timeout"} if timed_out(reply) else {"status": "error", "exception": "ProcessDied"}


def observation_of(reply: Reply, how: str) -> Observation:
    """Observation of a run of asserts, examples and test files; `how` is its end in words."""
    tests = Counter(event["name"] for event in reply["events"] if event["event"] == "test")
    for event in reply["events"]:
        if event["event"] == "tampered":
            message = f"{event['reason']}; if that is meant, use --test-command"
            return Observation(
                (), error=message, not_run=tests.total(), seconds=reply["seconds"], output=reply["output"]
            )
    unknown = {event["name"] for event in reply["events"] if event["event"] == "unknown"}
    outcomes: list[TestOutcome] = []
    verdicts = Counter((event["name"], event["status"]) for event in reply["events"] if event["event"] == "verdict")
    begun: tuple[str, str | None] | None = None  # the running test and its call
    lines: set[int] = set()  # executed by the running test
    error: str | None = None
    error_line: int | None = None
    needs: str | None = None
    for event in reply["events"]:
        if event["event"] == "begin":
            begun, lines = (event["name"], event["call"]), set()
        elif event["event"] == "line":
            lines.add(event["line"])
        elif event["event"] == "outcome":
            begun = None
            name, status = event["name"], event["status"]
            granted = verdicts[name, status] or (status == "skip" and verdicts[name, "pass"])  # a part was skipped
            if status in ("pass", "skip") and not granted:  # no verdict of the judge
                why = _UNKNOWN if name in unknown else _UNSEEN
                outcomes.append(TestOutcome(name, "error", exception="NotJudged", message=why))
                continue
            verdicts[name, status] -= 1
            outcomes.append(outcome_of(event, frozenset(lines)))
        elif event["event"] == "error" and error is None:
            error, error_line, needs = " ".join(event["sentence"].split()), event["line"], event["needs"]
    if begun is not None:
        name, call = begun
        message = "it ended the whole test session" if reply["ended"] == "done" else f"the process {how}"
        outcomes.append(TestOutcome(name, **cut_off(reply), call=call, message=message, lines=frozenset(lines)))
    elif error is None and reply["ended"] != "done":
        error = f"the process {how} outside of any test"
    if error is None and not tests and not outcomes:
        error = "no tests were found"
    missing = tests - Counter(outcome.name for outcome in outcomes)
    # Test functions of the unchanged file of which no test ran; other parameters may come from the program.
    gone = {function_of(name) for name in reply["expected"]} - {function_of(outcome.name) for outcome in outcomes}
    not_run = max(missing.total(), len(gone))
    if error is None and not_run == 0 and all(outcome.status in ("pass", "skip") for outcome in outcomes):
        not_run = fewer(reply["expected"], (outcome.name for outcome in outcomes))
    return Observation(
        outcomes=tuple(outcomes),
        error=error,
        error_line=error_line,
        needs=needs,
        not_run=not_run,
        seconds=reply["seconds"],
        output=reply["output"],
    )
