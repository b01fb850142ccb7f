"""Files mapped into memory without keeping a file handle each."""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref

import numpy as np
import numpy.typing as npt

_FAILED = ctypes.c_void_p(-1).value


def read_soon(array: npt.NDArray[np.generic]) -> None:
    """Ask the system to read the mapped pages of a contiguous `array` in the background. It may decline."""
    libc = ctypes.CDLL(None)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    start = array.ctypes.data // mmap.PAGESIZE * mmap.PAGESIZE
    libc.madvise(start, array.ctypes.data + array.nbytes - start, mmap.MADV_WILLNEED)


def map_file(fd: int, size: int) -> npt.NDArray[np.uint8]:
    """The first `size` bytes of `fd`, read-only, shared with the page cache, also after `fd` is closed.

    Python's own `mmap` and `np.memmap` keep a duplicate of the handle, so a process with few handles could map only few
    shards. The memory is unmapped with the last array on it. Raises OSError.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
    libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    address = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
    if address == _FAILED:
        raise OSError(ctypes.get_errno(), f"cannot map {size} bytes: {os.strerror(ctypes.get_errno())}")
    memory = (ctypes.c_uint8 * size).from_address(address)
    # Not at exit: an array that lives longer would then be read after its memory was unmapped.
    weakref.finalize(memory, libc.munmap, address, size).atexit = False
    array: npt.NDArray[np.uint8] = np.frombuffer(memoryview(memory), dtype=np.uint8)
    array.flags.writeable = False
    return array
