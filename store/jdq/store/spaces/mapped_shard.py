"""A shard open for reading: its arrays are mapped, and the digest of each is checked once, before its first use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jdq.store.errors import DamagedShard
from jdq.store.files.digests import digest_of_blocks, read_blocks
from jdq.store.fork_lock import cached_property
from jdq.store.keys import Keys
from jdq.store.spaces.mmap_file import Bytes, MappedFiles
from jdq.store.spaces.shard import Column, Features, ShardHeader, Tokens
from jdq.store.spaces.validator import ShardLayout, opened_regular, read_layout


@dataclass(eq=False)
class MappedShard:
    """One shard's rows, mapped. It keeps no file handle, and stays readable when the file is removed.

    An array is hashed on first access (as fast as memory is read), so callers get what was written. Bits that flip in
    the page cache later are not detected. `first_row` is the position of its features in those of `MappedFiles`.
    """

    path: Path
    layout: ShardLayout
    memory: Bytes
    first_row: int
    identity: tuple[int, int]

    @property
    def header(self) -> ShardHeader:
        """Its attributes."""
        return self.layout.header

    @cached_property
    def keys(self) -> Keys:
        """(rows, 16) uint8."""
        return self._array("keys")

    @cached_property
    def features(self) -> Features:
        """(rows, dim), of the space's storage dtype."""
        return self._array("features")

    @cached_property
    def n_tokens(self) -> Tokens:
        """(rows,) uint32: tokens before truncation."""
        return self._array("n_tokens")

    @property
    def size_bytes(self) -> int:
        """The size of the file."""
        return len(self.memory)

    def check(self) -> None:
        """Compare every array with its digest. Raises DamagedShard for the first that differs."""
        _ = self.keys, self.n_tokens, self.features

    def _array(self, name: str) -> Column:
        form, start = self.layout.forms[name], self.layout.offsets[name]
        written = getattr(self.header, f"{name}_digest")
        if (digest := digest_of_blocks(self._blocks(start, form.size_bytes), fast=name != "keys")) != written:
            raise DamagedShard(self.path, f"/{name} has digest {digest}, but {written} was written")
        array = self.memory[start : start + form.size_bytes].view(form.dtype).reshape(form.shape)
        # HDF5 aligns arrays of 512 bytes and more; numpy and torch are slow on, or refuse, the others.
        return array if array.flags.aligned else array.copy()

    def _blocks(self, start: int, size: int) -> Iterator[bytes | memoryview]:
        """The bytes to check, read from the file: a block that the disk cannot read is a signal in mapped memory."""
        try:
            with opened_regular(self.path) as (fd, status):
                if identity_of(status) == self.identity:
                    yield from read_blocks(fd, start, size)
                    return
        except FileNotFoundError:
            pass  # removed meanwhile: its bytes are still mapped
        yield self.memory[start : start + size].data


def open_shard(path: Path, *, space: str | None = None, files: MappedFiles | None = None) -> MappedShard:
    """The shard at `path`: its layout is validated, and its keys are compared with its name and their digest.

    It is mapped among `files`, by default by itself. Raises FileNotFoundError, CannotRead, and DamagedShard where it is
    not a sound shard of the feature space `space`.
    """
    with opened_regular(path) as (fd, status):
        layout = read_layout(fd, status.st_size, path)
        if space is not None and layout.header.space != space:
            raise DamagedShard(path, f"it belongs to feature space {layout.header.space}, not {space}")
        if layout.header.keys_digest != path.stem:
            raise DamagedShard(path, f"its keys have the digest {layout.header.keys_digest}, not its name")
        files = files or MappedFiles(layout.space.dim, layout.space.storage_dtype)
        memory, first_row = files.add(fd, status.st_size, layout.offsets["features"])
    shard = MappedShard(path, layout, memory, first_row, identity_of(status))
    _ = shard.keys
    return shard


def identity_of(status: os.stat_result) -> tuple[int, int]:
    """What distinguishes two files of the same name: the inode and the time of the last write."""
    return status.st_ino, status.st_mtime_ns


def current_identity(path: Path) -> tuple[int, int] | None:
    """The identity of the file at `path` now; None where there is none."""
    try:
        return identity_of(path.lstat())
    except FileNotFoundError:
        return None
