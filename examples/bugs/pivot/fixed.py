"""Sales as a table: a row for each product, a column for each month."""

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class Table:
    """Sums by row and column, and the totals of both."""

    cells: dict[tuple[str, str], int] = field(default_factory=dict)
    row_totals: dict[str, int] = field(default_factory=dict)
    column_totals: dict[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.row_totals.values())


def pivot(entries: Iterable[tuple[str, str, int]]) -> Table:
    """The table of (row, column, amount) entries; several of one cell are summed."""
    table = Table()
    for row, column, amount in entries:
        table.cells[row, column] = table.cells.get((row, column), 0) + amount
        table.row_totals[row] = table.row_totals.get(row, 0) + amount
        table.column_totals[column] = table.column_totals.get(column, 0) + amount
    return table


def as_csv(table: Table) -> str:
    """The table as CSV, rows and columns sorted, the totals last; an empty cell is 0."""
    columns = sorted(table.column_totals)
    lines = [",".join(["", *columns, "total"])]
    for row in sorted(table.row_totals):
        cells = [str(table.cells.get((row, column), 0)) for column in columns]
        lines.append(",".join([row, *cells, str(table.row_totals[row])]))
    totals = [str(table.column_totals[column]) for column in columns]
    lines.append(",".join(["total", *totals, str(table.total)]))
    return "\n".join(lines) + "\n"
