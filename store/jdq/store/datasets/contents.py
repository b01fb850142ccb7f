"""A dataset version's files: written block by block, with the digest that names it, and checked when it is opened."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jdq.store.datasets.columnar import table_writer
from jdq.store.datasets.records import FORMAT_VERSION, DatasetRecord, FileRecord, fault
from jdq.store.errors import StoreFormatError
from jdq.store.files.digests import UnreadableFile, file_digest, read_json
from jdq.store.files.publish import sync
from jdq.store.keys import KEY_BYTES, keys_of_bytes, repeats
from jdq.store.table.digest import RecordDigest

WRITE_BYTES = 1 << 20
TABLE, KEYS, N_BYTES, RECORD = "table.parquet", "keys.npy", "n_bytes.npy", "dataset.json"


def content_digest(columns: Sequence[str], text_column: str, label_column: str | None) -> RecordDigest:
    """The digest that names a table's version, whatever file, encoding or delimiter it came in, before its rows.

    First comes a record of "jdq-dataset-1", the text column, the label column ("" for none) and all columns; then one
    record per row.
    """
    digest = RecordDigest()
    digest.add(["jdq-dataset-1", text_column, label_column or "", *columns])
    return digest


class ContentsWriter:
    """Takes blocks of rows and writes table.parquet, keys.npy and n_bytes.npy into `folder`.

    Memory grows by 20 bytes per row: a .npy file begins with its shape, which is known only at the end.
    """

    def __init__(self, folder: Path, columns: Sequence[str], text_column: str, label_column: str | None) -> None:
        self._folder = folder
        self._text = tuple(columns).index(text_column)
        self._digest = content_digest(columns, text_column, label_column)
        self._keys = bytearray()
        self._n_bytes = bytearray()
        # pyarrow writes each column of a row group by itself, which may be a few bytes.
        self._file = (folder / TABLE).open("xb", buffering=WRITE_BYTES)
        self._table = table_writer(self._file, columns)
        self.files: dict[str, FileRecord] = {}

    def __enter__(self) -> ContentsWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the table; after an error, an error of closing must not hide it."""
        if error is None:
            self._table.close()
            self._file.close()
            self._record(TABLE)
            return
        with contextlib.suppress(OSError), self._file:
            self._table.close()

    def add(self, block: Sequence[pa.Array]) -> None:
        """Append rows: their cells by columns, as strings."""
        lengths = np.column_stack([pc.binary_length(column).to_numpy() for column in block]).astype("<u4")
        self._digest.add_columns(block, lengths)
        texts: list[bytes] = block[self._text].cast(pa.binary()).to_pylist()
        self._keys += keys_of_bytes(texts)
        self._n_bytes += lengths[:, self._text].tobytes()
        table = pa.Table.from_arrays(list(block), schema=self._table.schema)
        self._table.write_table(table, row_group_size=len(lengths))

    def finish(self) -> tuple[str, int]:
        """Write the arrays, after the `with` block; the table's digest and the number of distinct texts."""
        keys = np.frombuffer(self._keys, dtype=np.uint8).reshape(-1, KEY_BYTES)
        self._write_array(KEYS, keys)
        self._write_array(N_BYTES, np.frombuffer(self._n_bytes, dtype="<u4"))
        return self._digest.hexdigest(), int(np.count_nonzero(~repeats(keys)))

    def _write_array(self, name: str, array: np.ndarray) -> None:
        with (self._folder / name).open("xb") as file:
            np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
            file.write(array.data.cast("B") if array.size else b"")  # np.save tells no reason when it fails
        self._record(name)

    def _record(self, name: str) -> None:
        """Make the finished file durable, and note its size and digest."""
        path = self._folder / name
        sync(path)
        self.files[name] = FileRecord(size_bytes=path.stat().st_size, blake2b=file_digest(path))


def read_dataset_record(path: Path) -> DatasetRecord:
    """The record of the version in the folder `path`; its files have the recorded sizes.

    Raises DamagedDataset, RemovedDataset, and StoreFormatError for a version that a newer jdq wrote.
    """
    try:
        head = read_json(path / RECORD, _Head)
        if head.format != "jdq-dataset" or head.format_version > FORMAT_VERSION:
            raise StoreFormatError(
                f"{path / RECORD} is of format {head.format} {head.format_version}; this jdq reads jdq-dataset up to "
                f"{FORMAT_VERSION}\n  try: pip install --upgrade jdq"
            )
        record = read_json(path / RECORD, DatasetRecord)
    except (FileNotFoundError, UnreadableFile) as error:
        raise fault(path, f"{RECORD}: {error}") from None
    if record != record.with_digest():
        raise fault(path, f"{RECORD} has changed since it was written")
    if not record.digest.startswith(path.name) or record.text_column not in record.columns:
        raise fault(path, f"{RECORD} is of another version: {record.digest}")
    _check_sizes(path, record.files)
    return record


class _Head(msgspec.Struct):
    format: str
    format_version: int


def _check_sizes(path: Path, files: Mapping[str, FileRecord]) -> None:
    if set(files) != {TABLE, KEYS, N_BYTES}:
        raise fault(path, f"{RECORD} names the files {sorted(files)}")
    for name, written in files.items():
        try:
            size = (path / name).stat().st_size
        except OSError as error:
            raise fault(path, f"{name}: {error.strerror}") from None
        if size != written.size_bytes:
            raise fault(path, f"{name} has {size} bytes, {written.size_bytes} were written")
