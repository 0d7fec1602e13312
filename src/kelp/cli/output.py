"""Result of a repair as `--json` prints it, and in a sentence: views of its trajectory."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kelp.errors import KelpError
from kelp.execution.explain import failures
from kelp.execution.observation import Observation, shorten
from kelp.files import shown
from kelp.repair import Patch, Result, Session, Suspect
from kelp.repair.reach import NEVER
from kelp.repair.trajectory import State, TextEdit
from kelp.syntax.bundle import file_at, split


def blank(file: Path, problem: KelpError, seconds: float) -> dict[str, Any]:
    """Return the JSON object of a command that failed before its search, after so many seconds."""
    return {
        "status": problem.status, "error": str(problem), "file": str(file), "function": None, "functions": [],
        "patches": [], "closest": None, "tests_before": _counts(problem.observation),
        "set_aside": _aside(problem.observation.unmet if problem.observation else {}),
        "runs": int(problem.observation is not None), "seconds": seconds, "validity": 1.0, "stopped": None,
    }  # fmt: skip


def as_json(result: Result, session: Session) -> dict[str, Any]:
    """Return the JSON object of a session's result.

    Offsets of edits are bytes of their file at the time of the edit.
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
        "patches": [_patch(result, patch) for patch in result.patches],
        "closest": None if result.patches or result.closest is None else _patch(result, result.closest),
        "suspects": [suspect_json(suspect) for suspect in result.suspects()],
        "out_of_reach": [] if result.patches else result.out_of_reach,
        "tests_before": _counts(start),
        "set_aside": _aside(session.aside),
        "runs": trajectory.runs,
        "seconds": result.timings["total"],
        "validity": trajectory.validity,
        "stopped": trajectory.stopped,
        "python": vars(session.python),
        "model": trajectory.model,
        "search": trajectory.strategy,
        "timings": result.timings,
    }


def _patch(result: Result, patch: Patch) -> dict[str, Any]:
    observation = patch.state.observation
    assert observation is not None
    return {
        "diff": patch.diff,
        "source": patch.source.decode(),
        "files": {shown(path): source.decode() for path, source in patch.files.items()},
        "edits": [_edit(result, parent, edit) for parent, edit in _steps(patch)],
        "functions": patch.functions,
        "log_prob": patch.state.log_prob,
        "tests_passed": observation.passed,
        "tests_total": observation.total,
        "fixes": result.fixed(patch),
        "still_failing": [] if observation.ok else _failing(observation),
        "run": patch.state.run,
    }


def _steps(patch: Patch) -> list[tuple[int, TextEdit]]:
    """Edits of a patch, each with the state that it changes."""
    return [(state.parent, state.edit) for state in patch.path if state.edit is not None and state.parent is not None]


def _edit(result: Result, parent: int, edit: TextEdit) -> dict[str, Any]:
    """An edit, with its file, line, and offsets in that file where the program is a project."""
    if not result.trajectory.files:
        return vars(edit)
    _, start = file_at(result.trajectory.sources[parent], edit.start)
    file, line = _place(result, parent, edit)
    return vars(edit) | {"start": start, "end": start + edit.end - edit.start, "file": file, "line": line}


def _place(result: Result, parent: int, edit: TextEdit) -> tuple[str, int]:
    """The file that an edit changes, and the line in that file."""
    source = result.trajectory.sources[parent]
    number, start = file_at(source, edit.start)
    return shown(result.trajectory.program.paths[number]), split(source)[number].count(b"\n", 0, start) + 1


def suspect_json(suspect: Suspect) -> dict[str, Any]:
    """Return the JSON object of a function that may hold the fault."""
    raised = None if suspect.raised is None else {"exception": suspect.raised[0], "line": suspect.raised[1]}
    return {
        "function": suspect.function,
        "file": shown(suspect.file),
        "line": suspect.first_line,
        "probability": round(suspect.probability, 4),
        "failing": list(suspect.failing),
        "passing": list(suspect.passing),
        "raised": raised,
        "lines": [{"line": line, "suspicion": round(value, 4)} for line, value in suspect.lines],
    }


def _failing(observation: Observation) -> list[str]:
    return [outcome.name for outcome in observation.failures]


def _counts(observation: Observation | None) -> dict[str, Any]:
    if observation is None:
        return {"passed": 0, "total": 0, "failing": []}
    return {"passed": observation.passed, "total": observation.total, "failing": _failing(observation)}


def _aside(needs: Mapping[str, str]) -> list[dict[str, str | None]]:
    return [{"name": name, "needs": what or None} for name, what in needs.items()]


def step(state: State) -> str:
    """Return a tested state in a line: `run 5: 6/8 tests, unique_slug: 'slug' to 'base' (model)`."""
    observation, edit = state.observation, state.edit
    tests = "" if observation is None else f"{observation.passed}/{observation.total} tests"
    change = "" if edit is None else f", {state.function}: {change_text(edit, 40)}"
    return f"run {state.run}: {tests}{change} ({state.origin})"


