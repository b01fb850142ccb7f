"""How tables and texts look on a terminal: no character is lost and no line is wider, however narrow it is."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

GAP = 2
LEAST_SHORTENED = 12
# By the first word of a cell in the column `state`.
STATE_STYLES = {
    "running": "cyan",
    "busy": "cyan",
    "succeeded": "green",
    "idle": "green",
    "failed": "red",
    "sick": "red",
    "dead": "red",
    "unreadable": "red",
    "cancelled": "yellow",
    "stopping": "yellow",
    "drained": "yellow",
    "waiting": "yellow",
}


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, width: int) -> RenderableType:
    """Aligned columns under bold headers; where the terminal is too narrow for them, a paragraph for each row."""
    widths = [max(map(cell_len, cells)) for cells in zip(columns, *rows, strict=True)]
    if sum(widths) + GAP * (len(columns) - 1) > width:
        return Group(*(_paragraph(columns, row) for row in rows))
    aligned = Table(box=None, header_style="bold", pad_edge=False, padding=(0, GAP, 0, 0))
    for column in columns:
        aligned.add_column(Text(column), no_wrap=True)
    for row in rows:
        aligned.add_row(*map(cell, columns, row))
    return aligned


def lines(columns: Sequence[str], rows: Sequence[Sequence[str]], *, width: int) -> list[Text]:
    """A header and a line for each row, with the leading columns that fit; the last one of all is shortened to fit."""
    widths = [max(map(cell_len, cells)) for cells in zip(columns, *rows, strict=True)]
    ends = [sum(widths[: n + 1]) + GAP * n for n in range(len(widths))]
    n_fitting = max(1, sum(end <= width for end in ends))
    if n_fitting == len(columns) - 1 and width - ends[-2] - GAP >= LEAST_SHORTENED:
        n_fitting, widths[-1] = len(columns), width - ends[-2] - GAP
    header = Text(style="bold")
    for column, size in zip(columns[:n_fitting], widths, strict=False):
        header.append(set_cell_size(column, size) + " " * GAP)
    shown = [header]
    for row in rows:
        line = Text()
        for column, value, size in zip(columns[:n_fitting], row, widths, strict=False):
            text = cell(column, value)
            text.truncate(size, overflow="ellipsis", pad=True)
            line.append_text(text).append(" " * GAP)
        shown.append(line)
    for line in shown:
        line.rstrip()
        line.truncate(width)
    return shown


def cell(column: str, value: str) -> Text:
    """The cell, in its state's colour where it is a state."""
    return Text(value, style=STATE_STYLES.get(value.partition(" ")[0], "") if column == "state" else "")


def _paragraph(columns: Sequence[str], row: Sequence[str]) -> RenderableType:
    """The first cell, and below it what the others say, by name."""
    named = [
        Text.assemble((f"{column} ", "dim"), cell(column, value))
        for column, value in zip(columns[1:], row[1:], strict=True)
        if value not in ("", "-")
    ]
    return Group(Text(row[0], style="bold"), Padding(Text(", ").join(named), (0, 0, 0, GAP)))


def console(*, stderr: bool = False) -> Console:
    """The terminal; colours only where it has them and NO_COLOR is not set."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)
