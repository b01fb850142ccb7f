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
GARBLED = re.compile(
    "\u00e2[\u20ac\u0080]|\u00c2\u00a0|[\ufffd\x1b\x0e\x80\x91-\x97]"
    "|\u00c3[\u0178\u00a0\u00a1\u00a4\u00a7\u00a8\u00a9\u00aa\u00ad\u00b1\u00b3\u00b6\u00bc]"
)
# The first bytes of these and of NUL in UTF-8: most texts have none, and need no search.
_ODD_BEGINS = (b"\0", b"\x0e", b"\x1b", b"\xc2", b"\xc3", b"\xef")
_QUOTE_BEFORE_WORD = re.compile(r'"\w')


def may_be_odd(columns: Sequence[pa.Array], *, quotes: bool) -> bool:
    """Whether a cell may have NUL or what a text has that was read in the wrong encoding.

    `quotes`: or whether a row may be split.
    """
    data = b"".join(map(_bytes_of, columns))
    if any(begin in data for begin in _ODD_BEGINS) and (b"\0" in data or GARBLED.search(data.decode())):
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
    """Rows or lines, each with what is there: the first ten, and how many there were."""

    first: list[tuple[int, str]] = field(default_factory=list)
    count: int = 0

    def add(self, number: int, what: str = "") -> None:
        self.count += 1
        if len(self.first) < NAMED:
            self.first.append((number, what))

    def add_all(self, other: Places) -> None:
        self.count += other.count
        self.first = [*self.first, *other.first][:NAMED]

    def __bool__(self) -> bool:
        return self.count > 0

    def __str__(self) -> str:
        return rows([number for number, _ in self.first], self.count) if self else ""


@dataclass(slots=True)
class Findings:
    """Rows are numbered from 1, as users count them: row 7 is the seventh below the header."""

    n_rows: int = 0
    n_empty: int = 0  # empty rows at the end, dropped
    n_records: int = 0  # rows that hold something
    # Lines, with the number of their cells.
    ragged: Places = field(default_factory=Places)
    # Lines with surplus empty cells, by how many cells they have.
    surplus: defaultdict[int, Places] = field(default_factory=lambda: defaultdict(Places))
    no_text: Places = field(default_factory=Places)
    no_label: Places = field(default_factory=Places)
    headers: Places = field(default_factory=Places)
    split: Places = field(default_factory=Places)
    nul: Places = field(default_factory=Places)
    garbled: Places = field(default_factory=Places)
    classes: Counter[str] = field(default_factory=Counter)

    def add_row(self, row: int, text: str, label: str | None, options: TableOptions) -> bool:
        """Count one row; True if it is to be imported."""
        if not text.strip():
            self.no_text.add(row)
            if options.empty_text == "skip":
                return False
        self.n_rows += 1
        if label is not None and label.strip():
            self.classes[label] += 1
        elif label is not None:
            self.no_label.add(row)
        return True

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
            raise TableError(f"{file} has NUL characters in {self.nul}" + options.try_with(file, "--nul", "drop"))
        self._move_surplus()
        if self.ragged:
            raise TableError(f"{file}: {self._ragged_fact(columns.width)}{advice}")
        n_texts = self.n_rows - (self.no_text.count if options.empty_text == "error" else 0)
        if self.no_text and options.empty_text == "error" and n_texts > 0:
            message = f"{file}: no text in column {columns.text!r} in {self.no_text}"
            raise TableError(message + options.try_with(file, "--skip-empty"))
        if n_texts == 0:
            raise TableError(f"{file} has a header and no row with text; columns: {listed(columns.names)}")
        if self.no_label and options.missing_labels == "error":
            message = f"{file}: no label in column {columns.label!r} in {self.no_label}"
            raise TableError(message + options.try_with(file, "--missing-labels", "keep"))

    def check_classes(self, file: Path, label: str, options: TableOptions) -> None:
        """Raise TableError where all rows have one label, or none has."""
        if len(self.classes) < 2:
            only = repr(next(iter(self.classes))) if self.classes else "no class at all"
            message = f"{file}: column {label!r} has one class only: {only}, in {self.n_rows} rows"
            raise TableError(message + (options.try_with(file, "--unlabelled") if options.can_be_unlabelled else ""))

    def _move_surplus(self) -> None:
        """Surplus empty cells are faults unless every row has as many: else a delimiter in a cell has shifted them."""
        if [places.count for places in self.surplus.values()] != [self.n_records]:
            # First of all in the file: the first ten of each number of cells are enough.
            every = [self.ragged, *self.surplus.values()]
            first = sorted(place for places in every for place in places.first)[:NAMED]
            self.ragged = Places(first, sum(places.count for places in every))
            self.surplus.clear()

    def _ragged_fact(self, width: int) -> str:
        (line, size), count = self.ragged.first[0], self.ragged.count
        fact = f"line {line} has {size} cell{'s' * (size != '1')}; the header has {width}"
        if count > 1:
            lines = some([number for number, _ in self.ragged.first], count)
            fact = f"lines {lines} have more or fewer cells than the header, which has {width} (line {line} has {size})"
        return f"{fact}\n  a delimiter inside a cell needs quotes around the cell"

    def row_warnings(self, options: TableOptions) -> list[str]:
        """What is unusual in one file's rows but not an error, one sentence each, for the client to print."""
        garbled = self.garbled.first[0][1] if self.garbled else ""
        cells = some(list(self.surplus))
        sentences = [
            (self.n_empty, f"{self.n_empty} empty rows at the end are left out"),
            (self.surplus, f"every row has {cells} cells, the last of them empty and without a name; left out"),
            (self.headers, f"{self.headers}: the header again"),
            (self.split, f"{self.split} may have lost a delimiter before a quote"),
            (self.nul, f"NUL characters are left out in {self.nul}"),
            (self.garbled, f"{self.garbled} may be in another encoding: {garbled!r}"),
            (self.no_text, f"{self.no_text} without text, {'left out' if options.empty_text == 'skip' else 'kept'}"),
            (self.no_label, f"{self.no_label} without a label"),
        ]
        return [sentence for found, sentence in sentences if found]

    def label_warnings(self) -> list[str]:
        """What is unusual about the classes."""
        alike: defaultdict[str, list[str]] = defaultdict(list)
        for label in sorted(self.classes):
            alike[" ".join(label.casefold().split())].append(repr(label))
        warnings = [
            f"labels differ only by case or white space and stay apart: {some(labels)}"
            for labels in [group for group in alike.values() if len(group) > 1][:NAMED]
        ]
        if len(self.classes) > max(20, self.n_rows // 2):
            warnings.append(f"{len(self.classes)} classes in {self.n_rows} rows: is it a label column?")
        elif single := [repr(label) for label, count in sorted(self.classes.items()) if count == 1]:
            classes = "class" if len(single) == 1 else "classes"
            warnings.append(f"{len(single)} {classes} of one row, which a split cannot divide: {some(single)}")
        return warnings
