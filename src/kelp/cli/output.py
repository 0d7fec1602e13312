"""What a search found, as `--json` prints it, as the trace page shows it, and in a sentence."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kelp.cli.files import diff
from kelp.errors import Problem
from kelp.execution.explain import failures
from kelp.execution.observation import Observation, shorten
from kelp.search.search import Node, Result
from kelp.search.task import Target, Task

SHOWN_WHOLE = 6000  # bytes of a file up to which a trace shows all of it


def blank(file: Path, problem: Problem) -> dict[str, Any]:
    """The JSON object of a command that did not get to search."""
    return {
        "status": problem.status, "error": str(problem), "file": str(file), "function": None, "functions": [],
        "patches": [], "closest": None, "tests_before": _tests(problem.observation),
        "set_aside": _aside(problem.observation.unmet if problem.observation else {}),
        "runs": int(problem.observation is not None), "seconds": 0.0, "validity": 1.0, "stopped": None,
    }  # fmt: skip


def status_of(result: Result) -> str:
    if result.stopped == "interrupted":
        return "interrupted"
    return "repaired" if result.patches else "not repaired"


def as_json(file: Path, task: Task, result: Result) -> dict[str, Any]:
    """Offsets of edits are bytes of the file as it is when the edit is made, edits in the order of their making."""
    best = result.patches[0].function if result.patches else task.targets[0].qualname
    closest, observation = result.closest, result.start.observation
    return {
        "status": status_of(result),
        "file": str(file),
        "function": best,
        "functions": [{"name": t.qualname, "log_prob": round(t.prior, 6), "intent": t.intent} for t in task.targets],
        "patches": [_state(file, node) for node in result.patches],
        "closest": None if result.patches or closest is result.start else _state(file, closest),
        "tests_before": _tests(observation),
        "set_aside": _aside({o.name: o.needs or "" for o in observation.aside} if observation else {}),
        "runs": result.runs,
        "seconds": round(result.seconds, 4),
        "validity": result.validity,
        "stopped": result.stopped,
    }


def _state(file: Path, node: Node) -> dict[str, Any]:
    observation = node.observation
    assert observation is not None
    edits = [edit for step in node.path() if (edit := _edit(step)) is not None]
    return {
        "diff": diff(file, node.path()[0].source, node.source),
        "source": node.source.decode(),
        "edits": edits,
        "functions": list(dict.fromkeys(step.function for step in node.path()[1:])),
        "log_prob": node.log_prob if math.isfinite(node.log_prob) else None,
        "tests_passed": observation.passed,
        "tests_total": observation.total,
        "run": node.run,
    }


def _edit(node: Node, cut: int = 0) -> dict[str, Any] | None:
    """The edit that made a node, its offsets counted from byte `cut` of the file."""
    if node.parent is None or node.edit is None:
        return None
    edit = node.edit
    old = node.parent.source[edit.start : edit.end]
    return {"start": edit.start - cut, "end": edit.end - cut, "old": old.decode(), "new": edit.text.decode()}


def _tests(observation: Observation | None) -> dict[str, Any]:
    if observation is None:
        return {"passed": 0, "total": 0, "failing": []}
    failing = [o.name for o in observation.outcomes if o.status not in ("pass", "skip")]
    return {"passed": observation.passed, "total": observation.total, "failing": failing}


def _aside(needs: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "needs": what} for name, what in needs.items()]


def sentence(result: Result) -> str:
    """How it went, in one line."""
    before, cost = _tests(result.start.observation), f"{result.runs} test runs, {result.seconds:.1f} s"
    if result.patches:
        node = result.patches[0]
        assert node.observation is not None
        more = len(result.patches) - 1
        others = f"; {more} other {'patches pass' if more > 1 else 'patch passes'} too" if more else ""
        counts = f"{before['passed']}/{before['total']} -> {node.observation.passed}/{node.observation.total}"
        return f"{status_of(result).capitalize()}: {node.function}, tests {counts} ({cost}){others}."
    closest = result.closest
    assert closest.observation is not None
    if closest.observation.passed > before["passed"]:
        near = f"the closest edit passes {closest.observation.passed} of {closest.observation.total} tests"
        near += f", the file as it is {before['passed']}"
    else:
        near = f"no edit passes more tests than the file as it is ({before['passed']} of {before['total']})"
    return f"{status_of(result).capitalize()}: {near} ({result.stopped}: {cost})."


def still_failing(file: Path, result: Result) -> str:
    """What the closest program still fails, in a few lines."""
    closest, start = result.closest, result.start
    assert closest.observation is not None and start.observation is not None
    better = closest is not start and closest.observation.passed > start.observation.passed
    node = closest if better else start
    assert node.observation is not None
    head = f"With the closest edit ({_edits(node)}), this fails:" if better else "This fails:"
    return "\n\n".join([head, *failures(node.observation, node.source, os.path.relpath(file), most=3)])


def _edits(node: Node) -> str:
    edits = [edit for step in node.path() if (edit := _edit(step)) is not None]
    said = [f"{shorten(edit['old'], 30)!r} to {shorten(edit['new'], 30)!r}" for edit in edits]
    return ", ".join(said)


def as_trace(file: Path, task: Task, result: Result) -> dict[str, Any]:
    """What `kelp.web.trace.render_trace` takes: all of a small file, of a large one the functions searched."""
    start, end = _window(task)
    tail = len(task.source) - end

    def show(node: Node) -> dict[str, Any]:
        observation = node.observation
        assert observation is not None
        return {
            "id": node.id,
            "parent": None if node.parent is None else node.parent.id,
            "depth": node.depth,
            "source": node.source[start : len(node.source) - tail].decode(),
            "first_line": task.source.count(b"\n", 0, start) + 1,
            "edit": _edit(node, start),
            "log_prob": node.log_prob,
            "origin": node.origin,
            "outcomes": [{"name": o.name, "status": o.status, "message": _message(o)} for o in observation.outcomes],
            "run": node.run,
        }

    names = [outcome.name for node in result.tried if node.observation for outcome in node.observation.outcomes]
    target = _shown_target(task.targets, result.patches)
    return {
        "title": f"kelp repair {file.name}",
        "file": str(file),
        "function": target.qualname,
        "intent": target.intent,
        "status": status_of(result),
        "runs": result.runs,
        "seconds": result.seconds,
        "validity": result.validity,
        "tests": list(dict.fromkeys(names)),
        "nodes": [show(node) for node in result.tried],
        "patches": [
            {"node": node.id, "log_prob": node.log_prob, "diff": diff(file, task.source, node.source)}
            for node in result.patches
        ],
    }


def _window(task: Task) -> tuple[int, int]:
    """Bytes of the file that hold all that is edited, from the start of a line."""
    if len(task.source) <= SHOWN_WHOLE:
        return 0, len(task.source)
    windows = [window for _, window in task.windows(task.source)]
    start = task.source.rfind(b"\n", 0, min(window.start for window in windows)) + 1
    return start, max(window.end for window in windows)


def _shown_target(targets: Sequence[Target], patches: Sequence[Node]) -> Target:
    names = [patches[0].function] if patches else []
    return next((target for target in targets if target.qualname in names), targets[0])


def _message(outcome: Any) -> str | None:
    if outcome.got is not None and outcome.expected is not None:
        return f"{outcome.call or outcome.name} gave {outcome.got}, expected {outcome.expected}"
    parts = [part for part in (outcome.exception, outcome.message) if part]
    return ": ".join(parts) or None
