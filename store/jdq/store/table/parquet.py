"""Records of a Parquet file, its columns converted to text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from jdq.store.table.delimited import Record
from jdq.store.table.options import TableError

BATCH_ROWS = 1024


def parquet_records(file: Path) -> Iterator[Record]:
    """(row number, 0 for the header; cells); null is "".

    Raises TableError where the file is not Parquet, has nested columns, or NUL in a text.
    """
    try:
        with pq.ParquetFile(file) as source:
            yield 0, list(source.schema_arrow.names)
            row = 1
            for batch in source.iter_batches(batch_size=BATCH_ROWS):
                columns = [_as_text(file, name, batch.column(i)) for i, name in enumerate(batch.schema.names)]
                for cells in zip(*columns, strict=True):
                    if any("\0" in cell for cell in cells):
                        raise TableError(f"{file} has a NUL character in row {row}")
                    yield row, list(cells)
                    row += 1
    except pa.ArrowInvalid as error:
        raise TableError(f"{file} is not a readable Parquet file: {error}") from None


def _as_text(file: Path, name: str, column: pa.Array) -> list[str]:
    if pa.types.is_nested(column.type):
        raise TableError(f"{file}: column {name!r} is of type {column.type}; the cells of a table must be plain values")
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    texts: list[str] = column.cast(pa.large_string()).fill_null("").to_pylist()
    return texts
