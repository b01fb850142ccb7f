"""The digest of a sequence of records: no two different sequences are hashed as the same bytes."""

import hashlib
import struct
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jdq.store.table.chunk import as_scalar

DIGEST_BYTES = 16


class RecordDigest:
    """blake2b-128 of records: the length in bytes of each cell (uint32, little-endian), then the cells in UTF-8."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=DIGEST_BYTES)

    def add(self, cells: Sequence[str]) -> None:
        """Add one record."""
        encoded = [cell.encode() for cell in cells]
        self._hash.update(struct.pack(f"<{len(encoded)}I", *map(len, encoded)) + b"".join(encoded))

    def add_columns(self, columns: Sequence[pa.Array], lengths: npt.NDArray[np.uint32]) -> None:
        """Add records by columns of strings; `lengths` are those of their cells in bytes, (records, columns)."""
        places = np.arange(len(lengths) + 1, dtype=np.int32) * 4 * len(columns)
        prefixes = pa.StringArray.from_buffers(len(lengths), pa.py_buffer(places), pa.py_buffer(lengths))
        records = pc.binary_join_element_wise(prefixes, *columns, as_scalar(""))
        self._hash.update(memoryview(records.buffers()[2] or b""))

    def hexdigest(self) -> str:
        """32 hexadecimal digits."""
        return self._hash.hexdigest()
