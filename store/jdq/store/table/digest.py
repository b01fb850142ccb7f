"""The digest of a sequence of records, in which no two sequences look alike."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

DIGEST_BYTES = 16


class RecordDigest:
    """blake2b-128 of records: the length in bytes of each cell (uint32, little-endian), then the cells in UTF-8."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=DIGEST_BYTES)

    def add(self, cells: Sequence[str]) -> None:
        """Add one record."""
        encoded = [cell.encode() for cell in cells]
        self._hash.update(struct.pack(f"<{len(encoded)}I", *map(len, encoded)) + b"".join(encoded))

    def add_columns(self, columns: Sequence[Sequence[bytes]], lengths: npt.NDArray[np.uint32]) -> None:
        """Add records by columns: the cells in UTF-8, and their lengths, (records, columns)."""
        prefixes = np.ascontiguousarray(lengths, "<u4").view(f"V{4 * len(columns)}").ravel().tolist()
        self._hash.update(b"".join(chain.from_iterable(zip(prefixes, *columns, strict=True))))

    def hexdigest(self) -> str:
        """32 hexadecimal digits."""
        return self._hash.hexdigest()
