"""Atomic, durable writes: a file appears complete under its final name, or not at all.

A temporary name beside the target, `os.write`, fsync, `link` (the first writer wins), fsync of the folder. Without the
last step a power cut loses acknowledged files; without the fsync of the file, ext4 leaves them empty
(tests/faults/test_power_cut.py).
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

Bytes = bytes | bytearray | memoryview
PARTIAL = re.compile(r"\.[^/]+\.[0-9a-f]{16}\.partial")
# How the name of a folder begins whose removal is not finished.
REMOVED = ".removed-"
# Linux writes at most 2 GiB - 4 KiB per call, and macOS refuses more than 2 GiB - 1.
LARGEST_WRITE = 1 << 30


def publish(path: Path, data: Bytes | Sequence[Bytes], *, make_folders: bool = True) -> bool:
    """Write `data` to `path` unless it exists; True if it was written, False if it existed.

    Both answers are durable: the folder is fsynced in either case. Missing folders are made. Raises OSError, and then
    leaves no trace at `path`.
    """
    if make_folders:
        make_folder(path.parent)
    partial = _write_partial(path, data, durable=True)
    try:
        written = _link(partial, path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
    sync(path.parent)
    return written


def replace(path: Path, data: Bytes | Sequence[Bytes], *, durable: bool = True, make_folders: bool = True) -> None:
    """Write `data` to `path`, in place of what is there: only for pointers and caches, never for shards.

    With `durable` False a power cut may leave the old file, or one of zeros: for caches that check themselves.
    """
    if make_folders:
        make_folder(path.parent)
    partial = _write_partial(path, data, durable=durable)
    try:
        partial.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise
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


def _write_partial(path: Path, data: Bytes | Sequence[Bytes], *, durable: bool) -> Path:
    partial = partial_beside(path)
    fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        for piece in [data] if isinstance(data, bytes | bytearray | memoryview) else data:
            write_all(fd, memoryview(piece).cast("B"))
        if durable:
            os.fsync(fd)
    except BaseException:
        # On a broken disk this fails, too: the first error is the one to report.
        with contextlib.suppress(OSError):
            partial.unlink()
        raise
    finally:
        os.close(fd)
    return partial


def write_all(fd: int, data: memoryview) -> None:
    """Write all bytes of `data`. Raises OSError."""
    # Before ENOSPC and EFBIG comes a short write; the next call raises.
    while data:
        data = data[os.write(fd, data[:LARGEST_WRITE]) :]


def _link(partial: Path, path: Path) -> bool:
    try:
        os.link(partial, path)
    except FileExistsError:
        # NFS repeats a link whose answer was lost: it then "exists", and is ours.
        return os.path.samestat(partial.stat(), path.lstat())
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOTSUP):
            raise OSError(error.errno, "this file system has no hard links, which the store needs") from error
        raise
    return True
