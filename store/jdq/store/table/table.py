"""An open user's table: its columns are known, and its rows can be read in order, in blocks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from jdq.store.table.columns import Columns, choose_columns, named_cells
from jdq.store.table.delimited import Record, delimited_records, delimiter_of
from jdq.store.table.encoding import choose_encoding
from jdq.store.table.findings import Findings
from jdq.store.table.jsonl import jsonl_records
from jdq.store.table.options import TableError, TableOptions, columns, some

Row = tuple[str, ...]

# A block becomes one row group: small enough to read one row in milliseconds, large enough to compress well.
BLOCK_ROWS = 2048
BLOCK_CHARACTERS = 4 << 20
# Files that are given instead of a CSV, by their first bytes.
FOREIGN = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook: save the sheet as CSV UTF-8"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook: save the sheet as CSV UTF-8"),
    (b"\x1f\x8b", "compressed with gzip: unpack it first"),
    (b"%PDF", "a PDF"),
)


class Table:
    """A file with its encoding (None for Parquet), delimiter and columns; made by `open_table`."""

    def __init__(self, file: Path, options: TableOptions) -> None:
        self.file = file
        self.options = options
        self.kind = _kind(file)
        self.encoding = None if self.kind == "parquet" else choose_encoding(file, options)
        self.delimiter = delimiter_of(file, self.encoding, options) if self.kind == "csv" and self.encoding else None
        self.findings = Findings()
        self.columns = self._choose_columns()

    def blocks(self) -> Iterator[list[Row]]:
        """The rows in order, cells exactly as in the file, in blocks of at most 2,048 rows and about 4 Mi characters.

        Raises TableError for faulty rows at the end of the file: what was yielded before must then be discarded.
        """
        self.findings = Findings()
        block: list[Row] = []
        characters = 0
        for row in self._rows():
            block.append(row)
            characters += sum(map(len, row))
            if len(block) >= BLOCK_ROWS or characters >= BLOCK_CHARACTERS:
                yield block
                block, characters = [], 0
        self.findings.check(self.file, self.columns, self.options)
        if block:
            yield block

    def warnings(self) -> list[str]:
        """What is unusual but not an error, one sentence each; complete when `blocks` is exhausted."""
        return self.findings.warnings(self.file, self.columns, self.options)

    def _rows(self) -> Iterator[Row]:
        findings, options, names = self.findings, self.options, self.columns.names
        places, width, least = self.columns.places, self.columns.width, self.columns.least
        text = names.index(self.columns.text)
        label = None if self.columns.label is None else names.index(self.columns.label)
        for number, (line, cells) in enumerate(self._filled(), start=1):
            if len(cells) != width and not _fit(cells, width, least):
                findings.add_ragged(line, len(cells))
                continue
            row = tuple([cells[place] for place in places])
            if findings.add_row(number, row[text], None if label is None else row[label], options):
                yield row

    def _filled(self) -> Iterator[Record]:
        """All records except the header, and the empty ones at the end, which are counted."""
        pending: list[Record] = []
        for record in self._body():
            if not any(map(str.strip, record[1])):
                pending.append((record[0], [""] * self.columns.width))
                continue
            yield from pending
            pending.clear()
            yield record
        self.findings.n_empty = len(pending)

    def _body(self) -> Iterator[Record]:
        return _after_header(self._records())[1]

    def _records(self) -> Iterator[Record]:
        if self.kind == "parquet":
            from jdq.store.table.parquet import (
                parquet_records,
            )  # pyarrow is slow to import, and a CSV is checked without it

            return parquet_records(self.file)
        assert self.encoding is not None
        if self.kind == "jsonl":
            return jsonl_records(self.file, self.encoding, self.options)
        assert self.delimiter is not None
        return delimited_records(self.file, self.encoding, self.delimiter, self.options)

    def _choose_columns(self) -> Columns:
        header, body = _after_header(self._records())
        if header is None:
            raise TableError(f"{self.file} is empty: it needs a header line and rows")
        first = next(body, None)
        if first is None:
            names = columns([name for name in header if name.strip()])
            raise TableError(f"{self.file} has a header and no rows; its columns: {names}")
        used = self._used(header, chain([first], body))
        return choose_columns(self.file, header, first[1], used, self.options)

    def _used(self, header: list[str], body: Iterator[Record]) -> list[bool]:
        """Which columns to keep: all, except those at the right without a name and with only empty cells.

        Only a file with unnamed columns at the right is read to its end for this.
        """
        named = named_cells(header)
        used = [True] * named + [False] * (len(header) - named)
        if not all(used):
            for _, cells in body:
                for place in range(named, min(len(cells), len(header))):
                    used[place] = used[place] or bool(cells[place].strip())
        return used


def open_table(file: str | Path, options: TableOptions | None = None) -> Table:
    """Open a CSV, TSV, JSON Lines (.jsonl, .ndjson) or Parquet (.parquet) file.

    Raises TableError where the file or its header cannot be used; `Table.blocks` raises it for faulty rows.
    """
    options = options or TableOptions()
    file = Path(file)
    _check_file(file)
    return Table(file, options)


def _check_file(file: Path) -> None:
    if file.is_dir():
        tables = sorted(path.name for path in file.iterdir() if path.suffix in (".csv", ".tsv", ".jsonl", ".parquet"))
        inside = f"; it contains: {some(tables)}" if tables else ""
        raise TableError(f"{file} is a folder, not a table{inside}")
    if not file.exists():
        raise TableError(f"no such file: {file} (in {Path.cwd()})")
    if not file.is_file():
        raise TableError(f"{file} is not a regular file: a table is read more than once")
    try:
        with file.open("rb") as stream:
            head = stream.read(4)
    except PermissionError:
        raise TableError(f"no permission to read {file}") from None
    if not head:
        raise TableError(f"{file} is empty: it needs a header line and rows")
    for magic, what in FOREIGN:
        if head.startswith(magic):
            raise TableError(f"{file} is {what}")


def _kind(file: Path) -> str:
    suffix = file.suffix.lower()
    if suffix == ".json":
        raise TableError(f"{file} is JSON; a table needs one object per line\n  try: jq -c '.[]' {file} > {file}l")
    return {".parquet": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl"}.get(suffix, "csv")


def _after_header(records: Iterator[Record]) -> tuple[list[str] | None, Iterator[Record]]:
    """The first record that is not empty (None where all are), and the records after it."""
    for _, cells in records:
        if any(map(str.strip, cells)):
            return cells, records
    return None, records


def _fit(cells: list[str], width: int, least: int) -> bool:
    """Remove surplus empty cells, add missing cells of columns without a name; True if the record then fits."""
    while len(cells) > width and not cells[-1].strip():
        cells.pop()
    if least <= len(cells) < width:
        cells += [""] * (width - len(cells))
    return len(cells) == width
