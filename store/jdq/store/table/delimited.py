"""Records of a delimited text file (CSV, TSV, ...), with cells unchanged, and their line numbers."""

from __future__ import annotations

import codecs
import csv
import io
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Literal

import pyarrow as pa
import pyarrow.csv

from jdq.store.table.chunk import Chunk, Notes, Record, chunk_bytes, is_blank, line_ends
from jdq.store.table.encoding import undecodable
from jdq.store.table.options import TableError, TableOptions
from jdq.store.table.source import Source

DELIMITERS = ",;\t|"
SPELLED = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
HEAD_CHARACTERS = 1 << 16
# Of a pass that reads only the header and some rows.
BEGIN_BYTES = 1 << 14
# An unclosed quote makes the rest of the file one cell, which without a limit would all be in memory.
CELL_CHARACTERS = 1 << 24
_QUOTING: dict[str, Literal[0, 3]] = {"standard": csv.QUOTE_MINIMAL, "none": csv.QUOTE_NONE}


def delimiter_of(source: Source, encoding: str, options: TableOptions) -> str:
    """The delimiter that the user names, else the most frequent one in the header outside quotes, else a comma."""
    if options.delimiter is not None:
        delimiter = SPELLED.get(options.delimiter, options.delimiter)
        if len(delimiter) != 1 or delimiter in '"\r\n':
            message = f"{options.delimiter!r} cannot be a delimiter: it must be one character, or 'tab'"
            raise TableError(message + options.try_with(source.path, "--delimiter", "tab"))
        return delimiter
    return _most_frequent(head_text(source, encoding, options), quotes=options.quoting == "standard")


def head_text(source: Source, encoding: str, options: TableOptions) -> str:
    """The beginning of the file, below the lines to skip. Raises TableError where it cannot be decoded."""
    with source.text(encoding) as stream:
        try:
            _skip(stream, options.skip_lines)
            return stream.read(HEAD_CHARACTERS)
        except UnicodeError:
            raise undecodable(source, encoding, options) from None


def _most_frequent(head: str, *, quotes: bool) -> str:
    counts = dict.fromkeys(DELIMITERS, 0)
    quoted = False
    for character in head.lstrip("\r\n"):
        if character == '"' and quotes:
            quoted = not quoted
        elif not quoted and character in "\r\n":
            break
        elif not quoted and character in counts:
            counts[character] += 1
    return max(DELIMITERS, key=lambda delimiter: counts[delimiter])


def delimited_chunks(
    source: Source, encoding: str, delimiter: str, options: TableOptions, notes: Notes, width: int = 0
) -> Iterator[Chunk]:
    """The records without blank lines; the header, the first with something in a cell, has a chunk of its own.

    `width`: how many cells most records have, if it is known. Whole lines in which no quote can hide a delimiter or a
    line end are then divided by pyarrow, all others by csv.
    Raises TableError for bytes that are invalid in the encoding, an unclosed or misplaced quote, and a cell of more
    than 16 Mi characters.
    """
    csv.field_size_limit(CELL_CHARACTERS)  # process-wide; Python's default of 128 KiB is less than some real texts
    lines = _Lines(
        _whole_lines(source, encoding, chunk_bytes(width) if width else BEGIN_BYTES, notes), delimiter, options
    )
    split = _Splitter(width, delimiter, quotes=options.quoting == "standard")
    has_begun = False
    try:
        _skip(lines, options.skip_lines)
        while data := lines.rest():
            if has_begun and (columns := split.columns(data)):
                yield Chunk([], columns, line=lines.line)
                lines.skip(len(columns[0]))
                continue
            lines.put_back(data)
            records: list[Record] = []
            try:
                records.extend(lines.records(one=not has_begun))
            finally:
                # Also those before a fault, for the advice about it.
                yield Chunk(records)
            has_begun = has_begun or not all(is_blank(cells) for _, cells in records)
    except UnicodeError:
        raise undecodable(source, encoding, options) from None
    except csv.Error as error:
        raise _malformed(source, options, lines.line, lines.last_line, str(error)) from None


