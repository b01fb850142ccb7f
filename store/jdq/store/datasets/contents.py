"""Writing a dataset version's files into a folder, block by block, with the digest that names the version."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jdq.store.datasets.columnar import table_writer
from jdq.store.datasets.records import FileRecord
from jdq.store.digests import DIGEST_BYTES
from jdq.store.keys import KEY_BYTES, keys_of_bytes, n_distinct
from jdq.store.publish import write_all
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


class DurableFile(io.RawIOBase):
    """A new file that is hashed while it is written, and fsynced when it is closed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        self._hash = hashlib.blake2b(digest_size=DIGEST_BYTES)
        self._size = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._size

    def write(self, data: bytes | memoryview) -> int:  # type: ignore[override]
        view = memoryview(data).cast("B")
        self._hash.update(view)
        self._size += len(view)
        write_all(self._fd, view)
        return len(view)

    def close(self) -> None:
        if not self.closed:
            super().close()
            try:
                os.fsync(self._fd)
            finally:
                os.close(self._fd)

    def record(self) -> FileRecord:
        return FileRecord(size_bytes=self._size, blake2b=self._hash.hexdigest())


class ContentsWriter:
    """Takes blocks of rows and writes table.parquet, keys.npy and n_bytes.npy into `folder`.

    Memory grows by 20 bytes per row: a .npy file begins with its shape, which is known only at the end.
    """

    def __init__(self, folder: Path, columns: Sequence[str], text_column: str, label_column: str | None) -> None:
        self._folder = folder
        self._columns = tuple(columns)
        self._text = self._columns.index(text_column)
        self._digest = content_digest(columns, text_column, label_column)
        self._keys = bytearray()
        self._n_bytes = bytearray()
        self._file = DurableFile(folder / TABLE)
        # pyarrow writes each column of a row group by itself, which may be a few bytes.
        self._buffer = io.BufferedWriter(cast(io.RawIOBase, self._file), WRITE_BYTES)
        self._table = table_writer(self._buffer, columns)
        self.files: dict[str, FileRecord] = {}

    def __enter__(self) -> ContentsWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the table; after an error, an error of closing must not hide it."""
        if error is None:
            self._table.close()
            self._buffer.close()
            self.files[TABLE] = self._file.record()
            return
        try:
            self._table.close()
            self._buffer.close()
        except OSError:
            self._file.close()

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
        return self._digest.hexdigest(), n_distinct(keys)

    def _write_array(self, name: str, array: np.ndarray) -> None:
        with DurableFile(self._folder / name) as file:
            header = io.BytesIO()
            np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
            file.write(header.getvalue())
            file.write(np.ascontiguousarray(array).data if array.size else b"")
        self.files[name] = file.record()
