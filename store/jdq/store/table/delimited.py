"""Records of a delimited text file (CSV, TSV, ...), with cells unchanged, and their line numbers."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TextIO

from jdq.store.table.encoding import undecodable
from jdq.store.table.options import TableError, TableOptions

Record = tuple[int, list[str]]

DELIMITERS = ",;\t|"
SPELLED = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}
HEAD_CHARACTERS = 1 << 16
# An unclosed quote makes the rest of the file one cell, which without a limit would all be in memory.
CELL_CHARACTERS = 1 << 24
_QUOTING: dict[str, Literal[0, 3]] = {"standard": csv.QUOTE_MINIMAL, "none": csv.QUOTE_NONE}


def delimiter_of(file: Path, encoding: str, options: TableOptions) -> str:
    """The delimiter that the user names, else the most frequent one in the header outside quotes, else a comma."""
    if options.delimiter is not None:
        delimiter = SPELLED.get(options.delimiter, options.delimiter)
        if len(delimiter) != 1 or delimiter in '"\r\n':
            message = f"{options.delimiter!r} cannot be a delimiter: it must be one character, or 'tab'"
            raise TableError(message + options.try_with(file, "--delimiter", "tab"))
        return delimiter
    try:
        with file.open(encoding=encoding, newline="") as stream:
            head = stream.read(HEAD_CHARACTERS)
    except UnicodeDecodeError:
        raise undecodable(file, encoding, options) from None
    return _most_frequent(head, quotes=options.quoting == "standard")


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


def delimited_records(file: Path, encoding: str, delimiter: str, options: TableOptions) -> Iterator[Record]:
    """(line on which it begins, cells) of each record, the header first; blank lines are skipped.

    Raises TableError for bytes that are invalid in the encoding, NUL, an unclosed or misplaced quote, and a cell of
    more than 16 Mi characters.
    """
    csv.field_size_limit(CELL_CHARACTERS)  # process-wide; Python's default of 128 KiB is less than some real texts
    try:
        with file.open(encoding=encoding, newline="") as stream:
            lines = _lines(stream, file, options)
            reader = csv.reader(lines, delimiter=delimiter, quoting=_QUOTING[options.quoting], strict=True)
            yield from _records(reader, file, options)
    except UnicodeDecodeError:
        raise undecodable(file, encoding, options) from None


def _records(reader: Iterator[list[str]], file: Path, options: TableOptions) -> Iterator[Record]:
    line = 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise _malformed(file, options, line, reader.line_num, str(error)) from None  # type: ignore[attr-defined]
        if cells:
            yield line, cells
        line = reader.line_num + 1  # type: ignore[attr-defined]


def _lines(stream: TextIO, file: Path, options: TableOptions) -> Iterator[str]:
    for number, line in enumerate(iter(lambda: stream.readline(CELL_CHARACTERS), ""), start=1):
        if "\0" in line:
            message = f"{file} has a NUL character in line {number}: it is binary, or UTF-16 without a byte-order mark"
            raise TableError(message + options.try_with(file, "--encoding", "utf-16-le"))
        if len(line) == CELL_CHARACTERS:
            raise TableError(f"{file}: line {number} has more than {CELL_CHARACTERS:,} characters; is it a table?")
        yield line


def _malformed(file: Path, options: TableOptions, first: int, last: int, fact: str) -> TableError:
    """`first` is the line on which the record begins, `last` the one at which the reader stopped."""
    if "unexpected end" in fact or "field larger" in fact:
        fact = f"the record that begins on line {first} has a quote that is not closed"
    elif "expected after" in fact:
        fact = f"line {last}: text follows a closing quote (inside a quoted cell a quote must be doubled)"
        fact += f"; the record begins on line {first}" if first != last else ""
    else:
        fact = f"line {last}: {fact}"
    plain = f"{file}: {fact}\n  if quotes are plain text in this file, use --no-quotes"
    return TableError(plain + options.try_with(file, "--no-quotes"))
