"""Parquet and Arrow files, their columns converted to text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from jdq.store.table.chunk import Chunk, is_blank
from jdq.store.table.options import TableError
from jdq.store.table.source import Source

BATCH_ROWS = 1024


def parquet_chunks(source: Source) -> Iterator[Chunk]:
    """The header, as line 0, and the rows of a Parquet file; null is "".

    Raises TableError where the file is damaged or no Parquet, or has nested columns.
    """
    try:
        with pq.ParquetFile(source.raw(), page_checksum_verification=True) as file:
            yield from _chunks(source, file.schema_arrow.names, file.iter_batches(batch_size=BATCH_ROWS))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise TableError(f"{source.path} is not a readable Parquet file: {error}") from None


def arrow_chunks(source: Source) -> Iterator[Chunk]:
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
            yield from _chunks(source, schema.names, batches)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise TableError(f"{source.path} is not a readable Arrow file: {error}") from None


def _chunks(source: Source, names: Sequence[str], batches: Iterable[pa.RecordBatch]) -> Iterator[Chunk]:
    # Only CSV files may have blank lines above the header.
    yield Chunk([(0, list(names) if not is_blank(names) else [f"column_{n + 1}" for n in range(len(names))])])
    row = 1
    for batch in batches:
        yield Chunk([], [_as_text(source, name, batch.column(i)) for i, name in enumerate(names)], line=row)
        row += len(batch)


def _as_text(source: Source, name: str, column: pa.Array) -> pa.Array:
    if pa.types.is_nested(column.type):
        fact = f"column {name!r} is of type {column.type}; the cells of a table must be plain values"
        raise TableError(f"{source.path}: {fact}")
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    text = column.cast(pa.string()).fill_null("")
    text.validate(full=True)  # that it is UTF-8
    return text
