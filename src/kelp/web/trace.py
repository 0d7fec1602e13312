"""A repair as one HTML file that a person opens and steps through: no server, no request to anywhere."""

from dataclasses import asdict
from typing import Any

from kelp.execution.observation import TestOutcome
from kelp.repair.trajectory import State, Trajectory
from kelp.web.page import fill

SHOWN_WHOLE = 6000  # bytes of a file up to which the page shows all of it


def render_trace(trajectory: Trajectory) -> str:
    """Return the HTML page of a repair: all of a small file, of a large one the functions that were searched."""
    page = _page(trajectory)
    return fill("trace", page["title"], page)


def _page(trajectory: Trajectory) -> dict[str, Any]:
    start, end = _span(trajectory)
    first = next((f for f in trajectory.functions if f.name == _best(trajectory)), trajectory.functions[0])
    observed = [state.observation for state in trajectory.states if state.observation is not None]
    names = dict.fromkeys(outcome.name for observation in observed for outcome in observation.outcomes)
    path = trajectory.file or "program.py"
    return {
        "title": f"kelp repair {path.rpartition('/')[2]}",
        "file": path,
        "function": first.name,
        "intent": first.intent,
        "status": trajectory.status,
        "runs": trajectory.runs,
        "seconds": trajectory.seconds,
        "validity": trajectory.validity,
        "tests": list(names),
        "nodes": [_state(trajectory, state, start, end) for state in trajectory.states],
        "patches": [
            {
                "node": id,
                "log_prob": trajectory.by_id[id].log_prob,
                "diff": trajectory.program.diff(trajectory.sources[id]),
            }
            for id in trajectory.patches
        ],
    }


def _state(trajectory: Trajectory, state: State, start: int, end: int) -> dict[str, Any]:
    """Return a state as the page reads it, offsets counted from byte `start` of the file."""
    source = trajectory.source.encode()
    shown: dict[str, Any] = {
        "id": state.id,
        "parent": state.parent,
        "depth": len(trajectory.path(state.id)) - 1,
        "first_line": source.count(b"\n", 0, start) + 1,
        "edit": None,
        "log_prob": state.log_prob,
        "origin": state.origin,
        "outcomes": None,
        "run": state.run,
    }
    if state.edit is None:  # the page derives the other sources from their parents: a tenth of the size, or less
        shown["source"] = source[start:end].decode().replace("\0", "#")  # between the files of a bundle
    else:
        shown["edit"] = asdict(state.edit) | {"start": state.edit.start - start, "end": state.edit.end - start}
    if state.observation is not None:
        shown["outcomes"] = [
            {"name": o.name, "status": o.status, "message": _message(o)} for o in state.observation.outcomes
        ]
    return shown


def _best(trajectory: Trajectory) -> str | None:
    """The function that the best patch edits."""
    return trajectory.by_id[trajectory.patches[0]].function if trajectory.patches else None


def _span(trajectory: Trajectory) -> tuple[int, int]:
    """Bytes of the file that hold every function searched, from the start of a line."""
    source = trajectory.source.encode()
    if len(source) <= SHOWN_WHOLE:
        return 0, len(source)
    start = source.rfind(b"\n", 0, min(function.start for function in trajectory.functions)) + 1
    return start, max(function.end for function in trajectory.functions)


def _message(outcome: TestOutcome) -> str | None:
    if outcome.got is not None and outcome.expected is not None:
        return f"{outcome.call or outcome.name} gave {outcome.got}, expected {outcome.expected}"
    parts = [part for part in (outcome.exception, outcome.message) if part]
    return ": ".join(parts) or None
