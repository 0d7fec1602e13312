"""A repair as the trace page reads it: saved as one HTML file, which needs no server, or told event by event."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from kelp.errors import KelpError
from kelp.execution.observation import Observation, TestOutcome
from kelp.files import diff
from kelp.repair import (
    Done,
    FunctionsChosen,
    ModelReady,
    PatchFound,
    PointedSite,
    SandboxStarted,
    Session,
    SitesPointed,
    StateTested,
    TestsObserved,
    TestsSetAside,
)
from kelp.repair.trajectory import Candidate, State, Trajectory
from kelp.web.page import fill

UNNAMED = "program.py"  # name of a program that is no file
SHOWN_WHOLE = 6000  # bytes of a file up to which the page shows all of it
SAVED = re.compile(r'<script type="application/json" id="trace">(.*?)</script>', re.DOTALL)
Content = dict[str, Any]


def render_trace(trajectory: Trajectory) -> str:
    """Return the HTML page of a repair: all of a small file, of a large one the functions that were searched."""
    page = content_of(trajectory)
    return fill("trace", page["title"], page)


def content_of(trajectory: Trajectory, name: str | None = None) -> Content:
    """Return a repair as JSON values for the page, its file under a name if one is given."""
    source = trajectory.source.encode()
    span = _span(source, trajectory.functions)
    path = name or trajectory.file or UNNAMED
    patches = [trajectory.by_id[id] for id in trajectory.patches]
    nodes = [_node(state, source, span, len(trajectory.path(state.id)) - 1) for state in trajectory.states]
    for node in nodes:
        node["sites"] = _sites(trajectory.pointer.get(node["id"], ()), span)
    return _head(path, trajectory.functions, patches[0].function if patches else None) | {
        "status": trajectory.status,
        "runs": trajectory.runs,
        "seconds": trajectory.seconds,
        "validity": trajectory.validity,
        "tests": _names(state.observation for state in trajectory.states),
        "nodes": nodes,
        "patches": [_patch(state, _diff(trajectory, name, trajectory.sources[state.id])) for state in patches],
    }


def told(session: Session, name: str | None) -> Iterator[Content]:
    """Run a session and yield messages for the page, the last of which holds the whole repair: `kind` says which it is.

    `name` is that of the file. Raises KelpError, as the session does.
    """
    path = name or UNNAMED
    functions: tuple[Candidate, ...] = ()
    depths: dict[int, int] = {}
    best = 0

    def progress(text: str) -> Content:
        return {"kind": "progress", "text": text}

    for event in session.run():
        source = session.source  # of a project, known when its tests have run
        span = _span(source, functions)
        match event:
            case SandboxStarted():
                yield progress("Running the tests")
            case TestsObserved(observation=seen):
                yield progress(f"{seen.passed} of {seen.total} tests pass")
            case TestsSetAside(needs=needs, others=others):
                yield progress(f"Set aside, as no fault of the program: {', '.join([*needs, *others])}")
            case FunctionsChosen(functions=functions):
                names = ", ".join(function.name for function in functions)
                yield progress(f"Suspicious: {names}. Waiting for the model")
            case ModelReady():
                yield progress("Searching")
            case StateTested(state=state):
                depths[state.id] = 0 if state.parent is None else depths[state.parent] + 1
                node = _node(state, source, span, depths[state.id])
                if state.parent is None:
                    start = _head(path, functions, None) | {"tests": _names([state.observation]), "patches": []}
                    start |= {"status": "searching", "runs": 1, "seconds": node["seconds"], "validity": 1.0}
                    start["nodes"] = [node]
                    yield {"kind": "start", "trace": start}
                else:
                    yield {"kind": "node", "node": node}
                assert state.observation is not None
                best = max(best, state.observation.passed)
                runs = f"{state.run} of {session.budget.runs} test runs"
                yield progress(f"{runs}; best: {best} of {state.observation.total} tests pass")
            case SitesPointed(state=id, sites=sites):
                yield {"kind": "sites", "node": id, "sites": _sites(sites, span)}
            case PatchFound(patch=patch):
                changed = patch.diff if session.project else diff(path, source, patch.source)
                yield {"kind": "patch", "patch": _patch(patch.state, changed)}
            case Done(result=result):
                yield {"kind": "done", "trace": content_of(result.trajectory, name)}


def read_trace(page: bytes) -> Content:
    """Return the repair that a page of `render_trace` holds; of the page nothing else is used. Raises KelpError."""
    found = SAVED.search(page.decode("utf-8", "replace"))
    if found is None:
        raise KelpError("This is no page of kelp repair --trace")
    try:
        content: Content = json.loads(found[1])
        nodes = content["nodes"]
        known: set[int] = set()
        for node in nodes:
            if (node["parent"] is None) != (not known) or (known and node["parent"] not in known):
                raise ValueError("a state comes before its parent")
            known.add(int(node["id"]))
        if not known >= {patch["node"] for patch in content["patches"]} or len(known) < len(nodes):
            raise ValueError("a patch names no state, or two states are one")
    except (ValueError, KeyError, TypeError, RecursionError):
        raise KelpError("This page of kelp repair --trace is damaged") from None
    return content


def _head(path: str, functions: Sequence[Candidate], best: str | None) -> Content:
    """`best` names the function that the best patch edits."""
    first = next((function for function in functions if function.name == best), functions[0])
    name = path.rpartition("/")[2]
    return {"title": f"kelp repair {name}", "file": path, "function": first.name, "intent": first.intent}


def _names(observations: Iterator[Observation | None] | Sequence[Observation | None]) -> list[str]:
    """The names of all tests, in the order in which they first ran."""
    outcomes = (outcome for seen in observations if seen is not None for outcome in seen.outcomes)
    return list(dict.fromkeys(outcome.name for outcome in outcomes))


def _patch(state: State, diff: str) -> Content:
    return {"node": state.id, "log_prob": state.log_prob, "diff": diff}


def _diff(trajectory: Trajectory, name: str | None, after: bytes) -> str:
    """The diff of a state, under the name of its file if one is given."""
    if trajectory.files or name is None:
        return trajectory.program.diff(after)
    return diff(name, trajectory.source.encode(), after)


def _sites(sites: Sequence[PointedSite], span: tuple[int, int]) -> list[tuple[int, int, float]]:
    """Sites with offsets counted from the beginning of what is shown."""
    return [(site.start - span[0], site.end - span[0], round(site.probability, 4)) for site in sites]


def _node(state: State, source: bytes, span: tuple[int, int], depth: int) -> Content:
    """Return a state as the page reads it, offsets counted from the beginning of what is shown."""
    start, end = span
    shown: Content = {
        "id": state.id,
        "parent": state.parent,
        "depth": depth,
        "first_line": source.count(b"\n", 0, start) + 1,
        "edit": None,
        "log_prob": state.log_prob,
        "origin": state.origin,
        "outcomes": None,
        "run": state.run,
        "seconds": round(state.seconds, 3),
        "sites": [],
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


def _span(source: bytes, functions: Sequence[Candidate]) -> tuple[int, int]:
    """Bytes of the file that hold every function searched, from the start of a line."""
    if len(source) <= SHOWN_WHOLE or not functions:
        return 0, len(source)
    start = source.rfind(b"\n", 0, min(function.start for function in functions)) + 1
    return start, max(function.end for function in functions)


def _message(outcome: TestOutcome) -> str | None:
    if outcome.got is not None and outcome.expected is not None:
        return f"{outcome.call or outcome.name} gave {outcome.got}, expected {outcome.expected}"
    parts = [part for part in (outcome.exception, outcome.message) if part]
    return ": ".join(parts) or None
