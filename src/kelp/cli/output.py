"""Result of a repair as `--json` prints it, and in a sentence: views of its trajectory."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kelp.errors import KelpError
from kelp.execution.explain import failures
from kelp.execution.interpreter import Interpreter
from kelp.execution.observation import Observation, shorten
from kelp.repair import Patch, Result
from kelp.repair.timing import Timings


def blank(file: Path, problem: KelpError) -> dict[str, Any]:
    """Return the JSON object of a command that failed before its search."""
    return {
        "status": problem.status, "error": str(problem), "file": str(file), "function": None, "functions": [],
        "patches": [], "closest": None, "tests_before": _counts(problem.observation),
        "set_aside": _aside(problem.observation.unmet if problem.observation else {}),
        "runs": int(problem.observation is not None), "seconds": 0.0, "validity": 1.0, "stopped": None,
    }  # fmt: skip


def as_json(result: Result, python: Interpreter, timings: Timings) -> dict[str, Any]:
    """Return the JSON object of a result, whose tests ran in `python`.

    Offsets of edits are bytes of the file at the time of the edit.
    """
    trajectory, start = result.trajectory, result.trajectory.states[0].observation
    best = result.patches[0].state.function if result.patches else result.functions[0].name
    return {
        "status": result.status,
        "file": trajectory.file,
        "function": best,
        "functions": [
            {"name": each.name, "log_prob": round(each.log_prob, 6), "intent": each.intent} for each in result.functions
        ],
        "patches": [_patch(patch) for patch in result.patches],
        "closest": None if result.patches or result.closest is None else _patch(result.closest),
        "tests_before": _counts(start),
        "set_aside": _aside({o.name: o.needs or "" for o in start.aside} if start else {}),
        "runs": trajectory.runs,
        "seconds": round(timings.total, 4),
        "validity": trajectory.validity,
        "stopped": trajectory.stopped,
        "python": vars(python),
        "model": trajectory.model,
        "search": trajectory.strategy,
        "timings": timings.rounded(),
    }


def _patch(patch: Patch) -> dict[str, Any]:
    observation = patch.state.observation
    assert observation is not None
    return {
        "diff": patch.diff,
        "source": patch.source.decode(),
        "edits": [vars(edit) for edit in patch.edits],
        "functions": patch.functions,
        "log_prob": patch.state.log_prob,
        "tests_passed": observation.passed,
        "tests_total": observation.total,
        "run": patch.state.run,
    }


def _counts(observation: Observation | None) -> dict[str, Any]:
    if observation is None:
        return {"passed": 0, "total": 0, "failing": []}
    failing = [o.name for o in observation.outcomes if o.status not in ("pass", "skip")]
    return {"passed": observation.passed, "total": observation.total, "failing": failing}


def _aside(needs: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "needs": what} for name, what in needs.items()]


def sentence(result: Result) -> str:
    """Return the result in one line."""
    trajectory = result.trajectory
    before = _counts(trajectory.states[0].observation)
    status, cost = result.status.capitalize(), f"{trajectory.runs} test runs, {trajectory.seconds:.1f} s"
    if result.patches:
        state = result.patches[0].state
        assert state.observation is not None
        more = len(result.patches) - 1
        others = f"; {more} other {'patches pass' if more > 1 else 'patch passes'} too" if more else ""
        counts = f"{before['passed']}/{before['total']} -> {state.observation.passed}/{state.observation.total}"
        return f"{status}: {state.function}, tests {counts} ({cost}){others}."
    closest = trajectory.closest.observation
    assert closest is not None
    if closest.passed > before["passed"]:
        near = f"the closest edit passes {closest.passed} of {closest.total} tests"
        near += f", the file as it is {before['passed']}"
    else:
        near = f"no edit passes more tests than the file as it is ({before['passed']} of {before['total']})"
    return f"{status}: {near} ({trajectory.stopped}: {cost})."


def still_failing(result: Result) -> str:
    """Return the failures of the closest program in a few lines."""
    trajectory, closest = result.trajectory, result.closest
    start = trajectory.states[0].observation
    assert start is not None
    source, observation, head = trajectory.source.encode(), start, "This fails:"
    near = None if closest is None else closest.state.observation
    if closest is not None and near is not None and near.passed > start.passed:
        source, observation = closest.source, near
        edits = [f"{shorten(edit.old, 30)!r} to {shorten(edit.new, 30)!r}" for edit in closest.edits]
        head = f"With the closest edit ({', '.join(edits)}), this fails:"
    return "\n\n".join([head, *failures(observation, source, os.path.relpath(trajectory.file), most=3)])
