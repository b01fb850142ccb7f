"""How tables and texts look on a terminal: nothing is lost, and no line is wider than the terminal."""

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

GAP = 2
# Keyed by the first word of a cell in the column `state`.
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


def fits(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> bool:
    """Whether the table has room as aligned columns."""
    widths = [max(map(cell_len, cells)) for cells in zip(columns, *rows, strict=True)]
    return sum(widths) + GAP * (len(columns) - 1) <= width


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, width: int) -> RenderableType:
    """Aligned columns under bold headers; if the terminal is too narrow for them, a paragraph for each row."""
    if not fits(columns, rows, width):
        return Group(*(_paragraph(columns, row) for row in rows))
    aligned = Table(box=None, header_style="bold", pad_edge=False, padding=(0, GAP, 0, 0))
    for column in columns:
        aligned.add_column(Text(column), no_wrap=True)
    for row in rows:
        aligned.add_row(*map(cell, columns, row))
    return aligned


def blocks(columns: Sequence[str], rows: Sequence[Sequence[str]], *, width: int) -> tuple[Text, list[list[Text]]]:
    """A header, and the lines of each row: the leading columns that fit, and below them the other cells, by name."""
    widths = [max(map(cell_len, cells)) for cells in zip(columns, *rows, strict=True)]
    ends = [sum(widths[: n + 1]) + GAP * n for n in range(len(widths))]
    n_fitting = sum(end <= width for end in ends)
    header = Text(style="bold")
    for column, size in zip(columns[:n_fitting], widths, strict=False):
        header.append(set_cell_size(column, size) + " " * GAP)
    header.rstrip()
    return header, [_block(columns, row, widths[:n_fitting], width) for row in rows]


def _block(columns: Sequence[str], row: Sequence[str], widths: Sequence[int], width: int) -> list[Text]:
    """widths: of the leading columns, which are aligned."""
    line = Text()
    for column, value, size in zip(columns, row, widths, strict=False):
        line.append_text(cell(column, value)).append(" " * (size - cell_len(value) + GAP))
    line.rstrip()
    rest = _named(columns[len(widths) :], row[len(widths) :])
    return [*([line] if widths else []), *(wrapped(rest, width, indent=GAP) if rest else [])]


def wrapped(text: Text, width: int, *, indent: int = 0) -> list[Text]:
    """The text in lines of at most this many columns, broken between words if possible."""
    lines = list(text.wrap(console(), width - indent))
    for line in lines:
        line.rstrip()
        line.pad_left(indent)
    return lines


def cell(column: str, value: str) -> Text:
    """The cell, in its state's colour if it is a state."""
    return Text(value, style=STATE_STYLES.get(value.partition(" ")[0], "") if column == "state" else "")


def _paragraph(columns: Sequence[str], row: Sequence[str]) -> RenderableType:
    """The first cell, and below it the others, by name."""
    return Group(Text(row[0], style="bold"), Padding(_named(columns[1:], row[1:]), (0, 0, 0, GAP)))


def _named(columns: Sequence[str], cells: Sequence[str]) -> Text:
    """The cells that are not empty, each after its column's name."""
    named = [
        Text.assemble((f"{column} ", "dim"), cell(column, value))
        for column, value in zip(columns, cells, strict=True)
        if value not in ("", "-")
    ]
    return Text(", ").join(named)


def console(*, stderr: bool = False) -> Console:
    """The terminal; in colour if it has colours and NO_COLOR is not set."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)
