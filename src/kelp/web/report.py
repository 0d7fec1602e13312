"""An evaluation as one HTML file: figures, plots, and the trajectory of every repair to click through."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from kelp.evaluation.case import Case
from kelp.evaluation.result import CaseResult
from kelp.repair.trajectory import State
from kelp.web.page import fill

SHOWN = "repaired correct exact runs seconds first_repair site_rank stopped".split()  # of a result, besides its path


def render_report(
    summary: Mapping[str, Any], rows: Mapping[str, Sequence[CaseResult]], cases: Mapping[str, Case], most: int = 600
) -> str:
    """Return the HTML page of a summary; with more cases than `most`, it shows the repairs of evenly spaced ones.

    Figures count all cases.
    """
    kept = list(cases.values())[:: -(-len(cases) // most)]
    shown = {case.id for case in kept}
    content = {
        "summary": json.loads(json.dumps(summary, default=asdict)),
        "cases": [
            {"id": c.id, "group": c.group, "source": c.source, "visible": c.visible_tests, "hidden": c.hidden_tests,
             "intent": c.intent, "fixed": c.fixed}
            for c in kept
        ],
        "rows": {by: {row.id: _shown(row) for row in some if row.id in shown} for by, some in rows.items()},
    }  # fmt: skip
    return fill("report", f"kelp eval {summary['benchmark']}", content)


def _shown(result: CaseResult) -> dict[str, Any]:
    return {name: getattr(result, name) for name in SHOWN} | {"path": [_state(state) for state in result.path]}


def _state(state: State) -> dict[str, Any]:
    """Return a state as the page reads it."""
    tested = state.observation
    edit = {"start": 0, "end": 0, "old": "", "new": ""} if state.edit is None else asdict(state.edit)
    return edit | {
        "origin": state.origin,
        "log_prob": state.log_prob,
        "run": state.run or 0,
        "observation": "" if tested is None else tested.render(),
    }
