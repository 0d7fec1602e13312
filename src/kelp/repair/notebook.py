"""HTML of results and patches, as a notebook shows them: the diff, and the steps that led to it."""

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

from kelp.execution.observation import shorten

if TYPE_CHECKING:
    from kelp.repair.events import Patch, Result
    from kelp.repair.trajectory import State

COLORS = {"+": "#2ea04333", "-": "#f8514933"}  # over the notebook's own background, light or dark
ORIGINS = {"start": "as it was", "model": "the model", "near-miss": "a near miss", "values": "values of the program"}


def patch_html(patch: "Patch") -> str:
    """The diff of a patch, and a table of its steps."""
    return diff_html(patch.diff) + steps_html(patch.path)


def result_html(result: "Result") -> str:
    """The result in a line, the best patch with its steps, and the others folded; else the closest edit."""
    trajectory, start = result.trajectory, result.trajectory.states[0].observation
    before = "" if start is None else f", {start.passed} of {start.total} tests passed before"
    head = f"<p><b>{escape(result.status.capitalize())}</b>{before} ({trajectory.runs} test runs).</p>"
    if not result.patches:
        closest = "" if result.closest is None else f"<p>The closest edit:</p>{patch_html(result.closest)}"
        return head + closest
    best, *others = result.patches
    more = "".join(
        f"<details><summary>Patch {number}</summary>{patch_html(patch)}</details>"
        for number, patch in enumerate(others, 2)
    )
    return head + patch_html(best) + more


def diff_html(diff: str) -> str:
    """A unified diff, whose changed lines have a color beside their sign."""
    lines = []
    for line in diff.splitlines():
        color = COLORS.get(line[:1]) if not line.startswith(("+++ ", "--- ")) else None
        style = "" if color is None else f' style="background:{color}"'
        lines.append(f"<span{style}>{escape(line)}</span>")
    text = "\n".join(lines)
    return f'<pre style="overflow-x:auto">{text}</pre>' if lines else ""


def steps_html(path: Iterable["State"]) -> str:
    """A table of the states from the program as it was to a patch."""
    rows = []
    for number, state in enumerate(path):
        change = "" if state.edit is None else f"{_code(state.edit.old)} to {_code(state.edit.new)}"
        tests = "" if state.observation is None else f"{state.observation.passed} of {state.observation.total}"
        cells = (number, escape(state.function), change, escape(ORIGINS.get(state.origin, state.origin)), tests)
        rows.append("".join(f"<td>{cell}</td>" for cell in cells))
    head = "".join(f'<th scope="col">{name}</th>' for name in ("step", "function", "edit", "from", "tests passed"))
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _code(text: str) -> str:
    return f"<code>{escape(shorten(text, 60))}</code>" if text.strip() else "nothing"
