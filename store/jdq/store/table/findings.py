"""Faults and oddities of a table's rows, collected in one pass, so that one error reports all faults of a kind."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from jdq.store.table.columns import Columns
from jdq.store.table.options import NAMED, TableError, TableOptions, rows, some
from jdq.store.table.options import columns as listed


@dataclass(slots=True)
class Places:
    """Row or line numbers: the first ten, and how many there were."""

    first: list[int] = field(default_factory=list)
    count: int = 0

    def add(self, number: int) -> None:
        self.count += 1
        if len(self.first) < NAMED:
            self.first.append(number)

    def __bool__(self) -> bool:
        return self.count > 0


@dataclass(slots=True)
class Findings:
    """Rows are numbered from 1, as users count them: row 7 is the seventh below the header."""

    n_rows: int = 0
    n_empty: int = 0  # empty rows at the end, dropped
    ragged: Places = field(default_factory=Places)
    ragged_cells: int = 0
    no_text: Places = field(default_factory=Places)
    no_label: Places = field(default_factory=Places)
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

    def check(self, file: Path, columns: Columns, options: TableOptions) -> None:
        """Raise TableError for the first kind of fault, if there is any."""
        if self.ragged:
            raise self._ragged_error(file, columns)
        if self.no_text and options.empty_text == "error":
            message = f"{file}: no text in column {columns.text!r} in {rows(self.no_text.first, self.no_text.count)}"
            raise TableError(message + options.try_with(file, "--skip-empty"))
        if self.n_rows == 0:
            raise TableError(f"{file} has a header and no row with text; columns: {listed(columns.names)}")
        if columns.label is not None:
            self._check_labels(file, columns.label, options)

    def _ragged_error(self, file: Path, columns: Columns) -> TableError:
        lines, first, width = self.ragged, self.ragged.first[0], columns.width
        if lines.count == 1:
            cells = "1 cell" if self.ragged_cells == 1 else f"{self.ragged_cells} cells"
            fact = f"line {first} has {cells}; the header has {width}"
        else:
            fact = f"lines {some(lines.first, lines.count)} have more or fewer cells than the header, which has {width}"
            fact += f" (line {first} has {self.ragged_cells})"
        return TableError(f"{file}: {fact}\n  a delimiter inside a cell needs quotes around the cell")

    def _check_labels(self, file: Path, label: str, options: TableOptions) -> None:
        if self.no_label and options.missing_labels == "error":
            message = f"{file}: no label in column {label!r} in {rows(self.no_label.first, self.no_label.count)}"
            raise TableError(message + options.try_with(file, "--missing-labels", "keep"))
        if len(self.classes) < 2:
            only = repr(next(iter(self.classes))) if self.classes else "no class at all"
            message = f"{file}: column {label!r} has one class only: {only}, in {self.n_rows} rows"
            raise TableError(message + options.try_with(file, "--unlabelled"))

    def warnings(self, file: Path, columns: Columns, options: TableOptions) -> list[str]:
        """What is unusual but not an error, one sentence each, for the client to print."""
        warnings = list(columns.warnings)
        if self.n_empty:
            warnings.append(f"{file}: {self.n_empty} empty rows at the end are left out")
        if self.no_text:
            done = "left out" if options.empty_text == "skip" else "imported"
            warnings.append(f"{file}: {rows(self.no_text.first, self.no_text.count)} without text, {done}")
        if self.no_label:
            warnings.append(f"{file}: {rows(self.no_label.first, self.no_label.count)} without a label")
        return warnings + [f"{file}: {warning}" for warning in self._label_warnings()]

    def _label_warnings(self) -> list[str]:
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