def change_text(edit: TextEdit, length: int) -> str:
    """Return an edit as `'old' to 'new'`, each shortened."""
    if not (edit.old.strip() or edit.new.strip()):
        return "another indent"
    return f"{shorten(edit.old, length)!r} to {shorten(edit.new, length)!r}"


def diffs(patches: Sequence[Patch]) -> str:
    """Return the diff of a patch, or those of several with a line about each."""
    if len(patches) == 1:  # `git apply` takes it
        return patches[0].diff
    heads = [f"# patch {n} of {len(patches)}: {_edits(patch)}" for n, patch in enumerate(patches, 1)]
    return "\n".join(f"{head}\n{patch.diff}" for head, patch in zip(heads, patches, strict=True))


def _edits(patch: Patch) -> str:
    edits = [change_text(edit, 30) for edit in patch.edits]
    return f"{' and '.join(patch.functions)}, {', '.join(edits)}"


def sentence(result: Result) -> str:
    """Return the result in one line."""
    trajectory = result.trajectory
    before = _counts(trajectory.states[0].observation)
    status, cost = result.status.capitalize(), f"{trajectory.runs} test runs, {result.timings['total']:.1f} s"
    if result.patches:
        best = result.patches[0]
        assert best.state.observation is not None
        more = len(result.patches) - 1
        others = f"; {more} other {'patches pass' if more > 1 else 'patch passes'} too" if more else ""
        counts = f"{before['passed']}/{before['total']} -> {best.state.observation.passed}/{before['total']}"
        status += "" if best.state.observation.ok else " in part"
        return f"{status}: {' and '.join(best.functions)}, tests {counts} ({cost}){others}.{_doubt(result, best)}"
    closest, whole = trajectory.closest.observation, "the project" if trajectory.files else "the file"
    assert closest is not None
    if closest.passed > before["passed"]:
        near = f"the closest edit passes {closest.passed} of {closest.total} tests"
        near += f", {whole} as it is {before['passed']}"
    else:
        near = f"no edit passes more tests than {whole} as it is ({before['passed']} of {before['total']})"
    return f"{status}: {near} ({trajectory.stopped}: {cost})."


def _doubt(result: Result, patch: Patch) -> str:
    """Return the reasons, in a sentence, to look closely at a patch; empty where there is none."""
    assert patch.state.observation is not None
    reasons = [] if len(patch.edits) < 2 else [f"it makes {len(patch.edits)} edits"]
    for name in patch.functions:
        tests = result.tests_of(name)
        reasons += [f"only one test runs {name}"] if tests is not None and len(tests) == 1 else []
    left = _failing(patch.state.observation)
    if left:
        reasons.append(f"{shorten(', '.join(left), 200)} still {'fail' if len(left) > 1 else 'fails'}")
    return f" Look closely: {'; '.join(reasons)}." if reasons else ""


def still_failing(result: Result) -> str:
    """Return in paragraphs what still fails, the closest edit, and where the fault probably is."""
    trajectory, closest = result.trajectory, result.closest
    start = trajectory.states[0].observation
    assert start is not None
    program = trajectory.program
    source, observation, parts = trajectory.source.encode(), start, ["This fails:"]
    near = None if closest is None else closest.state.observation
    if closest is not None and near is not None and near.passed > start.passed:
        source, observation = trajectory.sources[closest.state.id], near
        edits = [change_text(edit, 30) for edit in closest.edits]
        parts = [f"With the closest edit ({', '.join(edits)}), this fails:"]
    else:
        closest = None

    def place(line: int) -> tuple[str, int]:
        path, inside = program.place(line, source)
        return os.path.relpath(path), inside

    parts += failures(observation, source, place, most=3)
    if closest is not None:
        places = [_place(result, parent, edit) for parent, edit in _steps(closest)]
        at = " and ".join(f"{file}:{line}" for file, line in places)
        fixed = result.fixed(closest)
        parts.append(f"The closest edit, at {at}, passes {shorten(', '.join(fixed), 300)}:\n\n{closest.diff}".rstrip())
    if suspects := result.suspects():
        where = "here" if len(suspects) == 1 else "in one of these"
        parts.append("\n".join([f"The fault is probably {where}:", *(suspicion(result, each) for each in suspects)]))
    reasons = [f"  {reason}" for reason in result.out_of_reach]
    parts.append("\n".join(["A repair may be out of reach:", *reasons]) if reasons else NEVER)
    return "\n\n".join(parts)


def suspicion(result: Result, suspect: Suspect) -> str:
    """Return in one line why a function is suspicious, and how many edits of it were tried."""
    line = suspect.lines[0][0] if suspect.lines else suspect.first_line
    failing, passing = len(suspect.failing), len(suspect.passing)
    why = f"{failing} failing {'test runs' if failing == 1 else 'tests run'} it, {passing} passing"
    if suspect.raised is not None:
        why += f"; {suspect.raised[0]} on line {suspect.raised[1]}"
    tried = sum(state.function.rpartition("::")[2] == suspect.function for state in result.trajectory.states[1:])
    why += f"; {tried} {'edit' if tried == 1 else 'edits'} tried"
    return f"  {os.path.relpath(suspect.file)}:{line} {suspect.function} ({suspect.probability:.0%}): {why}"
