"""One file of a table: how it is read, and its records."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

from jdq.store.table.chunk import Chunk, Notes, Record, chunked, take_header
from jdq.store.table.columns import MOST_COLUMNS, below_header, looks_like_a_row, named_cells
from jdq.store.table.delimited import DELIMITERS, delimited_chunks, delimited_records, delimiter_of, head_text
from jdq.store.table.encoding import choose_encoding, undecodable, unmarked_encoding
from jdq.store.table.jsonl import jsonl_records
from jdq.store.table.options import TableError, columns
from jdq.store.table.parquet import arrow_chunks
from jdq.store.table.source import WORKBOOK, Source
from jdq.store.table.workbook import workbook_records

T = TypeVar("T")

ARROW = ("parquet", "arrow")
# Kinds whose first line is the header only by convention.
LINED = ("csv", WORKBOOK)
KINDS = {".parquet": "parquet", ".arrow": "arrow", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"}
# Files that are given instead of a table, by their first characters.
FOREIGN = (
    ("%pdf", "a PDF"),
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

    `first` are its first rows, and `used` says which columns have a name or hold something. Raises TableError where the
    file has no header or no rows.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.kind = WORKBOOK if source.packing == WORKBOOK else self._kind()
        self.encoding = choose_encoding(source) if self.kind in ("csv", "jsonl") else None
        self.delimiter: str | None = None
        if self.kind == "csv" and self.encoding is not None:
            self._refuse_foreign(self.encoding)
            self.delimiter = delimiter_of(source, self.encoding)
        self.notes = Notes()
        self.warnings: list[str] = []
        self.header, self.first = self._begin()
        self._check_header()
        self.used = self._used()

    def chunks(self) -> Iterator[Chunk]:
        """All rows; `notes` are those of this pass."""
        self.notes = Notes()
        if self.kind in ARROW:
            return islice(arrow_chunks(self.source, self.kind, self.notes), int(self.source.options.header), None)
        if self.encoding is None or self.delimiter is None:
            return chunked(self.rows())
        chunks = delimited_chunks(self.source, self.encoding, self.delimiter, len(self.header), self.notes)
        return self._decodable(chunks, self.encoding)

    def rows(self) -> Iterator[Record]:
        """All records except the header, one by one."""
        records = self._records()
        if self.source.options.header:
            take_header(records)
        return records

    def advice(self) -> str:
        """The last line of an error about the number of cells: a preamble to skip, or another delimiter."""
        if self.encoding is None or self.delimiter is None:
            return ""
        found = list(islice(_until_fault(self._records()), LOOKED_AT))
        widths = [len(cells) for _, cells in found]
        usual = max(set(widths), key=widths.count, default=0)
        if usual > 1 and widths[0] != usual and widths.count(usual) * 2 > len(widths):
            return self._skip_to(found[widths.index(usual) :])
        if self.source.options.delimiter is not None:
            return ""
        head = head_text(self.source, self.encoding)
        other = _adviser(head)
        if len(self.header) == 1 and (other is None or other not in self.header[0]):
            # One column of texts, in which this delimiter is punctuation: another has to be named.
            other = next((unused for unused in ("\t", *DELIMITERS) if unused not in head), None)
        if other is None or other == self.delimiter:
            return ""
        return self.source.options.try_with(self.source.path, "--delimiter", "tab" if other == "\t" else other)

    @property
    def header_is_a_row(self) -> bool:
        """Whether the header that was read is probably data."""
        return self.kind in LINED and self.source.options.header and looks_like_a_row(self.header, self.first)

    def header_below(self) -> str:
        """What to try where the header has hardly any names and a row below it has more; "" elsewhere."""
        if self.kind not in LINED or sum(map(bool, self.header)) * 2 > len(self.header):
            return ""
        found = list(islice(_until_fault(self._records()), PREAMBLE))
        names = [sum(bool(cell.strip()) for cell in cells) for _, cells in found]
        most = names.index(max(names))
        return self._skip_to(found[most:]) if found[most][1] != self.header else ""

    def _skip_to(self, records: list[Record]) -> str:
        (line, header), rows = records[0], [cells for _, cells in records[1:PREAMBLE]]
        words = below_header(header, rows, self.source.options, is_row=looks_like_a_row(header, rows))
        return self.source.options.try_with(self.source.path, "--skip-lines", str(line - 1), *words)

    def _records(self) -> Iterator[Record]:
        if self.kind == WORKBOOK:
            return workbook_records(self.source)
        if self.encoding is None:
            chunks = arrow_chunks(self.source, self.kind, self.notes)
            return (record for chunk in chunks for record in chunk.records())
        if self.delimiter is None:
            records = jsonl_records(self.source, self.encoding, self.notes)
        else:
            records = delimited_records(self.source, self.encoding, self.delimiter, self.notes)
        return self._decodable(records, self.encoding)

    def _decodable(self, items: Iterable[T], encoding: str) -> Iterator[T]:
        try:
            yield from items
        except UnicodeError:
            raise undecodable(self.source, encoding) from None

    def _kind(self) -> str:
        name, packing = self.source.name.lower(), self.source.packing
        kind = next((kind for ending, kind in KINDS.items() if name.endswith(ending)), "csv")
        if kind in ARROW and packing is not None:
            raise TableError(f"{self.source.path} is compressed with {packing}: unpack it first")
        return kind

    def _refuse_foreign(self, encoding: str) -> None:
        source = self.source
        start = source.head(64).decode(encoding, errors="ignore").lstrip("\ufeff \t\r\n").lower()
        for beginning, what in FOREIGN:
            if start.startswith(beginning):
                raise TableError(f"{source.path} is {what}")
        if start.startswith("sep=") and source.options.skip_lines == 0:
            fact = f"{source.path}: line 1 names the delimiter ({start[:5]}) and is not the header"
            delimiter = "tab" if start[4:5] == "\t" else start[4:5]
            raise source.error(fact, "--skip-lines", "1", "--delimiter", delimiter)

    def _begin(self) -> tuple[list[str], list[list[str]]]:
        """The header and the first rows."""
        path = self.source.path
        records = self._records()
        found = take_header(records)
        if found is None:
            raise TableError(f"{path} is empty: it needs a header line and rows")
        _, header = found
        # A fault of later rows is reported with all others, when the table is read to its end.
        rows = [cells for _, cells in islice(_until_fault(records), PREAMBLE)]
        if not self.source.options.header:
            return [f"column_{number}" for number in range(1, len(header) + 1)], [header, *rows]
        if not rows and next(self.rows(), None) is None:
            named = columns([name for name in header if name.strip()])
            raise TableError(f"{path} has a header and no rows; its columns: {named}")
        return header, rows

    def _check_header(self) -> None:
        header, path = self.header, self.source.path
        if len(header) > MOST_COLUMNS:
            raise TableError(f"{path} has {len(header):,} columns; a table may have {MOST_COLUMNS:,}")
        if any("\0" in name for name in header):
            wide = unmarked_encoding(self.source) if self.encoding else None
            fact = f"{path} has NUL characters in its header: it is binary, or in another encoding"
            raise self.source.error(fact, *(["--encoding", wide] if wide else []))
        if not self.source.options.header or self.kind != "csv":
            return
        if header[0].startswith("# ") or (header[0].startswith("#") and len(header) == 1):
            self.warnings.append("the header begins with '#'; if it is a comment, use --skip-lines")
        elif len(header) == 1 and " " in header[0].strip():
            fact = f"the first line is taken as the name of the only column: {header[0][:60]!r}"
            self.warnings.append(f"{fact}; if it is a text, use --no-header")

    def _used(self) -> list[bool]:
        """Which columns to keep: all, except those at the right without a name and with only empty cells.

        Only a file with unnamed columns at the right is read to its end for this.
        """
        named, width = named_cells(self.header), len(self.header)
        used = [True] * named + [False] * (width - named)
        for line, cells in () if all(used) else self.rows():
            for place in range(named, min(len(cells), width)):
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
    return dialect.delimiter or None if dialect is not None else None


def _until_fault(records: Iterator[Record]) -> Iterator[Record]:
    try:
        yield from records
    except TableError:
        return
