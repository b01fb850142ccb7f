"""A file object for HDF5 whose writes never fail."""

import io
from collections.abc import Callable
from typing import IO, Any


class LastingFile(io.FileIO):
    """A file object for HDF5 that keeps the first error for `raise_failure`, and does nothing from then on.

    A failed write, such as on a full disk, leaves HDF5 in a state in which closing the file may end the process with
    SIGSEGV.
    """

    _failure: OSError | None = None

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file.fileno(), "r+", closefd=False)

    def raise_failure(self) -> None:
        """Raise the first error, if there was one."""
        if self._failure is not None:
            raise self._failure

    def write(self, data: Any) -> int:
        end, left = self.tell() + len(data), memoryview(data)
        while left and self._failure is None:
            left = left[self._try(super().write, left) :]
        self.seek(end)
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        return self._try(super().truncate, size)

    def readinto(self, buffer: Any) -> int:
        """What was written, or zeros after an error."""
        done = self._try(super().readinto, buffer)
        buffer[done:] = bytes(len(buffer) - done)
        return len(buffer)

    def _try(self, call: Callable[[Any], int | None], value: Any) -> int:
        try:
            return (call(value) or 0) if self._failure is None else 0
        except OSError as error:
            self._failure = error
            return 0
