"""Records of a JSON file: one object per line (JSON Lines), or an array of objects. The first names the columns."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TypeVar

import msgspec

from jdq.store.table.chunk import Record
from jdq.store.table.delimited import CELL_CHARACTERS
from jdq.store.table.encoding import undecodable
from jdq.store.table.options import TableError, TableOptions, columns, some
from jdq.store.table.source import Source

T = TypeVar("T")
_Values = dict[str, msgspec.Raw]
# An array must be in memory as a whole.
ARRAY_BYTES = 1 << 30


def jsonl_records(source: Source, encoding: str, options: TableOptions, repeats: list[int]) -> Iterator[Record]:
    """(line, cells) of the header and of each object; for an array, (number of the object, cells).

    A string is its text, null or a missing name is "", any other value is its JSON as written (`1.0` stays `1.0`). The
    last of repeated keys counts, and the lines that have any are added to `repeats`.
    Raises TableError for a line that is not an object, and for a name that the first object does not have.
    """
    names: list[str] = []
    for number, values in _objects(source, encoding, options, repeats):
        if not names:
            names = list(values)
            yield number, names
        if unknown := values.keys() - set(names):
            fact = f"line {number} has {some(sorted(unknown))}, which the first object does not have"
            raise TableError(f"{source.path}: {fact}; it has: {columns(names)}")
        yield number, [_cell(values.get(name)) for name in names]


def _objects(source: Source, encoding: str, options: TableOptions, repeats: list[int]) -> Iterator[tuple[int, _Values]]:
    if source.head(1 << 10).decode(encoding, errors="ignore").lstrip("\ufeff \t\r\n").startswith("["):
        yield from _array(source, encoding, options, repeats)
        return
    decoder = msgspec.json.Decoder(_Values)
    with source.text(encoding) as stream:
        try:
            for number, line in enumerate(iter(lambda: stream.readline(CELL_CHARACTERS), ""), start=1):
                if not line.isspace():
                    values = _decoded(decoder, line, source, f"line {number} is not one JSON object")
                    _note_repeats(values, line, number, repeats)
                    yield number, values
        except UnicodeError:
            raise undecodable(source, encoding, options) from None


def _array(source: Source, encoding: str, options: TableOptions, repeats: list[int]) -> Iterator[tuple[int, _Values]]:
    with source.open() as stream:
        data = stream.read(ARRAY_BYTES + 1)
    if len(data) > ARRAY_BYTES:
        fact = f"{source.path} is a JSON array of more than {ARRAY_BYTES:,} bytes; write one object per line"
        raise TableError(f"{fact}\n  try: jq -c '.[]' {source.path} > {source.path}l")
    try:
        text = data.decode(encoding)
    except UnicodeError:
        raise undecodable(source, encoding, options) from None
    items = _decoded(msgspec.json.Decoder(list[msgspec.Raw]), text, source, "it is not a JSON array")
    decoder = msgspec.json.Decoder(_Values)
    for number, item in enumerate(items, start=1):
        line = bytes(item).decode()
        values = _decoded(decoder, line, source, f"item {number} of the array is not an object")
        _note_repeats(values, line, number, repeats)
        yield number, values


def _decoded(decoder: msgspec.json.Decoder[T], line: str, source: Source, fault: str) -> T:
    try:
        return decoder.decode(line)
    except msgspec.MsgspecError as error:
        raise TableError(f"{source.path}: {fault}: {error}") from None
    except RecursionError:
        raise TableError(f"{source.path}: {fault}: it is nested too deeply") from None


def _note_repeats(values: _Values, line: str, number: int, repeats: list[int]) -> None:
    # A key that occurs once as text cannot be repeated; only others are decoded again, which is slow.
    if any(line.count(f'"{name}"') != 1 for name in values):
        pairs: list[tuple[str, object]] = json.loads(line, object_pairs_hook=list, parse_int=str, parse_float=str)
        if len(pairs) > len(values):
            repeats.append(number)


def _cell(value: msgspec.Raw | None) -> str:
    if value is None:
        return ""
    written = bytes(value)
    if written == b"null":
        return ""
    if not written.startswith(b'"'):
        return written.decode()
    return msgspec.json.decode(written, type=str)  # cannot fail: the escapes are checked
