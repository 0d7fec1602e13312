"""Training examples as one HTML file: figures, and every example to look at."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from kelp.data.examples.inspect import Rows, View, cell, diff
from kelp.web.page import fill


def render_examples(source: str, views: Sequence[View], tables: Mapping[str, Rows]) -> str:
    """The HTML page of some examples of a recipe or a folder, and of the tables over them."""
    content = {
        "source": source,
        "tables": {title: [list(rows[0]), *([cell(*pair) for pair in row.items()] for row in rows)]
                   for title, rows in tables.items() if rows},
        "examples": [asdict(v) | {"diff": diff(v)} for v in views],
    }  # fmt: skip
    return fill("examples", f"kelp data inspect {source}", content)
