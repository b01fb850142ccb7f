"""Atomic, durable writes: a file appears complete under its final name, or not at all.

A temporary name beside the target, `os.write`, fsync, `link` (the first writer wins), fsync of the folder. Without the
last step a power cut loses acknowledged files; without the fsync of the file, ext4 leaves them empty
(tests/faults/test_power_cut.py).
"""

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from jdq.store.errors import StoreError

Bytes = bytes | bytearray | memoryview
Content = Bytes | Sequence[Bytes] | Callable[[IO[bytes]], object]
PARTIAL = re.compile(r"\.[^/]+\.[0-9a-f]{16}\.partial")
# How the name of a folder begins whose removal is not finished.
REMOVED = ".removed-"
# What a file system without hard links answers.
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EXDEV, errno.EMLINK, errno.EINVAL)
AT_CWD, RENAME_NOREPLACE = -100, 1
# Linux writes at most 2 GiB - 4 KiB per call, and macOS refuses more than 2 GiB - 1.
LARGEST_WRITE = 1 << 30


def publish(path: Path, data: Content, *, make_folders: bool = True) -> bool:
    """Write `data` to `path` unless it exists; True if it was written, False if it existed.

    Both answers are durable: the folder is fsynced in either case. Missing folders are made. Raises OSError, and then
    leaves no trace at `path`.
    """
    if make_folders:
        make_folder(path.parent)
    with _partial(path, data, durable=True) as partial:
        written = _link(partial, path)
    sync(path.parent)
    return written


def replace(path: Path, data: Content, *, durable: bool = True, make_folders: bool = True) -> None:
    """Write `data` to `path`, in place of what is there: only for pointers, caches and exports, never for shards.

    With `durable` False a power cut may leave the old file, or one of zeros: for caches that check themselves.
    """
    if make_folders:
        make_folder(path.parent)
    with _partial(path, data, durable=durable) as partial:
        partial.replace(path)
    if durable:
        sync(path.parent)


def make_folder(path: Path) -> None:
    """Make `path` and the folders above it, each durable in its parent."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(exist_ok=True)
    sync(path.parent)


def sync(path: Path) -> None:
    """Make a file's bytes, or the names in a folder, durable."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def remove(path: Path, *, trash_in: Path) -> None:
    """Remove a file or a folder: readers see all of it or nothing.

    A folder is renamed into `trash_in` first, so a removal that dies leaves trash, which `jdq store gc` collects.
    """
    if path.is_dir():
        trash = trash_in / f"{REMOVED}{secrets.token_hex(8)}"
        path.rename(trash)
        sync(path.parent)
        shutil.rmtree(trash)
    else:
        path.unlink()
        sync(path.parent)


def partial_beside(path: Path) -> Path:
    """A unique temporary name for `path`, in the same folder."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")


def is_partial(name: str) -> bool:
    """Whether `name` is that of an unfinished file: its writer is at work, or has died."""
    return PARTIAL.fullmatch(name) is not None


@contextlib.contextmanager
def _partial(path: Path, data: Content, *, durable: bool) -> Iterator[Path]:
    """A new file beside `path` with this content; it is removed afterwards."""
    partial = partial_beside(path)
    try:
        with partial.open("x+b") as file:
            if callable(data):
                data(file)
                file.flush()
            else:
                write_all(file.fileno(), [data] if isinstance(data, bytes | bytearray | memoryview) else data)
            if durable:
                os.fsync(file.fileno())
        yield partial
    finally:
        # On a broken disk this fails, too: the first error is the one to report.
        with contextlib.suppress(OSError):
            partial.unlink()


def write_all(fd: int, pieces: Sequence[Bytes]) -> None:
    """Write all bytes, in one call if the system takes them. Raises OSError.

    Then Linux keeps them in pages of up to 2 MiB, which a scan reads 10 % faster than those of many small writes.
    """
    left = [memoryview(piece).cast("B") for piece in pieces]
    while left := [piece for piece in left if len(piece)]:
        few = left if sum(map(len, left)) <= LARGEST_WRITE else [left[0][:LARGEST_WRITE]]
        # Before ENOSPC and EFBIG comes a short write; the next call raises.
        done = os.writev(fd, few)
        for number, piece in enumerate(few):
            left[number] = left[number][min(done, len(piece)) :]
            done -= min(done, len(piece))


def _link(partial: Path, path: Path) -> bool:
    try:
        os.link(partial, path)
    except FileExistsError:
        # NFS repeats a link whose answer was lost: it then "exists", and is ours.
        return os.path.samestat(partial.stat(), path.lstat())
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        return _rename_new(partial, path)
    return True


def _rename_new(partial: Path, path: Path) -> bool:
    """Rename unless `path` exists: where a file system has no hard links, many have this."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename and not rename(AT_CWD, os.fsencode(partial), AT_CWD, os.fsencode(path), RENAME_NOREPLACE):
        return True
    number = ctypes.get_errno() if rename else errno.ENOSYS
    if number == errno.EEXIST:
        return False
    lacking = "this file system has neither hard links nor an exclusive rename: the store needs one"
    raise OSError(number, lacking if number in NO_LINKS else os.strerror(number))


def require_file_system(folder: Path) -> None:
    """Try in `folder` what the store needs of a file system. Raises StoreError, which names what is missing."""
    trial = partial_beside(folder / "trial")
    missing = "hard links (or an exclusive rename), or fsync of folders"
    try:
        publish(trial, b"trial")
        missing = "locks (flock)"
        with trial.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            missing = "files that can be mapped (mmap)"
            mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ).close()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        fact = f"the file system of {folder} has no {missing}, which the store needs ({error.strerror})"
        raise StoreError(f"{fact}; set JDQ_STORE to a folder on another disk") from error
    finally:
        trial.unlink(missing_ok=True)
