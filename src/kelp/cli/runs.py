"""`kelp runs`: training runs in a folder, and two of them side by side, from the metrics.jsonl that each keeps."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from kelp.cli.tables import print_table
from kelp.errors import KelpError
from kelp.files import read

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 32  # of a plot, in characters
Rows = list[dict[str, Any]]

app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)


@app.callback()
def runs(
    context: typer.Context,
    folder: Annotated[Path, typer.Option(metavar="DIR", help="The folder with the runs' folders.")] = Path("runs"),
) -> None:
    """List training runs: how far each got, and its last held-out figures.

    \b
    Examples:
      kelp runs
      kelp runs compare runs/toy runs/second
    """
    if context.invoked_subcommand is not None:
        return
    found = sorted(path.parent for path in folder.glob("*/metrics.jsonl"))
    if not found:
        raise KelpError(f"{folder} holds no training run.")
    lines = []
    for run in found:
        rows = read_metrics(run)
        last = next((row for row in reversed(rows) if row["kind"] == "valid"), {})
        seconds = max((row.get("seconds", 0.0) for row in rows), default=0.0)
        figures = ", ".join(f"{name} {value:.4g}" for name, value in _figures(last).items())
        lines.append([str(run), str(rows[-1]["step"] if rows else 0), f"{seconds / 60:.0f}", figures or "-"])
    print_table(["run", "step", "minutes", "held out"], lines)


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")],
    second: Annotated[Path, typer.Argument(metavar="OTHER", help="That of another one.")],
) -> None:
    """Plot the figures of two runs side by side, by step, on one scale.

    \b
    Examples:
      kelp runs compare runs/toy runs/second
    """
    both = {run: read_metrics(run) for run in (first, second)}
    curves: dict[str, dict[Path, dict[int, float]]] = {}
    for run, rows in both.items():
        for row in rows:
            for name, value in _figures(row).items():
                curves.setdefault(name, {}).setdefault(run, {})[row["step"]] = value
    steps = max((step for by_run in curves.values() for curve in by_run.values() for step in curve), default=0)
    lines = []
    for name, by_run in curves.items():
        values = [value for curve in by_run.values() for value in curve.values()]
        for run in both:
            curve = by_run.get(run, {})
            ends = [f"{curve[step]:.4g}" for step in (min(curve), max(curve))] if curve else ["-", "-"]
            lines.append([name, str(run), *ends, plot(curve, steps, min(values), max(values))])
    if not lines:
        raise KelpError(f"{first} and {second} hold no figures yet.")
    print_table(["figure", "run", "first", "last", f"step 0 to {steps}"], lines, section=2)


def read_metrics(run: Path) -> Rows:
    """The rows of a run; a last line that was cut short is left out. Raises KelpError."""
    rows = []
    for line in read(run / "metrics.jsonl").decode("utf-8", "replace").split("\n")[:-1]:
        try:
            row = json.loads(line)
            rows.append(row | {"step": int(row["step"]), "kind": str(row["kind"])})
        except (ValueError, TypeError, KeyError):
            raise KelpError(f"{run / 'metrics.jsonl'} holds a line that is no row of metrics: {line[:60]!r}.") from None
    return rows


def _figures(row: dict[str, Any]) -> dict[str, float]:
    """Losses and shares, of training and of what is held out; not how fast it went."""
    other = ("step", "seconds", "examples", "examples_per_second", "learning_rate", "gradient_norm")
    return {name: value for name, value in row.items() if name not in other and isinstance(value, int | float)}


def plot(curve: dict[int, float], steps: int, low: float, high: float) -> str:
    """A curve of figures by step in a line of text: the last one up to each place, blank where there is none yet."""
    marks = []
    for place in range(1, WIDTH + 1):
        known = [step for step in curve if step <= steps * place / WIDTH]
        if not known or max(curve) < steps * (place - 1) / WIDTH:
            marks.append(" ")
        else:
            height = (curve[max(known)] - low) / (high - low) if high > low else 0.5
            marks.append(BARS[min(len(BARS) - 1, int(height * len(BARS)))])
    return "".join(marks).rstrip()
