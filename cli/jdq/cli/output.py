"""How results are printed: stdout holds only the result, messages go to stderr."""

import datetime
import sys
import time
from collections.abc import Sequence
from typing import Any

import click

from jdq.worker.queue.exit_codes import plain, plain_lines

Table = list[list[str]]

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


def say(text: str = "", *, err: bool = False) -> None:
    """Lines for people on stdout, or stderr, wrapped at words on a terminal.

    Control characters, such as those in labels or file names, are escaped.
    """
    if (sys.stderr if err else sys.stdout).isatty():
        from jdq.cli.terminal import console

        console(stderr=err).print(plain_lines(text))
    else:
        click.echo(plain_lines(text), err=err)


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def print_json_line(value: Any) -> None:
    """One JSON document as one line on stdout."""
    import msgspec

    click.echo(msgspec.json.encode(value))


def fits(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether `print_table` prints aligned columns, because the terminal is wide enough, or stdout is a pipe."""
    if not sys.stdout.isatty():
        return True
    from jdq.cli import terminal

    return terminal.fits(columns, rows, terminal.console().width)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout; in a pipe plain aligned columns, whatever the width."""
    rows = [[plain(str(cell)) for cell in row] for row in rows]
    if sys.stdout.isatty():
        from jdq.cli.terminal import console, table

        terminal = console()
        terminal.print(table(columns, rows, width=terminal.width))
        return
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    for row in (columns, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_bands(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout, in bands of as many columns as the terminal has room for beside the first one.

    Rows that are empty in a band are left out there, except in the first band.
    """
    start = 1
    while start < len(columns):
        stop = start + 1
        while stop < len(columns) and fits(*_band(columns, rows, start, stop + 1)):
            stop += 1
        if start > 1:
            say("")
        print_table(*_band(columns, rows, start, stop))
        start = stop


def _band(columns: Sequence[str], rows: Sequence[Sequence[str]], start: int, stop: int) -> tuple[list[str], Table]:
    """The first column, and those from `start` to `stop`."""
    chosen = [[row[0], *row[start:stop]] for row in rows if start == 1 or any(row[start:stop])]
    return [columns[0], *columns[start:stop]], chosen


def moment(seconds: float | None) -> str:
    """A time in seconds since 1970: on a terminal as by `ago`, else as date and time, for other programs."""
    return ago(seconds, time.time()) if sys.stdout.isatty() else clock(seconds)


def clock(seconds: float | None) -> str:
    """A time in seconds since 1970 as local date and time."""
    if seconds is None:
        return "-"
    return datetime.datetime.fromtimestamp(seconds).astimezone().isoformat(sep=" ", timespec="seconds")


def ago(seconds: float | None, now: float) -> str:
    """A time such as 12 s ago, 5 min ago or 3 h ago; if it is more than a day ago, local date and time."""
    if seconds is None:
        return "-"
    age = max(0, round(now - seconds))
    if age < 60:
        return f"{age} s ago"
    if age < 3600:
        return f"{age // 60} min ago"
    if age < 86_400:
        return f"{age // 3600} h ago"
    return clock(seconds)[:16]


def duration(seconds: float | None) -> str:
    """A duration such as 0.4 s, 12 s, 3 min 20 s or 2 h 05 min."""
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 100:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def counted(count: int, noun: str) -> str:
    """A count with its noun: 1 row, 2 rows."""
    return f"1 {noun}" if count == 1 else f"{count:,} {noun}s"


def size(count: int) -> str:
    """A size such as 512 B, 1.5 KiB or 3.0 MiB."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"
