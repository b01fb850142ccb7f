"""An open user's table: its columns are known, and its rows can be read in order, in blocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from jdq.store.table.chunk import Notes, Record, as_columns, is_blank, line_ends
from jdq.store.table.columns import FILE_COLUMN, JOINED_BY, Columns, choose_columns
from jdq.store.table.files import expand
from jdq.store.table.findings import GARBLED, Findings, is_split, may_be_odd
from jdq.store.table.options import TableError, TableOptions, some
from jdq.store.table.options import columns as listed
from jdq.store.table.part import Part
from jdq.store.table.source import Source, open_source

Row = list[str]
# One column of strings for each of the table's names.
Block = Sequence[pa.Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file that was read: its name without its folder, size and digest."""

    file: str
    size_bytes: int
    sha256: str


class Table:
    """One or more files with the same columns; made by `open_table`. With several, the column `file` says which.

    `encoding` and `delimiter` are those of the first file: None where its kind has none.
    """

    def __init__(self, parts: Sequence[Part], options: TableOptions) -> None:
        self.parts = parts
        self.options = options
        first = parts[0]
        self.file = first.source.path
        self.kind, self.encoding, self.delimiter = first.kind, first.encoding, first.delimiter
        self.findings = Findings()
        used = [any(column) for column in zip(*(part.used for part in parts), strict=False)]
        self.columns = choose_columns(self.file, first.header, first.first, used, options, first.header_below())
        self._assumed = [*self.columns.warnings]
        for name, classes in first.notes.class_names.items():
            fact = f"column {name!r} has numbers of classes, which are imported as their names"
            self._assumed.append(f"{self.file}: {fact}: {some(classes)}")
        self._warnings = self._assumed
        for part in parts[1:]:
            if part.header != first.header:
                fact = f"{part.source.path} has columns other than those of {self.file}: {listed(part.header)}"
                raise TableError(f"{fact}; that has: {listed(first.header)}")
        if len(parts) > 1:
            self._file_column = _unused(FILE_COLUMN, self.columns.names)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns of a row."""
        return (*self.columns.names, self._file_column) if len(self.parts) > 1 else self.columns.names

    def blocks(self) -> Iterator[Block]:
        """The rows in order, by columns, in blocks of about 1 MiB (more with over 1,000 columns). No cell is changed.

        Raises TableError for faulty rows at the end of the file: what was yielded before must then be discarded.
        """
        total = Findings()
        self._warnings = [*self._assumed]
        for part in self.parts:
            reader = _Rows(part, self.columns, self.options)
            for block in reader.blocks():
                name = pa.scalar(part.source.path.name, pa.string())
                yield [*block, pa.repeat(name, len(block[0]))] if len(self.parts) > 1 else block
            part.source.check_unchanged()
            self._warnings += reader.warnings()
            total.add_all(reader.findings)
        if self.columns.label is not None:
            total.check_classes(self.file, self.columns.label, self.options)
        self.findings = total

    def warnings(self) -> list[str]:
        """What is unusual but not an error, one sentence each; complete when `blocks` is exhausted."""
        return self._warnings + [f"{self.file}: {warning}" for warning in self.findings.label_warnings()]

    def sources(self) -> list[SourceFile]:
        """The files as they were read; raises TableError where one has changed since."""
        files = []
        for source in (part.source for part in self.parts):
            digest = source.sha256()
            source.check_unchanged()
            files.append(SourceFile(file=source.path.name, size_bytes=source.size_bytes, sha256=digest))
        return files


class _Rows:
    """The rows of one file, checked, in blocks."""

    def __init__(self, part: Part, columns: Columns, options: TableOptions) -> None:
        self.findings = Findings()
        self._notes = Notes()
        self._part = part
        self._columns = columns
        self._options = options
        self._row = 0
        self._blank: list[Record] = []
        self._text = [columns.names.index(name) for name in columns.joined] or [columns.names.index(columns.text)]
        self._label = None if columns.label is None else columns.names.index(columns.label)
        # In cells; those of the file that are in no cell end rows.
        self._line_ends: Counter[str] = Counter()
        self._count_line_ends(part.header)

    def blocks(self) -> Iterator[Block]:
        chunks = self._part.chunks()
        self._notes = self._part.notes
        for chunk in chunks:
            if len(self._notes.line_ends) > 1:
                self._count_line_ends(cell for _, cells in chunk.records() for cell in cells)
            block = self._quickly(chunk.columns(self._columns.width)) or as_columns(self._carefully(chunk.records()))
            if block:
                yield block
        self.findings.n_empty = len(self._blank)
        path = self._part.source.path
        advice = self._part.advice() if self.findings.ragged or self.findings.surplus else ""
        self.findings.check_rows(path, self._columns, self._options, advice)

    def warnings(self) -> list[str]:
        path = self._part.source.path
        warnings = self._part.warnings + self.findings.row_warnings(self._options)
        # With more than one kind between rows, a cell that has a line end may lack its quotes.
        if len(ends := sorted(self._notes.line_ends - self._line_ends)) > 1:
            warnings.append(f"rows end in {' or '.join(ends)}: does a cell have a line end without quotes?")
        if repeats := self._notes.repeats:
            where = some(repeats, limit=1)
            warnings.append(f"line {where}: a name occurs twice in the object; the last one counts")
        return [f"{path}: {warning}" for warning in warnings]

    def _count_line_ends(self, texts: Iterable[str]) -> None:
        self._line_ends += line_ends("\0".join(texts).encode())

    def _quickly(self, cells: Sequence[pa.Array]) -> Block | None:
        """The rows of a chunk in which nothing is amiss, else None: a few passes in C instead of one in Python."""
        columns, findings = self._columns, self.findings
        if not cells or self._blank or columns.joined or may_be_odd(cells, quotes=self._part.kind == "csv"):
            return None
        block = [cells[place] for place in columns.places]
        texts = block[self._text[0]]
        has_blank = pc.any(pc.utf8_is_space(texts)).as_py() or not pc.min(pc.binary_length(texts)).as_py()
        if has_blank or pc.index(cells[0], self._part.header[0]).as_py() >= 0:
            return None
        if self._label is not None:
            counts = pc.value_counts(block[self._label])
            labels = dict(zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True))
            if not all(map(str.strip, labels)):
                return None
            findings.classes.update(labels)
        n_rows = len(block[0])
        self._row += n_rows
        findings.n_rows += n_rows
        findings.n_records += n_rows
        return block

    def _carefully(self, records: list[Record]) -> list[Row]:
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
            yield line, cells

    def _checked(self, line: int, cells: list[str]) -> Row | None:
        findings = self.findings
        fitted = self._fitted(line, cells)
        if fitted is None:
            return None
        if fitted == self._part.header:
            findings.headers.add(self._row)
        if self._part.kind == "csv" and is_split(fitted):
            findings.split.add(self._row)
        if any("\0" in cell for cell in fitted):
            findings.nul.add(self._row)
            fitted = [cell.replace("\0", "") for cell in fitted]
        if at := next(filter(None, map(GARBLED.search, fitted)), None):
            findings.garbled.add(self._row, at.string[max(at.start() - 15, 0) : at.start() + 15])
        row = [fitted[place] for place in self._columns.places]
        if self._columns.joined:
            row.append(JOINED_BY.join(row[place] for place in self._text if row[place].strip()))
        label = None if self._label is None else row[self._label]
        text = row[-1] if self._columns.joined else row[self._text[0]]
        return row if findings.add_row(self._row, text, label, self._options) else None

    def _fitted(self, line: int, cells: list[str]) -> list[str] | None:
        """The cells, as many as the header has; None where they do not fit, which is noted.

        Columns without a name may be missing. Surplus empty cells are noted, and `check_rows` decides; below a header
        of one cell they are a fault, as in a text that ends in the delimiter.
        """
        width, size = self._columns.width, len(cells)
        if not is_blank(cells):
            self.findings.n_records += 1
        if size > width > 1 and is_blank(cells[width:]):
            self.findings.surplus[size].add(line, str(size))
            return cells[:width]
        if self._columns.least <= size < width:
            return cells + [""] * (width - size)
        if size != width:
            self.findings.ragged.add(line, str(size))
            return None
        return cells


def open_table(file: str | Path | Sequence[str | Path], options: TableOptions | None = None) -> Table:
    """Open a table: a file, a folder of files, a pattern, several of these, a URL, or "-" for standard input.

    CSV, TSV, JSON Lines (.jsonl, .ndjson), a JSON array (.json), Parquet, Arrow, Excel and ODS; also compressed with
    gzip, bzip2, xz, zstd or zip. Raises TableError where a file or its header cannot be used; `Table.blocks` raises it
    for faulty rows.
    """
    options = options or TableOptions()
    files = [file] if isinstance(file, str | Path) else file
    sources: list[Source] = [open_source(name) for name in expand([str(name) for name in files])]
    return Table([Part(source, options) for source in sources], options)


def _unused(name: str, taken: Sequence[str]) -> str:
    while name in taken:
        name += "_"
    return name
