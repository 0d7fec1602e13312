"""`kelp eval`: benchmarks of a model, with baselines without a model beside it under the same budgets."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kelp.cli.problem import Problem
from kelp.cli.repair import Strategy

if TYPE_CHECKING:  # imported when the command runs, so that --help is fast
    from kelp.evaluation.repair import Case, PolicyFor, Row
    from kelp.search.policy import Policy

BASELINES = {"no model": False, "by line": True}  # do near misses on suspicious lines come first?
COLUMNS = ("mutations", "by", "n", "rejected", "valid", "repaired", "exact match", "tests passed", "runs", "seconds")

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def evaluate() -> None:  # with one benchmark alone, typer would take the group for it
    """Measure a model on a benchmark, beside baselines without one."""


@app.command()
def toy(
    model: Annotated[str, typer.Option(metavar="NAME_OR_FOLDER", help="The model; none for the baselines alone.")] = (
        "default"
    ),
    search: Annotated[Strategy, typer.Option(help="How to search.")] = Strategy.best_first,
    max_runs: Annotated[int, typer.Option(min=1, help="Test runs for each case.")] = 64,
    max_edits: Annotated[int, typer.Option(min=1, help="Edits that a patch may have.")] = 3,
    patches: Annotated[int, typer.Option(min=1, help="Patches to find before the best one is taken.")] = 3,
    trials: Annotated[int, typer.Option(min=1, help="Cases for each task and number of mutations.")] = 10,
    seed: Annotated[int, typer.Option(help="Another seed breaks the tasks in other ways.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="Processes to share the cases.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also write results.jsonl, a line a case, and summary.json.")
    ] = None,
) -> None:
    """Ten small functions, each broken by one, two and three near misses until a test fails.

    The baselines try every near miss in random order ("no model"), or those first whose lines failing tests execute
    and passing tests do not ("by line").

    Shares have 95 % intervals (bootstrap over cases). Runs are those of the tests up to the first repair, that of
    the broken program included: the median over the cases repaired. Seconds are the median over all.

    \b
    Examples:
      kelp eval toy
      kelp eval toy --model my-model --trials 3 --jobs 2
      kelp eval toy --model none --json
    """
    from kelp.cli.model import find
    from kelp.evaluation.repair import Settings, by_group, solve_all
    from kelp.evaluation.toy import make_cases, no_model
    from kelp.search.task import Budget

    folder = find(model)
    settings = Settings(search.value, Budget(max_runs, 600.0, max_edits, patches), seed)
    arms: dict[str, Callable[[], PolicyFor]] = {} if folder is None else {model: partial(load_model, folder)}
    arms |= {name: partial(no_model, seed, by_line=by_line) for name, by_line in BASELINES.items()}
    cases = make_cases(trials, seed)
    rows: list[tuple[str, Row]] = []
    with _progress(len(cases) * len(arms)) as advance:
        for arm, policies in arms.items():
            for row in solve_all(cases, policies, settings, jobs=jobs):
                rows.append((arm, row))
                advance()
    summary: dict[str, Any] = {
        "benchmark": "toy",
        "settings": asdict(settings) | {"trials": trials},
        "results": {arm: by_group([row for by, row in rows if by == arm], max_runs) for arm in arms},
    }
    if out is not None:
        _write(out, summary, rows)
    if as_json:
        print(_dump(summary))
    else:
        _table(summary["results"])


def load_model(folder: Path) -> "PolicyFor":
    """The model's proposals, for every case alike."""
    from kelp.cli.model import load
    from kelp.cli.timing import Timings

    policy = load(folder, Timings())

    def policy_for(case: "Case") -> "Policy":
        return policy

    return policy_for


def _dump(value: Any, indent: int | None = 2) -> str:
    return json.dumps(value, indent=indent, default=asdict)


def _write(out: Path, summary: dict[str, Any], rows: "list[tuple[str, Row]]") -> None:
    """Raises Problem."""
    lines = [_dump({"by": arm} | asdict(row), indent=None) + "\n" for arm, row in rows]
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "results.jsonl").write_text("".join(lines), encoding="utf-8")
        (out / "summary.json").write_text(_dump(summary) + "\n", encoding="utf-8")
    except OSError as error:
        raise Problem(f"{out} cannot be written: {(error.strerror or str(error)).lower()}.") from None


def _table(results: dict[str, dict[str, dict[str, Any]]]) -> None:
    """A table on stdout; of plain text where that is no terminal."""
    groups = next(iter(results.values()))
    lines = [_line(group, arm, results[arm][group]) for group in groups for arm in results]
    if not sys.stdout.isatty():
        widths = [max(map(len, column)) for column in zip(COLUMNS, *lines)]
        for line in (COLUMNS, *lines):
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*COLUMNS)
    for i, line in enumerate(lines, start=1):
        table.add_row(*line, end_section=i % len(results) == 0)
    Console().print(table)


def _line(group: str, arm: str, figures: dict[str, Any]) -> tuple[str, ...]:
    runs = figures["median_runs"]
    return (
        group,
        arm,
        str(figures["n"]),
        str(figures["rejected"]),
        f"{figures['validity']:.1%}",
        str(figures["repaired"]),
        str(figures["exact_match"]),
        str(figures["pass_rate"]),
        "-" if runs is None else f"{runs:g}",
        f"{figures['median_seconds']:.2f}",
    )


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """A bar on stderr, in a terminal only."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("searching", total=total)
        yield lambda: bar.advance(task)
