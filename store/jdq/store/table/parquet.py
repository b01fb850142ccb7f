"""Parquet and Arrow files, their columns converted to text, class labels of Hugging Face datasets to their names."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
import pyarrow.parquet as pq

from jdq.store.table.chunk import Chunk, Notes, as_scalar, is_blank
from jdq.store.table.options import TableError
from jdq.store.table.source import Source

BATCH_ROWS = 1024


def arrow_chunks(source: Source, kind: str, notes: Notes) -> Iterator[Chunk]:
    """The header, as line 0, and the rows of a file of this kind: parquet, or arrow (a stream or a file). Null is "".

    Numbers of classes that `datasets` wrote with their names become the names, which are noted.
    Raises TableError where the file is damaged or of another kind, has nested columns, or a class without a name.
    """
    try:
        schema, batches = (_parquet if kind == "parquet" else _arrow)(source)
        names = schema.names
        notes.class_names.update(_class_names(schema))
        # Only CSV files may have blank lines above the header.
        yield Chunk([(0, names if not is_blank(names) else [f"column_{n + 1}" for n in range(len(names))])])
        row = 1
        for batch in batches:
            columns = zip(names, batch.columns, strict=True)
            yield Chunk([], [_as_text(source, *column, notes.class_names) for column in columns], line=row)
            row += len(batch)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise TableError(f"{source.path} is not a readable {kind.title()} file: {error}") from None


_Opened = tuple[pa.Schema, Iterable[pa.RecordBatch]]


def _parquet(source: Source) -> _Opened:
    file = pq.ParquetFile(source.raw(), page_checksum_verification=True)
    return file.schema_arrow, file.iter_batches(batch_size=BATCH_ROWS)


def _arrow(source: Source) -> _Opened:
    if source.head(6) == b"ARROW1":
        file = pa.ipc.open_file(source.raw())
        return file.schema, map(file.get_batch, range(file.num_record_batches))
    reader = pa.ipc.open_stream(source.raw())
    return reader.schema, reader


def _class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """The names of classes that are stored as numbers, as `datasets` describes them in a file's metadata."""
    try:
        described = msgspec.json.decode((schema.metadata or {}).get(b"huggingface", b"{}"), type=_Described)
    except msgspec.MsgspecError:
        return {}
    numbers = {field.name for field in schema if pa.types.is_integer(field.type)}
    features = {name: feature for name, feature in described.info.features.items() if isinstance(feature, dict)}
    return {
        name: list(map(str, feature["names"]))
        for name, feature in features.items()
        if name in numbers and feature.get("_type") == "ClassLabel" and feature.get("names")
    }


class _Info(msgspec.Struct):
    features: dict[str, Any] = {}


class _Described(msgspec.Struct):
    info: _Info = msgspec.field(default_factory=_Info)


def _as_text(source: Source, name: str, column: pa.Array, class_names: dict[str, list[str]]) -> pa.Array:
    if pa.types.is_nested(column.type):
        fact = f"column {name!r} is of type {column.type}; the cells of a table must be plain values"
        raise TableError(f"{source.path}: {fact}")
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if classes := class_names.get(name):
        # -1 is a row without a label.
        numbers = column.cast(pa.int64()).fill_null(-1)
        known = pc.index_in(numbers, pa.array(range(-1, len(classes)), pa.int64()))
        if known.null_count:
            number = numbers.filter(known.is_null())[0]
            fact = f"column {name!r} has class {number}; the file names {len(classes)} classes, starting at 0"
            raise TableError(f"{source.path}: {fact}")
        column = pa.array(["", *classes], pa.string()).take(known)
    text = column.cast(pa.string()).fill_null(as_scalar(""))
    text.validate(full=True)  # that it is UTF-8
    return text
