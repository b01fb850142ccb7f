"""Faults and oddities of a table's rows, collected in one pass, so that one error reports all faults of a kind."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jdq.store.table.columns import Columns
from jdq.store.table.options import NAMED, TableError, TableOptions, rows, some
from jdq.store.table.options import columns as listed

# What UTF-8 looks like in another encoding (no word has these pairs), what a lost character becomes, the bytes that
# switch alphabets in ISO-2022, and what cp1252's quotes and dashes are in Latin-1.
GARBLED = (
    "\u00e2\u20ac",
    "\u00e2\u0080",
    "\u00c2\u00a0",
    "\ufffd",
    "\x1b",
    "\x0e",
    "\x80",
    *map(chr, range(0x91, 0x98)),
)
GARBLED += tuple(
    "\u00c3" + second for second in "\u0178\u00a0\u00a1\u00a4\u00a7\u00a8\u00a9\u00aa\u00ad\u00b1\u00b3\u00b6\u00bc"
)


# In UTF-8. Most texts have not even the first byte of one of these, and need no search for each.
_ODD = re.compile(b"|".join(re.escape(mark.encode()) for mark in ("\0", *GARBLED)))
_ODD_BEGINS = frozenset(mark.encode()[:1] for mark in ("\0", *GARBLED))
_QUOTE_BEFORE_WORD = re.compile(r'"\w')


def may_be_odd(columns: Sequence[pa.Array], *, quotes: bool) -> bool:
    """Whether a cell may have NUL or what a text has that was read in the wrong encoding.

    `quotes`: or whether a row may be split.
    """
    data = b"".join(map(_bytes_of, columns))
    if any(begin in data for begin in _ODD_BEGINS) and _ODD.search(data):
        return True
    if not quotes or b'"' not in data:
        return False
    odd = sum(pc.bit_wise_and(pc.count_substring(column, '"'), 1).to_numpy() for column in columns)
    return bool(np.any(odd > 1))


def _bytes_of(column: pa.Array) -> memoryview:
    """The cells of a column of strings in UTF-8, one after another."""
    _, offsets, data = column.buffers()
    ends = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    return memoryview(data or b"")[ends[0] : ends[-1]]


def quotes_a_word(text: str) -> bool:
    """Whether a word begins behind a quote that is not behind a space."""
    return any(not text[at.start() - 1 : at.start()].isspace() for at in _QUOTE_BEFORE_WORD.finditer(text))


def is_split(cells: Sequence[str]) -> bool:
    """Whether a quoted cell seems to have lost the delimiter before it, so that those inside it have divided it."""
    odd = [cell for cell in cells if cell.count('"') % 2]
    return len(odd) > 1 and odd[-1].endswith('"') and not odd[0].startswith('"') and quotes_a_word(odd[0])


@dataclass(slots=True)
class Places:
    """Row or line numbers: the first ten, and how many there were."""

    first: list[int] = field(default_factory=list)
    count: int = 0

    def add(self, number: int) -> None:
        self.count += 1
        if len(self.first) < NAMED:
            self.first.append(number)

    def add_all(self, other: Places) -> None:
        self.count += other.count
        self.first = [*self.first, *other.first][:NAMED]

    def __bool__(self) -> bool:
        return self.count > 0


@dataclass(slots=True)
class Findings:
    """Rows are numbered from 1, as users count them: row 7 is the seventh below the header."""

    n_rows: int = 0
    n_empty: int = 0  # empty rows at the end, dropped
    n_records: int = 0  # rows that hold something
    ragged: Places = field(default_factory=Places)
    ragged_cells: int = 0
    # Lines with surplus empty cells, by how many.
    surplus: defaultdict[int, Places] = field(default_factory=lambda: defaultdict(Places))
    no_text: Places = field(default_factory=Places)
    no_label: Places = field(default_factory=Places)
    headers: Places = field(default_factory=Places)
    split: Places = field(default_factory=Places)
    nul: Places = field(default_factory=Places)
    garbled: Places = field(default_factory=Places)
    garbled_text: str = ""
    classes: Counter[str] = field(default_factory=Counter)

    def add_ragged(self, line: int, n_cells: int) -> None:
        if not self.ragged:
            self.ragged_cells = n_cells
        self.ragged.add(line)

    def add_row(self, row: int, text: str, label: str | None, options: TableOptions) -> bool:
        """Count one row; True if it is to be imported."""
        if not text.strip():
            self.no_text.add(row)
            if options.empty_text == "skip":
                return False
        self.n_rows += 1
        if label is None:
            return True
        if label.strip():
            self.classes[label] += 1
        else:
            self.no_label.add(row)
        return True

    def add_garbled(self, row: int, cell: str) -> None:
        """Note a cell that looks as if it was read in the wrong encoding."""
        if not self.garbled:
            at = min(cell.find(mark) for mark in GARBLED if mark in cell)
            self.garbled_text = cell[max(at - 15, 0) : at + 15]
        self.garbled.add(row)

    def add_all(self, other: Findings) -> None:
        """Add what another file of the same table has, for the warnings that are about all of them."""
        self.n_rows += other.n_rows
        self.n_empty += other.n_empty
        self.no_text.add_all(other.no_text)
        self.no_label.add_all(other.no_label)
        self.classes.update(other.classes)

    def check_rows(self, file: Path, columns: Columns, options: TableOptions, advice: str) -> None:
        """Raise TableError for the first kind of fault of one file's rows; `advice` ends an error about their cells."""
        if self.nul and options.nul == "error":
            fact = f"{file} has NUL characters in {rows(self.nul.first, self.nul.count)}"
            raise TableError(fact + options.try_with(file, "--nul", "drop"))
        self._move_surplus()
        if self.ragged:
            raise TableError(self._ragged_fact(file, columns) + advice)
        if self.no_text and options.empty_text == "error" and self.n_rows > self.no_text.count:
            message = f"{file}: no text in column {columns.text!r} in {rows(self.no_text.first, self.no_text.count)}"
            raise TableError(message + options.try_with(file, "--skip-empty"))
        if self.n_rows == 0 or (self.n_rows == self.no_text.count and options.empty_text == "error"):
            raise TableError(f"{file} has a header and no row with text; columns: {listed(columns.names)}")
        if columns.label is not None and self.no_label and options.missing_labels == "error":
            message = (
                f"{file}: no label in column {columns.label!r} in {rows(self.no_label.first, self.no_label.count)}"
            )
            raise TableError(message + options.try_with(file, "--missing-labels", "keep"))

    def check_classes(self, file: Path, label: str, options: TableOptions) -> None:
        """Raise TableError where all rows have one label, or none has."""
        if len(self.classes) < 2:
            only = repr(next(iter(self.classes))) if self.classes else "no class at all"
            message = f"{file}: column {label!r} has one class only: {only}, in {self.n_rows} rows"
            raise TableError(message + (options.try_with(file, "--unlabelled") if options.can_be_unlabelled else ""))

    def _move_surplus(self) -> None:
        """Surplus empty cells are faults unless every row has as many: else a delimiter in a cell has shifted them."""
        if [places.count for places in self.surplus.values()] == [self.n_records]:
            return
        for size, places in self.surplus.items():
            if not self.ragged:
                self.ragged_cells = size
            self.ragged.add_all(places)
        self.ragged.first.sort()
        self.surplus.clear()

    def _ragged_fact(self, file: Path, columns: Columns) -> str:
        lines, first, width = self.ragged, self.ragged.first[0], columns.width
        if lines.count == 1:
            cells = "1 cell" if self.ragged_cells == 1 else f"{self.ragged_cells} cells"
            fact = f"line {first} has {cells}; the header has {width}"
        else:
            fact = f"lines {some(lines.first, lines.count)} have more or fewer cells than the header, which has {width}"
            fact += f" (line {first} has {self.ragged_cells})"
        return f"{file}: {fact}\n  a delimiter inside a cell needs quotes around the cell"

    def row_warnings(self, file: Path, options: TableOptions) -> list[str]:
        """What is unusual in one file's rows but not an error, one sentence each, for the client to print."""
        warnings = []
        if self.n_empty:
            warnings.append(f"{file}: {self.n_empty} empty rows at the end are left out")
        if self.surplus:
            cells = some(list(self.surplus))
            warnings.append(f"{file}: every row has {cells} cells, the last of them empty and without a name; left out")
        if self.headers:
            warnings.append(f"{file}: {rows(self.headers.first, self.headers.count)}: the header again")
        if self.split:
            where = rows(self.split.first, self.split.count)
            warnings.append(f"{file}: {where} may have lost a delimiter before a quote")
        if self.nul:
            warnings.append(f"{file}: NUL characters are left out in {rows(self.nul.first, self.nul.count)}")
        if self.garbled:
            where = rows(self.garbled.first, self.garbled.count)
            warnings.append(f"{file}: {where} may be in another encoding: {self.garbled_text!r}")
        if self.no_text:
            done = "left out" if options.empty_text == "skip" else "kept"
            warnings.append(f"{file}: {rows(self.no_text.first, self.no_text.count)} without text, {done}")
        if self.no_label:
            warnings.append(f"{file}: {rows(self.no_label.first, self.no_label.count)} without a label")
        return warnings

    def label_warnings(self) -> list[str]:
        """What is unusual about the classes."""
        warnings = []
        alike: defaultdict[str, list[str]] = defaultdict(list)
        for label in sorted(self.classes):
            alike[" ".join(label.casefold().split())].append(label)
        for labels in [group for group in alike.values() if len(group) > 1][:NAMED]:
            warnings.append(
                f"labels differ only by case or white space and stay apart: {some([repr(x) for x in labels])}"
            )
        if len(self.classes) > max(20, self.n_rows // 2):
            warnings.append(f"{len(self.classes)} classes in {self.n_rows} rows: is it a label column?")
        elif single := [repr(label) for label, count in sorted(self.classes.items()) if count == 1]:
            classes = "class" if len(single) == 1 else "classes"
            warnings.append(f"{len(single)} {classes} of one row, which a split cannot divide: {some(single)}")
        return warnings
