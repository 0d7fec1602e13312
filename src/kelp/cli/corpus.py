"""`kelp corpus`: functions to train on, from any Python source, and tests for them."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from kelp.cli import options
from kelp.cli.progress import progress_bar
from kelp.cli.tables import print_table
from kelp.errors import KelpError
from kelp.extras import install, require

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Make a corpus of functions to train on.")
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Corpus folder.")]
Jobs = Annotated[int, typer.Option(min=1, metavar="N", help="Processes (default: one per core).", show_default=False)]


@app.command()
def build(
    source: Annotated[
        list[str],
        typer.Option(
            metavar="SOURCE",
            help="toy, quine[:PATH], stdlib, dir:PATH, package:NAME[==VERSION], list:FILE.toml, "
            "history:NAME[==VERSION], history:FILE.toml, files:GLOB, hf:NAME[/CONFIG] or mbpp:FILE; repeatable.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to fill, or s3://... or gs://....")],
    exclude: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="Exclude its functions and their copies: .py, .jsonl or a folder; repeatable."
        ),
    ] = None,
    text_column: Annotated[
        str, typer.Option(metavar="NAME", help="Column that holds the text, for data sets.", show_default=False)
    ] = "",
    contents: Annotated[
        str | None, typer.Option(metavar="URL", help="Location of files that a data set names by blob_id alone.")
    ] = None,
    max_bytes: Annotated[int, typer.Option(min=1, metavar="N", help="Longest function, in bytes.")] = 8000,
    engine: options.EngineOption = options.Engine.local,
    jobs: Jobs = os.cpu_count() or 1,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Plot of lengths, projects and licenses.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Collect functions from sources into Parquet files.

    Each function is kept once; copies of benchmark functions are dropped.

    An interrupted run resumes when the command is given again. DIR/dropped.jsonl lists dropped functions with reasons.

    \b
    Examples:
      kelp corpus build --source list:configs/corpus-pypi.toml --source stdlib --out corpus
      kelp corpus build --source history:configs/corpus-history.toml --out history
      kelp corpus build --source quine:../marin --source dir:my/project --exclude my/tasks.jsonl --out corpus
      kelp corpus build --source 'files:gs://bucket/python/*.parquet' --text-column text --out corpus
      kelp corpus build --source hf:HuggingFaceTB/stack-edu/Python --engine ray --jobs 200 --out corpus
    """
    require("data", "kelp corpus build")
    from kelp.bucket import worked_on
    from kelp.data.corpus import build as corpus
    from kelp.data.corpus.sources import Columns

    columns = Columns(text_column, contents) if contents else Columns(text_column)
    settings = corpus.Settings(tuple(source), tuple(map(str, exclude or ())), columns, max_bytes)
    with worked_on(out) as folder, progress_bar() as progress:
        report = corpus.build(settings, folder, jobs=jobs, engine=engine.value, progress=progress)
    _show(folder, report, plot, as_json)
    if not as_json:
        print(f"Next: kelp corpus specs {out}")


@app.command()
def specs(
    folder: Folder,
    seed: Annotated[int, typer.Option(metavar="N", help="Random seed of the inputs tried.")] = 0,
    engine: options.EngineOption = options.Engine.local,
    jobs: Jobs = os.cpu_count() or 1,
    as_json: options.AsJson = False,
) -> None:
    """Generate asserts for the functions of a corpus.

    Each function runs in the sandbox on many inputs; its results become asserts.

    An interrupted run resumes when the command is given again.

    \b
    Examples:
      kelp corpus specs corpus
    """
    require("data", "kelp corpus specs")
    from kelp.bucket import worked_on
    from kelp.data.specs.specify import specify

    with worked_on(folder) as folder, progress_bar() as progress:
        report = specify(folder, seed=seed, jobs=jobs, engine=engine.value, progress=progress)
    _show(folder, report, None, as_json)


@app.command()
def show(
    folder: Folder,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Plot of lengths, projects and licenses.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Summarize a corpus.

    \b
    Examples:
      kelp corpus show corpus
      kelp corpus show corpus --plot corpus.png
    """
    require("data", "kelp corpus show")
    from kelp.bucket import fetched

    folder = fetched(folder)
    path = folder / "report.json"
    if not path.exists():
        raise KelpError(f"{folder} holds no finished corpus: make one with kelp corpus build --out {folder}.")
    _show(folder, json.loads(path.read_text()), plot, as_json)


def _show(folder: Path, report: dict[str, Any], plot: Path | None, as_json: bool) -> None:
    if plot is not None:
        _plot(folder, report, plot)
    if as_json:
        print(json.dumps(report))
        return
    total = report["functions"]
    rows = [[p["project"] or "-", p["split"], *_counts(p)] for p in report["by_project"][:20]]
    if len(report["by_project"]) > 20:
        rows.append([f"and {len(report['by_project']) - 20} more", "", "", "", "", ""])
    rows.append(["all", "", *_counts(report)])
    print_table(["project", "split", "functions", "can run", "with spec", "mutation score"], rows)
    print()
    licenses = list(report["licenses"].items())[:12]
    print_table(["license", "functions"], [[name or "-", f"{n:,}"] for name, n in licenses])
    print()
    print_table(["dropped", "functions"], [[reason, f"{n:,}"] for reason, n in report["dropped"].items()])
    low, middle, high = report["lines"] or (0, 0, 0)
    print(
        f"\n{folder}: {total:,} functions of {report['projects']:,} projects in {report['shards']:,} files, from "
        f"{report['found']:,} found; {report['with_docstring'] / max(total, 1):.0%} with a docstring; "
        f"{low}, {middle}, {high} lines long (10th, 50th, 90th percentile)"
    )


def _counts(counts: dict[str, Any]) -> list[str]:
    score = counts["mutation_score"]
    score = "-" if score is None else f"{score:.2f}"
    return [*(f"{counts[name]:,}" for name in ("functions", "can_run", "with_spec")), score]


def _plot(folder: Path, report: dict[str, Any], path: Path) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise KelpError(f"--plot needs matplotlib: {install('data')}.") from None
    from kelp.data.record import load

    lines = [record.source.count("\n") for record in load(folder)]
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    lengths, projects, licenses = figure.subplots(1, 3)
    lengths.hist([min(n, 100) for n in lines], bins=50)
    lengths.set(xlabel="lines (100: and more)", ylabel="functions")
    for axes, names, counts in (
        (projects, [p["project"] or "-" for p in report["by_project"]], [p["functions"] for p in report["by_project"]]),
        (licenses, [name or "-" for name in report["licenses"]], list(report["licenses"].values())),
    ):
        axes.barh([name[:24] for name in names[:20]][::-1], counts[:20][::-1])
        axes.set_xlabel("functions")
        axes.locator_params(axis="x", nbins=4)  # so that large numbers do not touch
        axes.tick_params(labelsize=8)
    figure.savefig(path, dpi=150)
