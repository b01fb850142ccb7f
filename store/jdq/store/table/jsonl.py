"""Records of a JSON Lines file. The names of the first object are the header."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from jdq.store.table.delimited import CELL_CHARACTERS, Record
from jdq.store.table.encoding import undecodable
from jdq.store.table.options import TableError, TableOptions, columns, some

_Values = dict[str, msgspec.Raw]


def jsonl_records(file: Path, encoding: str, options: TableOptions) -> Iterator[Record]:
    """(line, cells) of the header and of each object.

    A string is its text, null or a missing name is "", any other value is its JSON as written (`1.0` stays `1.0`).
    Raises TableError for a line that is not an object, and for a name that the first object does not have.
    """
    decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
    names: list[str] = []
    try:
        with file.open(encoding=encoding) as stream:
            for number, line in enumerate(iter(lambda: stream.readline(CELL_CHARACTERS), ""), start=1):
                if line.isspace():
                    continue
                values = _object(decoder, line, file, number)
                if not names:
                    names = list(values)
                    yield number, names
                if unknown := values.keys() - set(names):
                    fact = f"line {number} has {some(sorted(unknown))}, which the first object does not have"
                    raise TableError(f"{file}: {fact}; it has: {columns(names)}")
                yield number, [_cell(values.get(name), file, number) for name in names]
    except UnicodeDecodeError:
        raise undecodable(file, encoding, options) from None


def _object(decoder: msgspec.json.Decoder[dict[str, msgspec.Raw]], line: str, file: Path, number: int) -> _Values:
    try:
        return decoder.decode(line)
    except msgspec.MsgspecError as error:
        raise TableError(f"{file}: line {number} is not one JSON object: {error}") from None


def _cell(value: msgspec.Raw | None, file: Path, number: int) -> str:
    if value is None:
        return ""
    written = bytes(value)
    if written == b"null":
        return ""
    if not written.startswith(b'"'):
        return written.decode()
    text = msgspec.json.decode(written, type=str)  # cannot fail: _object has checked the escapes
    if "\0" in text:
        raise TableError(f"{file} has a NUL character in line {number}")
    return text
