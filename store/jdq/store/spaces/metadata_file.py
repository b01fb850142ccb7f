"""A file object that receives what HDF5 writes about a shard, while the shard's rows stay in their arrays."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping


class MetadataFile:
    """A sparse file object for h5py, with only the few hundred bytes of metadata that HDF5 writes.

    An image of the entire file in HDF5's own memory would copy every row twice.
    """

    def __init__(self) -> None:
        self._writes: list[tuple[int, bytes]] = []
        self._at = 0
        self._end = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._end}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def truncate(self, size: int | None = None) -> int:
        self._end = self._at if size is None else size
        return self._end

    def flush(self) -> None:
        """Nothing is buffered."""

    def write(self, data: bytes | memoryview) -> int:
        self._writes.append((self._at, bytes(data)))
        self._at += len(data)
        self._end = max(self._end, self._at)
        return len(data)

    def read(self, size: int) -> bytes:
        data = self._between(self._at, min(self._at + size, self._end))
        self._at += len(data)
        return bytes(data)

    def readinto(self, buffer: memoryview) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def pieces_around(self, rows: Mapping[int, memoryview]) -> Iterator[memoryview]:
        """All bytes of the file in order: the metadata, with `rows` inserted at their offsets."""
        at = 0
        for offset in sorted(rows):
            yield memoryview(self._between(at, offset))
            yield rows[offset]
            at = offset + len(rows[offset])
        yield memoryview(self._between(at, self._end))

    def _between(self, start: int, end: int) -> bytearray:
        image = bytearray(max(end - start, 0))
        for offset, data in self._writes:
            first, last = max(offset, start), min(offset + len(data), end)
            if first < last:
                image[first - start : last - start] = data[first - offset : last - offset]
        return image
