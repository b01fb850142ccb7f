"""Files mapped into memory without keeping a file handle each; many of them side by side, as one array."""

import ctypes
import errno
import functools
import math
import mmap
import os
import weakref
from typing import Any

import numpy as np
import numpy.typing as npt

from jdq.store.files.digests import read_blocks
from jdq.store.fork_lock import fork_lock

_FAILED = ctypes.c_void_p(-1).value
_MAP_FIXED, _PROT_NONE = 0x10, 0
PAGE = mmap.PAGESIZE
HUGE_PAGE, MOST_STEPS = 1 << 21, 7
# Address space, not memory: for this many bytes of files. Halved until the system grants it.
LARGEST_RANGE = 1 << 42
# A kernel allows about 65,000 maps per process, so smaller files are read instead.
SMALLEST_MAP = 1 << 14

Bytes = npt.NDArray[np.uint8]


def read_soon(array: npt.NDArray[np.generic]) -> None:
    """Ask the system to read the mapped pages of a contiguous `array` in the background. It may decline."""
    start = array.ctypes.data // PAGE * PAGE
    _libc().madvise(start, array.ctypes.data + array.nbytes - start, mmap.MADV_WILLNEED)


class MappedFiles:
    """Files mapped one after another into one range of addresses, so that rows of all of them are rows of one array.

    `rows` is that array, (n, dim): only rows of files that were added may be read. The range is unmapped with the last
    array on it. Python's own `mmap` and `np.memmap` keep a duplicate of each file's handle, of which a process has few.
    Unless `is_mapped`, files only get their positions there, and none of `rows` may be read.
    """

    def __init__(self, dim: int, dtype: str, *, is_mapped: bool = True) -> None:
        self.is_mapped = is_mapped
        kind = np.dtype(dtype).newbyteorder("<")
        self._row_bytes = dim * kind.itemsize
        self._base, size = _reserve()
        self._memory = _array_at(self._base, size)
        self.rows: npt.NDArray[np.floating] = (
            self._memory[: size // self._row_bytes * self._row_bytes].view(kind).reshape(-1, dim)
        )
        # Where it takes few steps to reach one: a system maps large files by huge pages only at their multiples.
        steps = self._row_bytes // math.gcd(HUGE_PAGE, self._row_bytes)
        self._step = HUGE_PAGE if steps <= MOST_STEPS else PAGE
        self._end = 0
        self._lock = fork_lock()

    def add(self, fd: int, size: int, offset: int) -> tuple[Bytes | None, int]:
        """Place the file so that the row at its byte `offset` is one of `rows`: its bytes, and that row's position.

        Unless `is_mapped`, None instead of the bytes. Raises OSError.
        """
        # A file can only be mapped at a page; one whose rows then cannot be at multiples of a row is read.
        mapped = size >= SMALLEST_MAP and offset % math.gcd(PAGE, self._row_bytes) == 0
        with self._lock:
            step = self._step if mapped and size >= HUGE_PAGE else PAGE if mapped else 1
            start = -(-self._end // step) * step
            while (start + offset) % self._row_bytes:
                start += step
            end = -(-(start + size) // PAGE) * PAGE
            if end > len(self._memory):
                raise OSError(errno.ENOMEM, f"the shards take more than {len(self._memory)} bytes of address space")
            if self.is_mapped and mapped:
                _mmap(self._base + start, size, mmap.PROT_READ, mmap.MAP_SHARED | _MAP_FIXED, fd)
            elif self.is_mapped:
                _read(fd, self._base + start, size)
            self._end = end
        return self._memory[start : start + size] if self.is_mapped else None, (start + offset) // self._row_bytes


def _read(fd: int, address: int, size: int) -> None:
    """Read a file into reserved memory. Neighbours of the same protection are one map to the kernel."""
    first = address // PAGE * PAGE
    if _libc().mprotect(first, address + size - first, mmap.PROT_READ | mmap.PROT_WRITE):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    ctypes.memmove(address, b"".join(read_blocks(fd, 0, size)), size)


def _reserve() -> tuple[int, int]:
    """Addresses without memory behind them: their beginning and their number."""
    size = LARGEST_RANGE
    while True:
        try:
            return _mmap(None, size, _PROT_NONE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1), size
        except OSError:
            if size < 1 << 30:
                raise
            size //= 2


def _mmap(address: int | None, size: int, protection: int, flags: int, fd: int) -> int:
    mapped: int = _libc().mmap(address, size, protection, flags, fd, 0)
    if mapped == _FAILED:
        raise OSError(ctypes.get_errno(), f"cannot map {size} bytes: {os.strerror(ctypes.get_errno())}")
    return mapped


@functools.cache
def _libc() -> Any:
    libc, address, size = ctypes.CDLL(None, use_errno=True), ctypes.c_void_p, ctypes.c_size_t
    libc.mmap.restype = address
    libc.mmap.argtypes = (address, size, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
    libc.mprotect.argtypes = libc.madvise.argtypes = (address, size, ctypes.c_int)
    libc.munmap.argtypes = (address, size)
    return libc


def _array_at(address: int, size: int) -> Bytes:
    """The mapped memory as an array; it is unmapped with the last array on it."""
    memory = (ctypes.c_uint8 * size).from_address(address)
    # Not at exit: an array that lives longer would then be read after its memory was unmapped.
    weakref.finalize(memory, _libc().munmap, address, size).atexit = False
    array: Bytes = np.frombuffer(memoryview(memory), dtype=np.uint8)
    array.flags.writeable = False
    return array
