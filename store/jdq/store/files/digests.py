"""Digests that files carry inside, and one way to read such files: what has changed since it was written is an error.

JSON, and a head's header, has a last field `self_digest`: `blake2b-128:` and the digest of the file's bytes with zeros
for the digest's 32 digits. An array's file (.npy) ends in the same text, over all bytes before it, which numpy ignores.
"""

import contextlib
import ctypes
import functools
import hashlib
import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any, TypeVar

import msgspec
import numpy as np
import xxhash

from jdq.store.errors import StoreError

DIGEST_BYTES = 16
READ_BYTES = 1 << 20
MANIFEST = "digests.json"
ALGORITHM = b"blake2b-128:"
# The place of the digest before it is known.
UNSET = (ALGORITHM + b"0" * 2 * DIGEST_BYTES).decode()
TAG = re.compile(rb'"self_digest": ?"blake2b-128:([0-9a-f]{32})"')
# A single changed byte leaves one of these.
TRACE = re.compile(rb'"self_digest": ?"bl|ake2b-128:')
TRAILER_BYTES = len(UNSET) + 1
# What `statfs` calls NFS, SMB (two versions), FUSE, 9P, Ceph, Lustre, GPFS and BeeGFS.
SHARED = {0x6969, 0xFF534D42, 0xFE534D42, 0x65735546, 0x01021997, 0x00C36400, 0x0BD00BD0, 0x47504653, 0x19830326}

Buffer = bytes | memoryview
T = TypeVar("T")


@dataclass(eq=False)
class UnreadableFile(StoreError):
    """A file of the store cannot be read, or has changed since it was written."""

    path: Path
    fact: str

    def __str__(self) -> str:
        return f"{self.path}: {self.fact}"


def digest_of(*data: Buffer) -> str:
    """blake2b-128 of the bytes as 32 hexadecimal digits."""
    return digest_of_blocks(data)


def digest_of_blocks(blocks: Iterable[Buffer], *, fast: bool = False) -> str:
    """blake2b-128 of the bytes, or xxh3-128: as fast as memory is read, but only against accidents, not forgery."""
    digest = xxhash.xxh3_128() if fast else hashlib.blake2b(digest_size=DIGEST_BYTES)
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()


def read_blocks(fd: int, offset: int, size: int) -> Iterator[bytes]:
    """A part of a file in blocks. Raises OSError, also where the file ends before.

    A bad block of the disk is an error here, where it ends a process that has the file mapped.
    """
    end = offset + size
    while offset < end:
        block = os.pread(fd, min(READ_BYTES, end - offset), offset)
        if not block:
            raise OSError(f"the file ends at {offset}, not at {end}")
        yield block
        offset += len(block)


def read_into(fd: int, offset: int, array: np.ndarray) -> None:
    """Fill a contiguous array with the bytes of a file from `offset` on. Raises OSError as `read_blocks` does."""
    left = array.data.cast("B")
    while left:
        done = os.preadv(fd, [left], offset)
        if not done:
            raise OSError(f"the file ends at {offset}, not at {offset + len(left)}")
        left, offset = left[done:], offset + done


def is_shared(path: Path) -> bool:
    """Whether `path` is on a file system that other machines may write to.

    A page that they truncate after it was mapped ends the process, so files there are read when they are used.
    """
    status = (ctypes.c_long * 64)()
    return not ctypes.CDLL(None).statfs(os.fsencode(path), status) and status[0] & 0xFFFFFFFF in SHARED


def file_digest(path: Path, size: int | None = None) -> str:
    """blake2b-128 of the file's first `size` bytes, by default of all. Raises OSError."""
    with path.open("rb", buffering=0) as file:
        left = os.fstat(file.fileno()).st_size if size is None else size
        return digest_of_blocks(read_blocks(file.fileno(), 0, left))


def set_digest(data: bytes) -> bytes:
    """`data`, in which `self_digest` is UNSET, with its digest there."""
    tag = _tag(data)
    return data[: tag.start(1)] + digest_of(data).encode() + data[tag.end(1) :]


def check_digest(data: bytes) -> None:
    """Raise ValueError where the digest in `data` is another. Files of older versions have none."""
    if TRACE.search(data) is None:
        return
    tag = _tag(data)
    if digest_of(data[: tag.start(1)], b"0" * len(tag[1]), data[tag.end(1) :]) != tag[1].decode():
        raise ValueError("it has changed since it was written")


