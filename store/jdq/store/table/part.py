"""One file of a table: how it is read, and its records."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from jdq.store.table.chunk import Chunk, Notes, Record, chunked, is_blank
from jdq.store.table.columns import MOST_COLUMNS, below_header, named_cells
from jdq.store.table.delimited import delimited_chunks, delimiter_of, head_text
from jdq.store.table.encoding import choose_encoding, unmarked_encoding
from jdq.store.table.jsonl import jsonl_records
from jdq.store.table.options import TableError, TableOptions, columns
from jdq.store.table.parquet import arrow_chunks
from jdq.store.table.source import WORKBOOK, Source
from jdq.store.table.workbook import workbook_records

KINDS = {
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
}
# Files that are given instead of a table, by their first characters.
FOREIGN = (
    ("%PDF", "a PDF"),
    ("version https://git-lfs", "a Git LFS pointer, not the file itself: get it with `git lfs pull`"),
    ("<!doctype html", "an HTML page, not a table"),
    ("<html", "an HTML page, not a table"),
    ("<?xml", "XML, not a table"),
    ('{"', "JSON: name it .json or .jsonl"),
    ("[{", "JSON: name it .json or .jsonl"),
)
# Rows that are looked at for advice about a preamble or another delimiter.
LOOKED_AT = 200
PREAMBLE = 20


class Part:
    """A file with its kind, encoding (None for Parquet, Arrow and workbooks), delimiter and header.

    `used` says which columns have a name or hold something. Raises TableError where the file has no header or no rows.
    """

    def __init__(self, source: Source, options: TableOptions) -> None:
        self.source = source
        self.options = options
        self.kind = WORKBOOK if source.packing == WORKBOOK else self._kind()
        is_text = self.kind in ("csv", "jsonl")
        self.encoding = choose_encoding(source, options) if is_text else None
        self._refuse_foreign()
        self.delimiter = (
            delimiter_of(source, self.encoding, options) if self.kind == "csv" and self.encoding is not None else None
        )
        self.notes = Notes()
        self.warnings: list[str] = []
        self.header: list[str] = []
        self.header, self.first = self._begin()
        self._check_header()
        self.used = self._used()

    def chunks(self) -> Iterator[Chunk]:
        """All records except the header."""
        chunks = self._chunks(len(self.header))
        if self.options.header:
            _after_header(_records(chunks))
        return chunks

    def rows(self) -> Iterator[Record]:
        """All records except the header, one by one."""
        return _records(self.chunks())

    def advice(self) -> str:
        """The last line of an error about the number of cells: a preamble to skip, or another delimiter."""
        if self.kind != "csv" or self.encoding is None:
            return ""
        found = list(islice(self._lenient(), LOOKED_AT))
        widths = [len(cells) for _, cells in found]
        usual = max(set(widths), key=widths.count, default=0)
        if usual > 1 and widths[0] != usual and widths.count(usual) * 2 > len(widths):
            return self._skip_to(found[widths.index(usual) :])
        other = _adviser(head_text(self.source, self.encoding, self.options))
        if other is not None and other != self.delimiter and self.options.delimiter is None:
            return self.options.try_with(self.source.path, "--delimiter", "tab" if other == "\t" else other)
        return ""

    def header_below(self) -> str:
        """What to try where the header has hardly any names and a row below it has more; "" elsewhere."""
        if self.kind not in ("csv", WORKBOOK) or sum(map(bool, self.header)) * 2 > len(self.header):
            return ""
        found = list(islice(self._lenient(), PREAMBLE))
        names = [sum(1 for cell in cells if cell.strip()) for _, cells in found]
        most = names.index(max(names))
        return self._skip_to(found[most:]) if found[most][1] != self.header else ""

    def _skip_to(self, records: list[Record]) -> str:
        (line, header), rows = records[0], [cells for _, cells in records[1:PREAMBLE]]
        words = below_header(header, rows, self.options)
        return self.options.try_with(self.source.path, "--skip-lines", str(line - 1), *words)

    def _lenient(self) -> Iterator[Record]:
        """The records up to the first that cannot be read."""
        return _until_fault(_records(self._chunks()))

    def _chunks(self, width: int = 0) -> Iterator[Chunk]:
        source, options = self.source, self.options
        self.notes = notes = Notes()
        if self.kind == WORKBOOK:
            return chunked(workbook_records(source, options))
        if self.encoding is None:
            return arrow_chunks(source, self.kind, notes)
        if self.kind == "jsonl":
            return chunked(jsonl_records(source, self.encoding, options, notes))
        assert self.delimiter is not None
        return delimited_chunks(source, self.encoding, self.delimiter, options, notes, width)

    def _kind(self) -> str:
        name = self.source.name.lower()
        kind = next((kind for ending, kind in KINDS.items() if name.endswith(ending)), "csv")
        if kind in ("parquet", "arrow") and self.source.packing is not None:
            raise TableError(f"{self.source.path} is compressed with {self.source.packing}: unpack it first")
        return kind

    def _refuse_foreign(self) -> None:
        if self.kind != "csv" or self.encoding is None:
            return
        start = self.source.head(64).decode(self.encoding, errors="ignore").lstrip("\ufeff \t\r\n").lower()
        for beginning, what in FOREIGN:
            if start.startswith(beginning.lower()):
                raise TableError(f"{self.source.path} is {what}")
        if start.startswith("sep=") and self.options.skip_lines == 0:
            fact = f"{self.source.path}: line 1 names the delimiter ({start[:5]}) and is not the header"
            words = ("--skip-lines", "1", "--delimiter", "tab" if start[4:5] == "\t" else start[4:5])
            raise TableError(fact + self.options.try_with(self.source.path, *words))

    def _begin(self) -> tuple[list[str], list[list[str]]]:
        """The header and the first rows."""
        path = self.source.path
        records = _records(self._chunks())
        header = _after_header(records)
        if header is None:
            raise TableError(f"{path} is empty: it needs a header line and rows")
        # A fault of later rows is reported with all others, when the table is read to its end.
        rows = [cells for _, cells in islice(_until_fault(records), PREAMBLE)]
        if not self.options.header:
            return [f"column_{place}" for place in range(1, len(header[1]) + 1)], [header[1], *rows]
        if not rows and next(self.rows(), None) is None:
            names = columns([name for name in header[1] if name.strip()])
            raise TableError(f"{path} has a header and no rows; its columns: {names}")
        return header[1], rows

    def _check_header(self) -> None:
        header, path = self.header, self.source.path
        if len(header) > MOST_COLUMNS:
            raise TableError(f"{path} has {len(header):,} columns; a table may have {MOST_COLUMNS:,}")
        if any("\0" in name for name in header):
            fact = f"{path} has NUL characters in its header: it is binary, or in another encoding"
            wide = unmarked_encoding(self.source) if self.encoding else None
            raise TableError(fact + (self.options.try_with(path, "--encoding", wide) if wide else ""))
        if self.options.header and self.kind == "csv":
            self._doubt_header()

    def _doubt_header(self) -> None:
        header = self.header
        if header[0].startswith("# ") or (header[0].startswith("#") and len(header) == 1):
            self.warnings.append("the header begins with '#'; if it is a comment, use --skip-lines")
        elif len(header) == 1 and " " in header[0].strip():
            what = f"the first line is taken for the name of the only column: {header[0][:60]!r}"
            self.warnings.append(f"{what}; if it is a text, use --no-header")

    def _used(self) -> list[bool]:
        """Which columns to keep: all, except those at the right without a name and with only empty cells.

        Only a file with unnamed columns at the right is read to its end for this.
        """
        header = self.header
        named = named_cells(header)
        used = [True] * named + [False] * (len(header) - named)
        if all(used):
            return used
        for line, cells in self.rows():
            for place in range(named, min(len(cells), len(header))):
                if cells[place].strip() and not used[place]:
                    used[place] = True
                    fact = f"line {line} is the first with something in column {place + 1}, which has no name"
                    self.warnings.append(f"{fact}; is it a delimiter in a cell without quotes?")
        return used


def _adviser(head: str) -> str | None:
    """The delimiter that CleverCSV finds in the first lines: the one that makes rows of like cells."""
    import clevercsv  # only a failure needs it

    try:
        dialect = clevercsv.Sniffer().sniff("\n".join(head.splitlines()[:LOOKED_AT])[: 1 << 13])
    except clevercsv.Error:
        return None
    return dialect.delimiter if dialect is not None and dialect.delimiter else None


def _until_fault(records: Iterator[Record]) -> Iterator[Record]:
    try:
        yield from records
    except TableError:
        return


def _after_header(records: Iterator[Record]) -> Record | None:
    """The first record that is not empty, None where all are; `records` continues behind it."""
    return next((record for record in records if not is_blank(record[1])), None)


def _records(chunks: Iterator[Chunk]) -> Iterator[Record]:
    return (record for chunk in chunks for record in chunk.records())
