"""Records of a delimited text file (CSV, TSV, ...), with cells unchanged, and their line numbers."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Literal

from jdq.store.table.encoding import undecodable
from jdq.store.table.options import TableError, TableOptions
from jdq.store.table.source import Source

Record = tuple[int, list[str]]

DELIMITERS = ",;\t|"
SPELLED = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
HEAD_CHARACTERS = 1 << 16
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


def delimited_records(source: Source, encoding: str, delimiter: str, options: TableOptions) -> Iterator[Record]:
    """(line on which it begins, cells) of each record, the header first; blank lines are skipped.

    Raises TableError for bytes that are invalid in the encoding, an unclosed or misplaced quote, and a cell of more
    than 16 Mi characters.
    """
    csv.field_size_limit(CELL_CHARACTERS)  # process-wide; Python's default of 128 KiB is less than some real texts
    before = options.skip_lines
    with source.text(encoding) as stream:
        reader = csv.reader(stream, delimiter=delimiter, quoting=_QUOTING[options.quoting], strict=True)
        line = before + 1
        try:
            _skip(stream, before)
            for cells in reader:
                if cells:
                    yield line, cells
                line = before + reader.line_num + 1
        except UnicodeError:
            raise undecodable(source, encoding, options) from None
        except csv.Error as error:
            raise _malformed(source, options, line, before + reader.line_num, str(error)) from None


def _skip(stream: io.TextIOBase, lines: int) -> None:
    for _ in range(lines):
        stream.readline()


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
