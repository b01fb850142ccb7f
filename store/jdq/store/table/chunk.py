"""Some consecutive records of a file: by rows, as most readers give them, or by columns, as Arrow does."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

# (line on which it begins, cells)
Record = tuple[int, list[str]]

# A chunk becomes one row group: small enough to read one row in milliseconds, large enough to compress well.
CHUNK_BYTES = 1 << 19
# With fewer per column, a row group has more bytes about its columns than of them.
COLUMN_BYTES, MOST_CHUNK_BYTES = 1 << 11, 12 << 20


@dataclass(slots=True)
class Notes:
    """What a reader notes in one pass over a file, beside its records.

    `repeats`: the lines of JSON objects that name a key twice. `row_ends`: what ends rows of a delimited file; "" for
    the end of the file. `class_names`: by column, of classes that are numbers in the file.
    """

    repeats: list[int] = field(default_factory=list)
    row_ends: set[str] = field(default_factory=set)
    class_names: dict[str, list[str]] = field(default_factory=dict)


class Chunk:
    """Given as records, or as columns of strings without nulls, whose records then begin on consecutive lines."""

    def __init__(self, records: list[Record], columns: Sequence[pa.Array] = (), *, line: int = 0) -> None:
        self._records = records
        self._columns = columns
        self._line = line

    def records(self) -> list[Record]:
        """The records by rows."""
        if not self._records and self._columns:
            cells = zip(*(column.to_pylist() for column in self._columns), strict=True)
            self._records = list(enumerate(map(list, cells), self._line))
        return self._records

    def columns(self, width: int) -> Sequence[pa.Array]:
        """The cells by columns; none where not every record has `width` cells."""
        cells = [record[1] for record in self._records]
        if not self._columns and set(map(len, cells)) == {width}:
            self._columns = as_columns(cells)
        return self._columns if len(self._columns) == width else ()


def as_columns(rows: Sequence[Sequence[str]]) -> list[pa.Array]:
    """Rows of like length as columns of strings."""
    return [_as_column([cell.encode() for cell in column]) for column in zip(*rows, strict=True)]


def _as_column(cells: Sequence[bytes]) -> pa.Array:
    # pa.array, pa.scalar and to_numpy import pandas where it is installed, which takes half a second and 45 MB.
    ends = np.cumsum([0, *map(len, cells)], dtype=np.int32)
    return pa.StringArray.from_buffers(len(cells), pa.py_buffer(ends), pa.py_buffer(b"".join(cells)))


def as_scalar(cell: str) -> pa.Scalar:
    """A cell, as compute functions take it."""
    return as_columns([[cell]])[0][0]


def as_numbers(numbers: pa.Array) -> npt.NDArray[np.int32]:
    """Numbers of 32 bits, none of them null."""
    return np.frombuffer(numbers.buffers()[1], np.int32)[numbers.offset :][: len(numbers)]


def chunk_bytes(width: int) -> int:
    """How large a chunk of a table with so many columns should be."""
    return min(max(CHUNK_BYTES, COLUMN_BYTES * width), MOST_CHUNK_BYTES)


def chunked(records: Iterator[Record]) -> Iterator[Chunk]:
    """The records in chunks of about `chunk_bytes` characters."""
    chunk: list[Record] = []
    characters = 0
    for record in records:
        chunk.append(record)
        characters += sum(map(len, record[1]))
        if characters >= chunk_bytes(len(record[1])):
            yield Chunk(chunk)
            chunk, characters = [], 0
    if chunk:
        yield Chunk(chunk)


def take_header(records: Iterator[Record]) -> Record | None:
    """The first record that is not blank, None where all are; `records` continues behind it."""
    return next((record for record in records if not is_blank(record[1])), None)


def is_blank(cells: Sequence[str]) -> bool:
    """Whether there is nothing to see in any cell."""
    return not any(map(str.strip, cells))
