"""Records of a delimited text file (CSV, TSV, ...), with cells unchanged, and their line numbers."""

import codecs
import csv
import io
import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Literal, Self

import pyarrow as pa
import pyarrow.csv

from jdq.store.table.chunk import Chunk, Notes, Record, chunk_bytes, take_header
from jdq.store.table.encoding import undecodable
from jdq.store.table.options import TableError
from jdq.store.table.source import Source

DELIMITERS = ",;\t|"
SPELLED = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
HEAD_CHARACTERS = 1 << 16
# With the header, whose lines csv reads.
FIRST_BYTES = 1 << 14
# An unclosed quote makes the rest of the file one cell, which without a limit would all be in memory.
CELL_CHARACTERS = 1 << 24
_QUOTED = re.compile('"[^"]*"?')
_QUOTING: dict[str, Literal[0, 3]] = {"standard": csv.QUOTE_MINIMAL, "none": csv.QUOTE_NONE}


def delimiter_of(source: Source, encoding: str) -> str:
    """The delimiter that the user names, else the most frequent one in the header outside quotes, else a comma."""
    named = source.options.delimiter
    if named is not None:
        delimiter = SPELLED.get(named, named)
        if len(delimiter) != 1 or delimiter in '"\r\n':
            fact = f"{named!r} cannot be a delimiter: it must be one character, or 'tab'"
            raise source.error(fact, "--delimiter", "tab")
        return delimiter
    return _most_frequent(head_text(source, encoding), quotes=source.options.quoting == "standard")


def head_text(source: Source, encoding: str) -> str:
    """The beginning of the file, below the lines to skip. Raises TableError where it cannot be decoded."""
    with source.text(encoding) as stream:
        try:
            _skip(stream, source.options.skip_lines)
            return stream.read(HEAD_CHARACTERS)
        except UnicodeError:
            raise undecodable(source, encoding) from None


def _most_frequent(head: str, *, quotes: bool) -> str:
    head = head.lstrip("\r\n")
    header = re.split("[\r\n]", _QUOTED.sub("", head) if quotes else head, maxsplit=1)[0]
    return max(DELIMITERS, key=header.count)


def delimited_records(source: Source, encoding: str, delimiter: str, notes: Notes) -> Iterator[Record]:
    """All records except blank lines.

    Raises UnicodeError for bytes that are invalid in the encoding, TableError for an unclosed or misplaced quote, and
    for a cell of more than 16 Mi characters.
    """
    return _records(source, _Lines(_whole_lines(source, encoding, FIRST_BYTES)), delimiter, notes)


def delimited_chunks(source: Source, encoding: str, delimiter: str, width: int, notes: Notes) -> Iterator[Chunk]:
    """The same records below the header, of which most have `width` cells.

    Whole lines in which no quote can hide a delimiter or a line end are divided by pyarrow, all others by csv.
    """
    pieces = _whole_lines(source, encoding, chunk_bytes(width))
    lines = _Lines(pieces)
    records = _records(source, lines, delimiter, notes)
    if source.options.header:
        take_header(records)
    split = _splitter(width, delimiter, quotes=source.options.quoting == "standard")
    while True:
        if lines.left:
            yield Chunk(list(_begun_in_piece(records, lines)))
        elif not (piece := next(pieces, b"")):
            return
        elif columns := split(piece):
            yield Chunk([], columns, line=lines.number + 1)
            lines.number += len(columns[0])
            notes.row_ends.add(_line_end(piece[: piece.find(b"\n") + 1].decode()))
        else:
            lines.begin(piece)


class _Lines:
    """The lines of a file that comes in pieces of whole lines.

    `number` lines were taken; the piece in which the `last` one is has so many characters `left`.
    """

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = io.StringIO()
        self.left = 0
        self.number = 0
        self.last = ""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        if not self.left:
            self.begin(next(self._pieces))
        self.last = self._piece.readline()
        self.left -= len(self.last)
        self.number += 1
        return self.last

    def begin(self, piece: bytes) -> None:
        """Go on with this piece."""
        text = piece.decode()
        self._piece = io.StringIO(text, newline="")
        self.left = len(text)


