"""Tables in a terminal, and the figures of an evaluation in them."""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Figures = Mapping[str, Any]


def _number(name: str, form: str = "g") -> Callable[[Figures], str | None]:
    return lambda figures: None if figures[name] is None else format(figures[name], form)


def _share(name: str) -> Callable[[Figures], str | None]:
    return lambda figures: None if figures[name] is None else str(figures[name])


def _plain(figure: Any) -> str:
    """Format an estimate that is not a share."""
    return f"{figure.mean:.3f} [{figure.low:.2f}, {figure.high:.2f}]"


# Columns and their formats; None is unknown.
REPAIRS: dict[str, Callable[[Figures], str | None]] = {
    "n": _number("n"),
    "rejected": _number("rejected"),
    "valid": _number("validity", ".1%"),
    "repaired": _share("repaired"),
    "correct": _share("correct"),
    "exact match": _share("exact_match"),
    "tests passed": _share("pass_rate"),
    "runs": _number("median_runs"),
    "seconds": _number("median_seconds", ".2f"),
}
FIRST: dict[str, Callable[[Figures], str | None]] = {
    "first correct": _share("first_correct"),
    "first exact": _share("first_exact_match"),
    "runs p90": _number("p90_runs"),
    "s to first": _number("median_first_seconds", ".2f"),
    "s p90": _number("p90_first_seconds", ".2f"),
    "area": lambda figures: _plain(figures["area"]),
    "site top 1": _share("site_top_1"),
    "top 5": _share("site_top_5"),
    "top 20": _share("site_top_20"),
    "edit there": _share("site_edit"),
    "pass@1": _share("pass_at_1"),
    "pass@10": _share("pass_at_10"),
    "pass@100": _share("pass_at_100"),
}


def print_tables(results: Mapping[str, Mapping[str, Figures]], heading: str) -> None:
    """Print repairs, then first repairs and edit locations."""
    for columns in (REPAIRS, FIRST):
        groups = list(next(iter(results.values())))
        if len(groups) == 2:  # a single group is the same as all
            groups = [groups[0] or groups[1]]
        shown = {
            (group, by): [show(results[by][group]) for show in columns.values()] for group in groups for by in results
        }
        used = [i for i in range(len(columns)) if any(cells[i] is not None for cells in shown.values())]
        head = [heading, "by", *(list(columns)[i] for i in used)]
        lines = [[*key, *(cells[i] or "-" for i in used)] for key, cells in shown.items()]
        print_table(head, lines, section=len(results), names=2)
        if columns is REPAIRS:
            print()


def print_table(head: Sequence[str], lines: Sequence[Sequence[str]], section: int = 1000, names: int = 0) -> None:
    """Print a table with a rule after every `section` lines; plain text if stdout is not a terminal.

    In a narrow terminal cells wrap instead of being cut, except in the first `names` columns.
    """
    if not sys.stdout.isatty():
        widths = [max(map(len, column)) for column in zip(head, *lines)]
        for line in (head, *lines):
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
        return
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Column, Table

    columns = [Column(title, overflow="fold", no_wrap=i < names) for i, title in enumerate(head)]
    table = Table(*columns, box=SIMPLE, padding=0, pad_edge=False)
    for i, line in enumerate(lines, start=1):
        table.add_row(*line, end_section=i % section == 0)
    Console().print(table)


def print_comparisons(compared: Mapping[str, Figures], baseline: str) -> None:
    """Print the paired tests, one sentence each."""
    for by, figures in compared.items():
        difference, area = figures["difference"], figures["area"]
        print(
            f"{by} against {baseline} on the same {difference.n} cases: {difference.mean:+.1%} "
            f"[{difference.low:+.0%}, {difference.high:+.0%}]; only the first {figures['only_ours']}, "
            f"only the second {figures['only_theirs']} (McNemar p = {figures['p']:.2g}); "
            f"area {area.mean:+.3f} [{area.low:+.2f}, {area.high:+.2f}]"
        )