class _Lines:
    """The lines of a file, which comes in pieces of whole lines, and the records that csv makes of them.

    `line` is where the next record begins, and `last_line` what was read last.
    """

    def __init__(self, pieces: Iterator[bytes], delimiter: str, options: TableOptions) -> None:
        self._pieces = pieces
        self._pending: deque[str] = deque()
        self._reader = csv.reader(self, delimiter=delimiter, quoting=_QUOTING[options.quoting], strict=True)
        self._unread = options.skip_lines  # by csv
        self.line = self._unread + 1

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if not self._pending:
            self.put_back(next(self._pieces))
        return self._pending.popleft()

    @property
    def last_line(self) -> int:
        return self._unread + self._reader.line_num

    def rest(self) -> bytes:
        """The rest of the piece, or the next one."""
        rest = "".join(self._pending).encode()
        self._pending.clear()
        return rest or next(self._pieces, b"")

    def put_back(self, piece: bytes) -> None:
        self._pending.extend(io.StringIO(piece.decode(), newline=""))

    def skip(self, lines: int) -> None:
        """Go on behind so many lines of a piece that was taken out."""
        self._unread += lines
        self.line += lines

    def records(self, *, one: bool) -> Iterator[Record]:
        """The next record, or all that begin before the end of the piece."""
        for cells in self._reader:
            first, self.line = self.line, self.last_line + 1
            if cells:
                yield first, cells
            if one or not self._pending:
                return


def _whole_lines(source: Source, encoding: str, size: int, notes: Notes) -> Iterator[bytes]:
    """The file in UTF-8, without its mark, in pieces of about `size` bytes that end with a line."""
    decoder = None if encoding == "utf-8" else codecs.getincrementaldecoder(encoding)()
    rest: list[bytes] = []
    with source.open() as stream:
        while data := stream.read(size):
            if decoder is not None:
                data = decoder.decode(data).encode()
            # A CR at the end may belong to a CR LF.
            if end := max(data.rfind(b"\n"), data.rfind(b"\r", 0, -1)) + 1:
                piece = b"".join([*rest, data[:end]])
                notes.line_ends += line_ends(piece)
                yield piece
                rest = []
            rest.append(data[end:])
    if last := b"".join(rest) + (decoder.decode(b"", final=True).encode() if decoder is not None else b""):
        notes.line_ends += line_ends(last)
        yield last


class _Splitter:
    """Divides lines of which it is certain at every delimiter, in C."""

    def __init__(self, width: int, delimiter: str, *, quotes: bool) -> None:
        names = list(map(str, range(width)))
        self._is_able = width > 0 and delimiter.isascii()
        self._quotes = quotes
        self._options = {
            "read_options": pyarrow.csv.ReadOptions(use_threads=False, column_names=names, block_size=CELL_CHARACTERS),
            "parse_options": pyarrow.csv.ParseOptions(delimiter=delimiter if self._is_able else ",", quote_char=False),
            "convert_options": pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        }

    def columns(self, data: bytes) -> list[pa.Array]:
        """The columns; none where a line is empty, has more or fewer cells, or may mean something else to csv."""
        # pyarrow drops a mark also here, where it is a character of the first cell.
        unsure = (self._quotes and b'"' in data) or data.startswith(codecs.BOM_UTF8) or len(data) >= CELL_CHARACTERS
        ends = line_ends(data)
        if unsure or not self._is_able or "CR" in ends or len(ends) > 1:
            return []
        try:
            table = pyarrow.csv.read_csv(pa.py_buffer(data), **self._options)
        except pa.ArrowInvalid:
            return []
        if len(table) != ends.total() + (not data.endswith(b"\n")):
            return []
        return [column.combine_chunks() for column in table.columns]


def _skip(lines: Iterator[str], count: int) -> None:
    for _ in islice(lines, count):
        pass


def _malformed(source: Source, options: TableOptions, first: int, last: int, fact: str) -> TableError:
    """`first` is the line on which the record begins, `last` the one at which the reader stopped."""
    if "field larger" in fact:
        fact = f"the record that begins on line {first} has a cell of more than {CELL_CHARACTERS:,} characters"
        fact += ", or a quote that is not closed" if options.quoting == "standard" else ""
    elif "unexpected end" in fact:
        fact = f"the record that begins on line {first} has a quote that is not closed"
    elif "expected after" in fact:
        fact = f"line {last}: text follows a closing quote (inside a quoted cell a quote must be doubled)"
        fact += f"; the record begins on line {first}" if first != last else ""
    else:
        fact = f"line {last}: {fact}"
    if options.quoting == "none":
        return TableError(f"{source.path}: {fact}")
    plain = f"{source.path}: {fact}\n  if quotes are plain text in this file, use --no-quotes"
    return TableError(plain + options.try_with(source.path, "--no-quotes"))
