"""Records of Parquet and Arrow files, their columns converted to text."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from jdq.store.table.delimited import Record
from jdq.store.table.options import TableError
from jdq.store.table.source import Source

BATCH_ROWS = 1024


def parquet_records(source: Source) -> Iterator[Record]:
    """(row number, 0 for the header; cells) of a Parquet file; null is "".

    Raises TableError where the file is damaged or no Parquet, or has nested columns.
    """
    try:
        with pq.ParquetFile(source.raw(), page_checksum_verification=True) as file:
            yield 0, list(file.schema_arrow.names)
            yield from _records(source, file.iter_batches(batch_size=BATCH_ROWS))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise TableError(f"{source.path} is not a readable Parquet file: {error}") from None


def arrow_records(source: Source) -> Iterator[Record]:
    """The same of an Arrow stream or file, as in a Hugging Face dataset that was saved to disk."""
    try:
        with source.open() as stream:
            is_file = stream.peek(6).startswith(b"ARROW1")
            if is_file:
                file = pa.ipc.open_file(source.raw())
                schema, batches = file.schema, map(file.get_batch, range(file.num_record_batches))
            else:
                reader = pa.ipc.open_stream(source.raw())
                schema, batches = reader.schema, iter(reader)
            yield 0, list(schema.names)
            yield from _records(source, batches)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise TableError(f"{source.path} is not a readable Arrow file: {error}") from None


def _records(source: Source, batches: Iterator[pa.RecordBatch]) -> Iterator[Record]:
    row = 1
    for batch in batches:
        columns = [_as_text(source, name, batch.column(i)) for i, name in enumerate(batch.schema.names)]
        for cells in zip(*columns, strict=True):
            yield row, list(cells)
            row += 1


def _as_text(source: Source, name: str, column: pa.Array) -> list[str]:
    if pa.types.is_nested(column.type):
        fact = f"column {name!r} is of type {column.type}; the cells of a table must be plain values"
        raise TableError(f"{source.path}: {fact}")
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    texts: list[str] = column.cast(pa.large_string()).fill_null("").to_pylist()
    return texts
