"""An evaluation as one HTML file: figures, plots, and the way of every search to click through."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from kelp.evaluation.case import Case, Row
from kelp.web.page import fill

SHOWN = "repaired correct exact runs seconds first_repair site_rank stopped".split()  # of a row, besides its path


def render_report(
    summary: Mapping[str, Any], rows: Mapping[str, Sequence[Row]], cases: Mapping[str, Case], most: int = 600
) -> str:
    """The HTML page of a summary; where there are more cases than `most`, with the searches of every so manyth.

    Figures count all of them.
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


def _shown(row: Row) -> dict[str, Any]:
    return {name: getattr(row, name) for name in SHOWN} | {"path": [asdict(step) for step in row.path]}
