"""Records of a JSON file: one object per line (JSON Lines), or an array of objects. The first names the columns."""

import json
from collections.abc import Iterator
from typing import TypeVar

import msgspec

from jdq.store.table.chunk import Notes, Record
from jdq.store.table.delimited import CELL_CHARACTERS
from jdq.store.table.options import TableError, columns, some
from jdq.store.table.source import Source

T = TypeVar("T")
_Values = dict[str, msgspec.Raw]
# An array must be in memory as a whole.
ARRAY_BYTES = 1 << 30


def jsonl_records(source: Source, encoding: str, notes: Notes) -> Iterator[Record]:
    """(line, cells) of the header and of each object; for an array, (number of the object, cells).

    A string is its text, null or a missing name is "", any other value is its JSON as written (`1.0` stays `1.0`). The
    last of repeated keys counts, and the lines that have any are noted.
    Raises UnicodeError for bytes that are invalid in the encoding, TableError for a line that is not an object, and for
    a name that the first object does not have.
    """
    names: list[str] = []
    for number, values in _objects(source, encoding, notes):
        if not names:
            names = list(values)
            yield number, names
        if unknown := values.keys() - set(names):
            fact = f"line {number} has {some(sorted(unknown))}, which the first object does not have"
            raise TableError(f"{source.path}: {fact}; it has: {columns(names)}")
        yield number, [_cell(values.get(name)) for name in names]


def _objects(source: Source, encoding: str, notes: Notes) -> Iterator[tuple[int, _Values]]:
    decoder = msgspec.json.Decoder(_Values)
    read, fault = _lines, "line {} is not one JSON object"
    if source.head(1 << 10).decode(encoding, errors="ignore").lstrip("\ufeff \t\r\n").startswith("["):
        read, fault = _items, "item {} of the array is not an object"
    for number, written in enumerate(read(source, encoding), start=1):
        if not written.isspace():
            values = _decoded(decoder, written, source, fault.format(number))
            # A key that occurs once as text cannot be repeated; only others are decoded again, which is slow.
            if any(written.count(f'"{name}"') != 1 for name in values) and _n_keys(written) > len(values):
                notes.repeats.append(number)
            yield number, values


def _lines(source: Source, encoding: str) -> Iterator[str]:
    with source.text(encoding) as stream:
        yield from iter(lambda: stream.readline(CELL_CHARACTERS), "")


def _items(source: Source, encoding: str) -> Iterator[str]:
    with source.open() as stream:
        data = stream.read(ARRAY_BYTES + 1)
    if len(data) > ARRAY_BYTES:
        fact = f"{source.path} is a JSON array of more than {ARRAY_BYTES:,} bytes; write one object per line"
        raise TableError(f"{fact}\n  try: jq -c '.[]' {source.path} > {source.path}l")
    items = _decoded(msgspec.json.Decoder(list[msgspec.Raw]), data.decode(encoding), source, "it is not a JSON array")
    yield from (bytes(item).decode() for item in items)


def _decoded(decoder: msgspec.json.Decoder[T], line: str, source: Source, fault: str) -> T:
    try:
        return decoder.decode(line)
    except msgspec.MsgspecError as error:
        raise TableError(f"{source.path}: {fault}: {error}") from None
    except RecursionError:
        raise TableError(f"{source.path}: {fault}: it is nested too deeply") from None


def _n_keys(written: str) -> int:
    pairs: list[object] = json.loads(written, object_pairs_hook=list, parse_int=str, parse_float=str)
    return len(pairs)


def _cell(value: msgspec.Raw | None) -> str:
    if value is None:
        return ""
    written = bytes(value)
    if written == b"null":
        return ""
    if not written.startswith(b'"'):
        return written.decode()
    return msgspec.json.decode(written, type=str)  # cannot fail: the escapes are checked
