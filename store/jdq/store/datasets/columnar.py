"""`table.parquet`: all columns as text, in row groups that can be read one by one."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from jdq.store.files.digests import digest_of
from jdq.store.fork_lock import fork_lock
from jdq.store.keys import places_by_owner

TAIL_BYTES = 8  # the length of the metadata, and "PAR1"

# zstd takes 30 microseconds per page, whatever its size.
ZSTD_COLUMNS = 1000

Rows = npt.NDArray[np.int64]


def table_writer(stream: IO[bytes], columns: Sequence[str]) -> Any:
    """A pyarrow ParquetWriter; each block that is written is one row group.

    No statistics, which would repeat entire texts in the footer; no dictionaries, which cost memory and do not compress
    texts. Pages have checksums, so that reading a damaged file raises.
    """
    is_wide = len(columns) > ZSTD_COLUMNS
    schema = pa.schema([pa.field(name, pa.string(), nullable=False) for name in columns])
    return pq.ParquetWriter(
        stream,
        schema,
        compression="snappy" if is_wide else "zstd",
        compression_level=None if is_wide else 1,
        use_dictionary=False,
        write_statistics=False,
        write_page_checksum=True,
        store_schema=False,
    )


def footer_digest(path: Path) -> str:
    """The digest of the footer of a Parquet file: its metadata, their length and the last four bytes.

    Raises OSError, and ValueError where the file is shorter than its footer says.
    """
    with path.open("rb") as stream:
        end = stream.seek(0, os.SEEK_END)
        stream.seek(max(end - TAIL_BYTES, 0))
        length = int.from_bytes(stream.read(4), "little") + TAIL_BYTES
        if length > end:
            raise ValueError(f"a footer of {length} bytes in a file of {end}")
        stream.seek(end - length)
        return digest_of(stream.read())


class TableFile:
    """Reads row groups of one `table.parquet`; safe to use from several threads.

    The last row group stays in memory, so that consecutive ranges decode nothing twice.
    """

    def __init__(self, path: Path) -> None:
        self._file = pq.ParquetFile(path, page_checksum_verification=True)
        metadata = self._file.metadata
        sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        # Of each row group, and where the last one ends.
        self._first_rows = np.cumsum([0, *sizes], dtype=np.int64)
        self.n_rows: int = metadata.num_rows
        self.columns: tuple[str, ...] = tuple(metadata.schema.to_arrow_schema().names)
        self._lock = fork_lock()
        self._last: tuple[str, int, np.ndarray] | None = None

    def cells(self, column: str, rows: Rows) -> list[str]:
        """The cells of these rows, in the given order; only their row groups are read."""
        cells = np.empty(len(rows), dtype=object)
        for group, places in places_by_owner(np.searchsorted(self._first_rows, rows, side="right") - 1):
            cells[places] = self._group(column, group)[rows[places] - self._first_rows[group]]
        texts: list[str] = cells.tolist()
        return texts

    def blocks(self, columns: Sequence[str]) -> Iterator[Any]:
        """These columns of each row group in turn, as pyarrow Tables."""
        for group in range(len(self._first_rows) - 1):
            yield self._read_group(group, columns)

    def _group(self, column: str, group: int) -> np.ndarray:
        last = self._last
        if last is None or last[:2] != (column, group):
            # Not to_numpy, which imports pandas where it is installed: half a second, and 45 MB.
            cells = np.array(self._read_group(group, [column]).column(0).to_pylist(), dtype=object)
            self._last = last = (column, group, cells)
        return last[2]

    def _read_group(self, group: int, columns: Sequence[str]) -> Any:
        with self._lock:
            table = self._file.read_row_group(group, columns=list(columns), use_threads=False)
        # The checksum of a page does not cover the header that counts its cells.
        rows = self._first_rows[group + 1] - self._first_rows[group]
        if table.num_rows != rows:
            raise OSError(f"{table.num_rows} of {rows} rows were read")
        return table
