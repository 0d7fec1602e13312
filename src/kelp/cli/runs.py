"""`kelp runs`: training runs in a folder, and two of them side by side, from their metrics.jsonl."""

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
    folder: Annotated[Path, typer.Option(metavar="DIR", help="Folder with runs at any depth.")] = Path("runs"),
) -> None:
    """List training runs: the last step of each, and its last held-out metrics.

    \b
    Examples:
      kelp runs
      kelp runs compare runs/toy runs/second
    """
    if context.invoked_subcommand is not None:
        return
    found = sorted(path.parent for path in folder.glob("**/metrics.jsonl"))
    if not found:
        raise KelpError(f"{folder} holds no training run.")
    lines = []
    for run in found:
        rows = read_metrics(run)
        last = next((row for row in reversed(rows) if row["kind"] == "valid"), {})
        seconds = max((row.get("seconds", 0.0) for row in rows), default=0.0)
        metrics = ", ".join(f"{name} {value:.4g}" for name, value in _metrics(last).items())
        lines.append([str(run), str(last_step(run, rows)), f"{seconds / 60:.0f}", metrics or "-"])
    print_table(["run", "step", "minutes", "held out"], lines)


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    second: Annotated[Path, typer.Argument(metavar="OTHER", help="Folder of another run.")],
) -> None:
    """Plot the metrics of two runs side by side, by step, on one scale.

    \b
    Examples:
      kelp runs compare runs/toy runs/second
    """
    both = {run: read_metrics(run) for run in (first, second)}
    curves: dict[str, dict[Path, dict[int, float]]] = {}
    for run, rows in both.items():
        for row in (row for row in rows if row["kind"] in ("train", "valid")):
            for name, value in _metrics(row).items():
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
        raise KelpError(f"{first} and {second} hold no metrics yet.")
    print_table(["metric", "run", "first", "last", f"step 0 to {steps}"], lines, section=2)


def read_metrics(run: Path) -> Rows:
    """The rows of a run, without a last line that was cut short. Raises KelpError."""
    rows = []
    for line in read(run / "metrics.jsonl").decode("utf-8", "replace").split("\n")[:-1]:
        try:
            row = json.loads(line)
            rows.append(row | {"step": int(row["step"]), "kind": str(row["kind"])})
        except (ValueError, TypeError, KeyError):
            raise KelpError(f"{run / 'metrics.jsonl'} holds a line that is no row of metrics: {line[:60]!r}.") from None
    return rows


def last_step(run: Path, rows: Rows) -> int:
    """The last step that a run has a row or a checkpoint of."""
    checkpoints = [int(path.name) for path in (run / "checkpoints").glob("*") if path.name.isdigit()]
    return max([0, *checkpoints, *(row["step"] for row in rows)])


def _metrics(row: dict[str, Any]) -> dict[str, float]:
    """Losses and shares, of training and of held-out batches, without speeds and rates."""
    other = "step seconds examples examples_per_second tokens tokens_per_second learning_rate gradient_norm".split()
    return {name: value for name, value in row.items() if name not in other and isinstance(value, int | float)}


def plot(curve: dict[int, float], steps: int, low: float, high: float) -> str:
    """A plot in one line of text: the last value up to each step, blank where there is none yet."""
    marks = []
    for place in range(1, WIDTH + 1):
        known = [step for step in curve if step <= steps * place / WIDTH]
        if not known or max(curve) < steps * (place - 1) / WIDTH:
            marks.append(" ")
        else:
            height = (curve[max(known)] - low) / (high - low) if high > low else 0.5
            marks.append(BARS[min(len(BARS) - 1, int(height * len(BARS)))])
    return "".join(marks).rstrip()
