"""A file object for HDF5 whose writes never fail."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any


@contextmanager
def writing_hdf5(file: IO[bytes], **options: int) -> Iterator[tuple[Any, Callable[[], None]]]:
    """An h5py.File that is written to the new `file`, and a function that raises the first OSError of writing it.

    At the end it is raised in any case. Older tools read such files, and no flag in them says that they are open.
    """
    import h5py

    lasting = LastingFile(file)
    with h5py.File(lasting, "w", libver=("v108", "v110"), **options) as h5:
        yield h5, lasting.raise_failure
    lasting.raise_failure()


class LastingFile:
    """Forwards reads and writes, and keeps the first error for `raise_failure` instead of raising it.

    A failed write, such as on a full disk, leaves HDF5 in a state in which closing the file may end the process with
    SIGSEGV.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._at = 0
        self._end = 0
        self._failure: OSError | None = None

    def raise_failure(self) -> None:
        """Raise the first error, if there was one."""
        if self._failure is not None:
            raise self._failure

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._end}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def flush(self) -> None:
        """Nothing: the caller flushes the file itself, and sees the error."""

    def truncate(self, size: int | None = None) -> int:
        self._end = self._at if size is None else size
        self._try(self._file.truncate, self._end)
        return self._end

    def write(self, data: memoryview) -> int:
        self._try(self._file.write, data)
        self._at += len(data)
        if len(data):  # writing nothing beyond the end extends no file
            self._end = max(self._end, self._at)
        return len(data)

    def read(self, size: int) -> bytes:
        """What was written, or zeros after an error."""
        data = self._try(self._file.read, size) or b""
        self._at += size
        return data.ljust(size, b"\0")

    def readinto(self, buffer: memoryview) -> int:
        buffer[:] = self.read(len(buffer))
        return len(buffer)

    def _try(self, call: Callable[[Any], Any], value: Any) -> Any:
        """Call at the current position, unless there was an error."""
        try:
            if self._failure is None:
                self._file.seek(self._at)
                return call(value)
        except OSError as error:
            self._failure = error
        return None