def _records(source: Source, lines: _Lines, delimiter: str, notes: Notes) -> Iterator[Record]:
    _skip(lines, source.options.skip_lines)
    csv.field_size_limit(CELL_CHARACTERS)  # process-wide; Python's default of 128 KiB is less than some real texts
    reader = csv.reader(lines, delimiter=delimiter, quoting=_QUOTING[source.options.quoting], strict=True)
    first = lines.number + 1
    try:
        for cells in reader:
            notes.row_ends.add(_line_end(lines.last))
            if cells:
                yield first, cells
            first = lines.number + 1
    except csv.Error as error:
        raise _malformed(source, first, lines.number, str(error)) from None


def _begun_in_piece(records: Iterator[Record], lines: _Lines) -> Iterator[Record]:
    for record in records:
        yield record
        if not lines.left:
            return


def _line_end(line: str) -> str:
    return line[len(line.rstrip("\r\n")) :]


def _whole_lines(source: Source, encoding: str, size: int) -> Iterator[bytes]:
    """The file in UTF-8, without its mark, in pieces of about `size` bytes that end with a line; the first is small."""
    decoder = None if encoding == "utf-8" else codecs.getincrementaldecoder(encoding)()
    rest: list[bytes] = []
    next_size = FIRST_BYTES
    with source.open() as stream:
        while data := stream.read(next_size):
            if decoder is not None:
                data = decoder.decode(data).encode()
            # A CR at the end may belong to a CR LF.
            if end := max(data.rfind(b"\n"), data.rfind(b"\r", 0, -1)) + 1:
                yield b"".join([*rest, data[:end]])
                rest, next_size = [], size
            rest.append(data[end:])
    if last := b"".join(rest) + (decoder.decode(b"", final=True).encode() if decoder is not None else b""):
        yield last


def _splitter(width: int, delimiter: str, *, quotes: bool) -> Callable[[bytes], list[pa.Array]]:
    """What divides lines of which it is certain at every delimiter, in C, into columns.

    There are none where a line is empty, has more or fewer cells, or may mean something else to csv.
    """
    names = list(map(str, range(width)))
    options = {
        "read_options": pyarrow.csv.ReadOptions(use_threads=False, column_names=names, block_size=CELL_CHARACTERS),
        "parse_options": pyarrow.csv.ParseOptions(
            delimiter=delimiter if delimiter.isascii() else ",", quote_char=False
        ),
        # Of these pyarrow makes search trees for each column, 7 KB in all, which strings have no use for.
        "convert_options": pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), null_values=[], true_values=[], false_values=[]
        ),
    }

    def columns(data: bytes) -> list[pa.Array]:
        # pyarrow drops a mark also here, where it is a character of the first cell.
        unsure = (quotes and b'"' in data) or data.startswith(codecs.BOM_UTF8) or len(data) >= CELL_CHARACTERS
        has_lone_ends = b"\r" in data and not data.count(b"\r") == data.count(b"\r\n") == data.count(b"\n")
        if unsure or has_lone_ends or not delimiter.isascii():
            return []
        try:
            table = pyarrow.csv.read_csv(pa.py_buffer(data), **options)
        except pa.ArrowInvalid:
            return []
        is_complete = len(table) == data.count(b"\n") + (not data.endswith(b"\n"))
        return [column.combine_chunks() for column in table.columns] if is_complete else []

    return columns


def _skip(lines: Iterator[str], count: int) -> None:
    for _ in islice(lines, count):
        pass


def _malformed(source: Source, first: int, last: int, fact: str) -> TableError:
    """`first` is the line on which the record begins, `last` the one at which the reader stopped."""
    plain_quotes = source.options.quoting == "none"
    if "field larger" in fact:
        fact = f"the record that begins on line {first} has a cell of more than {CELL_CHARACTERS:,} characters"
        fact += "" if plain_quotes else ", or a quote that is not closed"
    elif "expected after" in fact:
        fact = f"line {last}: text follows a closing quote (inside a quoted cell a quote must be doubled)"
        fact += f"; the record begins on line {first}" if first != last else ""
    else:
        fact = f"the record that begins on line {first} has a quote that is not closed"
    if plain_quotes:
        return TableError(f"{source.path}: {fact}")
    return source.error(
        f"{source.path}: {fact}\n  if quotes are plain text in this file, use --no-quotes", "--no-quotes"
    )
