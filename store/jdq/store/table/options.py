"""The options for reading a table, and the error of a table that cannot be used."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jdq.store.errors import StoreError

NAMED = 10
SHOWN_COLUMNS = 40


class TableError(StoreError):
    """A user's file cannot be used as it is. Names the file, the rows and the values, and the next command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOptions:
    """How to read a user's file. What is None is determined from the file, or is an error with the possible values.

    `text_column`: several are joined into a new column. `quoting="none"`: quote characters are text. `skip_lines`:
    lines above the header. `header=False`: the first line is a row, and columns are `column_1` and so on. `nul="drop"`
    removes NUL characters. `sheet`: of a workbook. `missing_labels="keep"`: rows may have no label. `empty_text="skip"`
    leaves out rows without text and counts them, "keep" imports them. `unlabelled`: do not look for a label column.
    For the next command in an error: `command` is what the user typed, without the data and these options, `typed` the
    data as they typed it, and `can_be_unlabelled` says that the command has --unlabelled.
    """

    text_column: str | tuple[str, ...] | None = None
    label_column: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    quoting: Literal["standard", "none"] = "standard"
    skip_lines: int = 0
    header: bool = True
    nul: Literal["error", "drop"] = "error"
    sheet: str | None = None
    missing_labels: Literal["error", "keep"] = "error"
    empty_text: Literal["error", "skip", "keep"] = "error"
    unlabelled: bool = False
    command: str = "jdq submit extract"
    typed: tuple[str, ...] = ()
    can_be_unlabelled: bool = True

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The text columns that the user names."""
        if self.text_column is None:
            return ()
        return (self.text_column,) if isinstance(self.text_column, str) else self.text_column

    def try_with(self, file: Path, *arguments: str) -> str:
        """The last line of an error: the user's command on this file, with its options and these arguments."""
        given: list[tuple[str, str | bool | None]] = [("--text-column", name) for name in self.text_columns]
        given += [
            ("--label-column", self.label_column),
            ("--encoding", self.encoding),
            ("--delimiter", self.delimiter),
            ("--skip-lines", self.skip_lines > 0 and str(self.skip_lines)),
            ("--nul", self.nul == "drop" and "drop"),
            ("--sheet", self.sheet),
            ("--missing-labels", self.missing_labels == "keep" and "keep"),
            ("--no-quotes", self.quoting == "none"),
            ("--no-header", not self.header),
            ("--skip-empty", self.empty_text != "error"),
            ("--unlabelled", self.unlabelled and self.can_be_unlabelled),
        ]
        words = [*shlex.split(self.command), *(self.typed or [str(file)])]
        for name, value in given:
            if value and name not in arguments:
                words += [name] if value is True else [name, value]
        return f"\n  try: {shlex.join([*words, *arguments])}"


def some(values: Sequence[object], count: int | None = None, *, limit: int = NAMED) -> str:
    """At most `limit` values, comma-separated, and how many of `count` (by default of the values) are not shown."""
    left = (len(values) if count is None else count) - min(len(values), limit)
    shown = ", ".join(str(value) for value in values[:limit])
    return f"{shown} and {left} more" if left > 0 else shown


def rows(numbers: Sequence[int], count: int) -> str:
    """`row 7`, or `rows 7, 9 and 300 more`."""
    return f"row {numbers[0]}" if count == 1 else f"rows {some(numbers, count)}"


def columns(names: Sequence[str]) -> str:
    """Column names for an error; those that are not printable are escaped."""
    return some([name if name.isprintable() else repr(name) for name in names], limit=SHOWN_COLUMNS)
