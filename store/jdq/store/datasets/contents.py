"""A dataset version's files: written block by block, with the digest that names it, and checked when it is opened."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

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
from jdq.store.table.chunk import as_numbers
from jdq.store.table.digest import RecordDigest

WRITE_BYTES = 1 << 20
TABLE, KEYS, N_BYTES, RECORD = "table.parquet", "keys.npy", "n_bytes.npy", "dataset.json"


class Contents(NamedTuple):
    """What was written: the table's digest, its rows and distinct texts, and the size and digest of each file."""

    digest: str
    n_rows: int
    n_texts: int
    files: dict[str, FileRecord]


def write_contents(
    folder: Path,
    columns: Sequence[str],
    text_column: str,
    label_column: str | None,
    blocks: Iterable[Sequence[pa.Array]],
) -> Contents:
    """Write table.parquet, keys.npy and n_bytes.npy durably. A block has its rows' cells by columns, as strings.

    Memory grows by 20 bytes per row: a .npy file begins with its shape, which is known only at the end.
    """
    # Whatever file, encoding or delimiter the table came in, its digest is over this record, and one per row.
    digest = RecordDigest()
    digest.add(["jdq-dataset-1", text_column, label_column or "", *columns])
    text, all_keys, n_bytes = tuple(columns).index(text_column), bytearray(), bytearray()
    # pyarrow writes each column of a row group by itself, which may be a few bytes.
    file = (folder / TABLE).open("xb", buffering=WRITE_BYTES)
    table = table_writer(file, columns)
    try:
        for block in blocks:
            lengths = np.column_stack([as_numbers(pc.binary_length(column)) for column in block]).astype("<u4")
            digest.add_columns(block, lengths)
            all_keys += keys_of_bytes(block[text].cast(pa.binary()).to_pylist())
            n_bytes += lengths[:, text].tobytes()
            table.write_table(pa.Table.from_arrays(list(block), schema=table.schema), row_group_size=len(lengths))
    except BaseException:
        with contextlib.suppress(OSError), file:  # an error of closing must not hide the first
            table.close()
        raise
    table.close()
    file.close()
    keys = np.frombuffer(all_keys, dtype=np.uint8).reshape(-1, KEY_BYTES)
    _write_array(folder / KEYS, keys)
    _write_array(folder / N_BYTES, np.frombuffer(n_bytes, dtype="<u4"))
    files = {name: _durable(folder / name) for name in (TABLE, KEYS, N_BYTES)}
    return Contents(digest.hexdigest(), len(keys), int(np.count_nonzero(~repeats(keys))), files)


def _write_array(path: Path, array: np.ndarray) -> None:
    with path.open("xb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(array.data.cast("B") if array.size else b"")  # np.save tells no reason when it fails


def _durable(path: Path) -> FileRecord:
    """Make the finished file durable; its size and digest."""
    sync(path)
    return FileRecord(size_bytes=path.stat().st_size, blake2b=file_digest(path))


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