def _tag(data: bytes) -> re.Match[bytes]:
    tag = TAG.search(data)
    if tag is None:
        raise ValueError("it has changed since it was written: its self_digest cannot be read")
    return tag


def indented(value: object) -> bytes:
    """JSON that people can read, with a final newline."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def to_json(value: Mapping[str, Any] | msgspec.Struct) -> bytes:
    """A JSON file of this object, with its digest as the last field."""
    return set_digest(indented(msgspec.to_builtins(value, str_keys=True) | {"self_digest": UNSET}))


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """What may fail to read the file raises FileNotFoundError or UnreadableFile."""
    try:
        yield
    except FileNotFoundError:
        raise
    # Not only ValueError: numpy reads the header of an array with Python's own tokenizer.
    except (OSError, ValueError, EOFError, SyntaxError, TokenError, msgspec.MsgspecError) as error:
        raise UnreadableFile(path, fact_of(error)) from error


def read_json(path: Path, kind: type[T]) -> T:
    """The object in a JSON file. Raises FileNotFoundError, and UnreadableFile where it is not as written."""
    with _reading(path):
        data = path.read_bytes()
        check_digest(data)
        value = msgspec.json.decode(data, type=kind)
    if isinstance(value, dict):
        value.pop("self_digest", None)
    return value


def array_pieces(array: np.ndarray) -> list[bytes | memoryview]:
    """A .npy file of the array, with its digest at the end. ValueError for arrays of objects."""
    image = io.BytesIO()
    np.save(image, np.ascontiguousarray(array), allow_pickle=False)
    return [image.getbuffer(), ALGORITHM + digest_of(image.getbuffer()).encode() + b"\n"]


def read_array(path: Path) -> np.ndarray:
    """The array in a .npy file, mapped (or read, if shared), its digest checked.

    Raises FileNotFoundError, UnreadableFile.
    """
    with _reading(path):
        end = _checked_end(path)
        array: np.ndarray = np.load(path, mmap_mode=None if is_shared(path) else "r", allow_pickle=False)
        if int(getattr(array, "offset", end - array.nbytes)) + array.nbytes != end:
            raise ValueError(f"its header says {array.shape} of {array.dtype}, which is not its size")
    return array


def _checked_end(path: Path) -> int:
    """Where the array's bytes end, after comparing them with the digest that follows. Older files have none."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(size - TRAILER_BYTES, 0))
        trailer = file.read()
    if not trailer.startswith(ALGORITHM):
        return size
    if trailer != ALGORITHM + file_digest(path, size - TRAILER_BYTES).encode() + b"\n":
        raise ValueError("it has changed since it was written")
    return size - TRAILER_BYTES


class _Manifest(msgspec.Struct):
    files: dict[str, str]


def write_manifest(folder: Path) -> None:
    """Write `digests.json` into a folder of finished files: the digest of each."""
    files = {path.name: file_digest(path) for path in sorted(folder.iterdir()) if path.is_file()}
    (folder / MANIFEST).write_bytes(to_json(_Manifest(files)))


def check_folder(folder: Path) -> None:
    """Compare a folder's files with `digests.json`, once per process unless they change.

    Raises UnreadableFile for the first that differs. Folders of older versions have no manifest.
    """
    if (folder / MANIFEST).exists():
        for name, written in read_json(folder / MANIFEST, _Manifest).files.items():
            check_file(folder / name, written)


def check_file(path: Path, written: str) -> None:
    """Compare the file with its digest, once per process unless it changes. Raises UnreadableFile."""
    try:
        status = path.stat()
        same = _digest_now(path, status.st_ino, status.st_mtime_ns, status.st_size) == written
    except OSError as error:
        raise UnreadableFile(path, fact_of(error)) from error
    if not same:
        raise UnreadableFile(path, "it has changed since it was written")


@functools.lru_cache(maxsize=256)
def _digest_now(path: Path, _inode: int, _mtime_ns: int, _size: int) -> str:
    return file_digest(path)


def fact_of(error: Exception) -> str:
    """What is wrong, without the path."""
    return getattr(error, "fact", None) or getattr(error, "strerror", None) or str(error)
