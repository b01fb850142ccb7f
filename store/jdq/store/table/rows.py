"""The rows of one file, checked, in blocks; and what is counted over all files of a table."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from jdq.store.table.chunk import Record, as_columns, as_scalar, is_blank
from jdq.store.table.columns import JOINED_BY, Columns
from jdq.store.table.findings import GARBLED, Places, is_split, may_be_odd
from jdq.store.table.options import NAMED, TableError, some
from jdq.store.table.options import columns as listed
from jdq.store.table.part import LINED, Part
from jdq.store.table.source import Source

LINE_ENDS = {"\r": "CR", "\n": "LF", "\r\n": "CR LF"}
# One column of strings for each of the table's names.
Block = Sequence[pa.Array]


@dataclass(slots=True)
class Totals:
    """Rows to import, of these without a label, rows left out: empty ones at the end, and those without a text."""

    n_rows: int = 0
    n_unlabelled: int = 0
    n_empty: int = 0
    n_skipped: int = 0
    classes: Counter[str] = field(default_factory=Counter)

    def check_classes(self, source: Source, label: str) -> None:
        """Raise TableError where all rows have one label, or none has."""
        if len(self.classes) < 2:
            only = repr(next(iter(self.classes))) if self.classes else "no class at all"
            fact = f"{source.path}: column {label!r} has one class only: {only}, in {self.n_rows} rows"
            raise source.error(fact, *(["--unlabelled"] if source.options.can_be_unlabelled else []))

    def warnings(self) -> list[str]:
        """What is unusual about the classes."""
        alike: defaultdict[str, list[str]] = defaultdict(list)
        for label in sorted(self.classes):
            alike[" ".join(label.casefold().split())].append(repr(label))
        warnings = [
            f"labels differ only by case or white space and are kept apart: {some(labels)}"
            for labels in [group for group in alike.values() if len(group) > 1][:NAMED]
        ]
        if len(self.classes) > max(20, self.n_rows // 2):
            warnings.append(f"{len(self.classes)} classes in {self.n_rows} rows: is it a label column?")
        elif single := [repr(label) for label, count in sorted(self.classes.items()) if count == 1]:
            classes = "class" if len(single) == 1 else "classes"
            warnings.append(f"{len(single)} {classes} of one row, which a split cannot divide: {some(single)}")
        return warnings


class Rows:
    """The rows of one file; adds them to `totals`. Row 7 is the seventh below the header, as users count them."""

    def __init__(self, part: Part, columns: Columns, totals: Totals) -> None:
        self._part = part
        self._source = part.source
        self._columns = columns
        self._totals = totals
        self._joined = [columns.names.index(name) for name in columns.joined]
        self._text = columns.names.index(columns.text)
        self._label = None if columns.label is None else columns.names.index(columns.label)
        # Where a header that is a row has what other rows have, too.
        self._telling = {0} if self._label is None else {0, columns.places[self._label]}
        self._row = self._n_filled = 0
        self._blank: list[Record] = []
        # Lines, with the number of their cells; and how many have only empty ones beyond those of the header.
        self._ragged = Places()
        self._surplus: Counter[int] = Counter()
        self._no_text, self._no_label, self._headers, self._names, self._split, self._nul, self._garbled = (
            Places() for _ in range(7)
        )

    def blocks(self) -> Iterator[Block]:
        """All rows. Raises TableError for the first kind of fault, at the end of the file."""
        for chunk in self._part.chunks():
            block = self._quickly(chunk.columns(self._columns.width)) or as_columns(self._carefully(chunk.records()))
            if block:
                self._totals.n_rows += len(block[0])
                yield block
        self._totals.n_empty += len(self._blank)
        self._check()

    def warnings(self) -> list[str]:
        """What is unusual but not an error, one sentence each; complete when `blocks` is exhausted."""
        garbled = self._garbled.first[0][1] if self._garbled else ""
        skipped = "left out" if self._source.options.empty_text == "skip" else "kept"
        # With more than one kind, a cell that has a line end may lack its quotes.
        ends = sorted(LINE_ENDS[end] for end in self._part.notes.row_ends if end)
        repeats = self._part.notes.repeats
        sentences = [
            (self._blank, f"{len(self._blank)} empty rows at the end are left out"),
            (
                self._surplus,
                f"every row has {some(list(self._surplus))} cells, the last of them empty and without a name; left out",
            ),
            (self._headers, f"{self._headers}: the header again"),
            (self._names, f"{self._names}: a column's name again; if the first line is a row, use --no-header"),
            (self._split, f"{self._split} may have lost a delimiter before a quote"),
            (self._nul, f"NUL characters are left out in {self._nul}"),
            (self._garbled, f"{self._garbled} may be in another encoding: {garbled!r}"),
            (self._no_text, f"{self._no_text} without text, {skipped}"),
            (self._no_label, f"{self._no_label} without a label"),
            (ends[1:], f"rows end in {' or '.join(ends)}: does a cell have a line end without quotes?"),
            (repeats, f"line {some(repeats, limit=1)}: a name occurs twice in the object; the last one counts"),
        ]
        warnings = self._part.warnings + [sentence for found, sentence in sentences if found]
        return [f"{self._source.path}: {warning}" for warning in warnings]

    def _quickly(self, cells: Sequence[pa.Array]) -> Block | None:
        """The rows of a chunk in which nothing is amiss, else None: a few passes in C instead of one in Python."""
        if not cells or self._blank or self._joined or may_be_odd(cells, quotes=self._part.kind == "csv"):
            return None
        block = [cells[place] for place in self._columns.places]
        texts = block[self._text]
        has_blank = pc.any(pc.utf8_is_space(texts)).as_py() or not pc.min(pc.binary_length(texts)).as_py()
        if has_blank or any(
            pc.index(cells[place], as_scalar(self._part.header[place])).as_py() >= 0 for place in self._telling
        ):
            return None
        if self._label is not None:
            counts = pc.value_counts(block[self._label])
            labels = dict(zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True))
            if not all(map(str.strip, labels)):
                return None
            self._totals.classes.update(labels)
        self._row += len(texts)
        self._n_filled += len(texts)
        return block

    def _carefully(self, records: list[Record]) -> list[list[str]]:
        rows = []
        for record in self._without_blank_end(records):
            self._row += 1
            if (row := self._checked(*record)) is not None:
                rows.append(row)
        return rows

    def _without_blank_end(self, records: list[Record]) -> Iterator[Record]:
        """The records, less the empty ones at the end of the file, which are counted."""
        for line, cells in records:
            if is_blank(cells):
                self._blank.append((line, [""] * self._columns.width))
                continue
            yield from self._blank
            self._blank.clear()
            self._n_filled += 1
            yield line, cells

    def _checked(self, line: int, cells: list[str]) -> list[str] | None:
        """The row, if it is to be imported."""
        fitted = self._fitted(line, cells)
        if fitted is None:
            return None
        if fitted == self._part.header:
            self._headers.add(self._row)
        elif self._part.kind in LINED and any(
            fitted[place] == self._part.header[place] != "" for place in self._telling
        ):
            self._names.add(self._row)
        if self._part.kind == "csv" and is_split(fitted):
            self._split.add(self._row)
        if any("\0" in cell for cell in fitted):
            self._nul.add(self._row)
            fitted = [cell.replace("\0", "") for cell in fitted]
        if at := next(filter(None, map(GARBLED.search, fitted)), None):
            self._garbled.add(self._row, at.string[max(at.start() - 15, 0) : at.start() + 15])
        row = [fitted[place] for place in self._columns.places]
        if self._joined:
            row.append(JOINED_BY.join(row[place] for place in self._joined if row[place].strip()))
        if not row[self._text].strip():
            self._no_text.add(self._row)
            if self._source.options.empty_text == "skip":
                self._totals.n_skipped += 1
                return None
        if self._label is not None:
            self._add_label(row[self._label])
        return row

    def _add_label(self, label: str) -> None:
        if label.strip():
            self._totals.classes[label] += 1
        else:
            self._totals.n_unlabelled += 1
            self._no_label.add(self._row)

    def _fitted(self, line: int, cells: list[str]) -> list[str] | None:
        """The cells, as many as the header has; None where they do not fit, which is noted.

        Columns without a name may be missing. Surplus empty cells are noted, and `_check` decides; below a header of
        one cell they are a fault, as in a text that ends in the delimiter.
        """
        width, size = self._columns.width, len(cells)
        if size > width > 1 and is_blank(cells[width:]):
            self._ragged.add(line, str(size))
            self._surplus[size] += 1
            return cells[:width]
        if self._columns.least <= size < width:
            return cells + [""] * (width - size)
        if size != width:
            self._ragged.add(line, str(size))
            return None
        return cells

    def _check(self) -> None:
        source, options, file = self._source, self._source.options, self._source.path
        if self._nul and options.nul == "error":
            raise source.error(f"{file} has NUL characters in {self._nul}", "--nul", "drop")
        # Surplus empty cells are faults unless every row has as many: else a delimiter in a cell has shifted them.
        if self._ragged and list(self._surplus.values()) != [self._n_filled]:
            raise TableError(f"{file}: {self._ragged_fact()}{self._part.advice()}")
        if self._row == (0 if options.empty_text == "keep" else self._no_text.count):
            raise TableError(f"{file} has a header and no row with text; columns: {listed(self._columns.names)}")
        if self._no_text and options.empty_text == "error":
            raise source.error(f"{file}: no text in column {self._columns.text!r} in {self._no_text}", "--skip-empty")
        if self._no_label and options.missing_labels == "error":
            fact = f"{file}: no label in column {self._columns.label!r} in {self._no_label}"
            raise source.error(fact, "--missing-labels", "keep")

    def _ragged_fact(self) -> str:
        (line, size), count, width = self._ragged.first[0], self._ragged.count, self._columns.width
        fact = f"line {line} has {size} cell{'s' * (size != '1')}; the header has {width}"
        if count > 1:
            lines = some([number for number, _ in self._ragged.first], count)
            fact = f"lines {lines} have more or fewer cells than the header, which has {width} (line {line} has {size})"
        return f"{fact}\n  a delimiter inside a cell needs quotes around the cell"
