"""A shard open for reading: its features are mapped, or read when they are used, and checked before."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jdq.store.errors import DamagedShard
from jdq.store.files.digests import digest_of_blocks, read_blocks, read_into
from jdq.store.keys import Keys
from jdq.store.spaces.mmap_file import Bytes, MappedFiles
from jdq.store.spaces.segment import Positions
from jdq.store.spaces.shard import ArrayForm, Column, Features, ShardHeader, Tokens
from jdq.store.spaces.validator import ShardLayout, opened_regular, read_layout

Identity = tuple[int, int]


@dataclass(eq=False, kw_only=True)
class MappedShard:
    """One shard's rows: `keys` (rows, 16), `n_tokens` (rows,), and its features. It keeps no file handle.

    `form`, `offset`: those of its features in the file. `memory`: the file, where it is mapped, at `first_row` of the
    rows of `MappedFiles`; it then stays readable when the file is removed. Bits that flip in the page cache later are
    not detected.
    """

    path: Path
    header: ShardHeader
    form: ArrayForm
    offset: int
    identity: Identity
    size_bytes: int
    keys: Keys
    n_tokens: Tokens
    memory: Bytes | None = None
    first_row: int = 0
    _checked: bool = False

    def check(self) -> None:
        """Compare the features with their digest, once. Raises DamagedShard, and FileNotFoundError as `read` does.

        They are read for it: a block that the disk cannot read is a signal in mapped memory.
        """
        if self._checked:
            return
        start, size = self.offset, self.form.size_bytes
        try:
            with self._opened() as fd:
                digest = digest_of_blocks(read_blocks(fd, start, size), fast=True)
        except FileNotFoundError:
            if self.memory is None:
                raise
            digest = digest_of_blocks([self.memory[start : start + size].data], fast=True)
        _compare(self.path, self.header, "features", digest)
        self._checked = True

    def read(self, rows: Positions) -> Features:
        """The features of these rows, (n, dim), read from the file, whose digest is checked before.

        Raises DamagedShard, and FileNotFoundError where the file was removed or replaced since it was opened.
        """
        self.check()
        gathered = np.empty((len(rows), *self.form.shape[1:]), self.form.dtype)
        with self._opened() as fd:
            for run in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(rows) != 1) + 1):
                read_into(fd, self.offset + int(rows[run[0]]) * gathered.strides[0], gathered[run[0] : run[-1] + 1])
        return gathered

    @contextmanager
    def _opened(self) -> Iterator[int]:
        with opened_regular(self.path) as (fd, status):
            if identity_of(status) != self.identity:
                raise FileNotFoundError(f"{self.path} was replaced since it was opened")
            yield fd


def open_shard(path: Path, *, space: str | None = None, files: MappedFiles | None = None) -> MappedShard:
    """The shard at `path`: its layout is validated, its keys are compared with its name, and with their digest.

    Its features are mapped among `files`; without, they are read when they are used. Raises FileNotFoundError,
    CannotRead, and DamagedShard where it is not a sound shard of the feature space `space`.
    """
    with opened_regular(path) as (fd, status):
        layout = read_layout(fd, status.st_size, path)
        if space is not None and layout.header.space != space:
            raise DamagedShard(path, f"it belongs to feature space {layout.header.space}, not {space}")
        if layout.header.keys_digest != path.stem:
            raise DamagedShard(path, f"its keys have the digest {layout.header.keys_digest}, not its name")
        shard = MappedShard(
            path=path,
            header=layout.header,
            form=layout.forms["features"],
            offset=layout.offsets["features"],
            identity=identity_of(status),
            size_bytes=status.st_size,
            keys=_read_array(fd, path, layout, "keys"),
            n_tokens=_read_array(fd, path, layout, "n_tokens"),
        )
        if files is not None:
            shard.memory, shard.first_row = files.add(fd, status.st_size, shard.offset)
    return shard


def _read_array(fd: int, path: Path, layout: ShardLayout, name: str) -> Column:
    form = layout.forms[name]
    read_into(fd, layout.offsets[name], array := np.empty(form.shape, form.dtype))
    _compare(path, layout.header, name, digest_of_blocks([array.data], fast=name != "keys"))
    return array


def _compare(path: Path, header: ShardHeader, name: str, digest: str) -> None:
    if digest != (written := getattr(header, f"{name}_digest")):
        raise DamagedShard(path, f"/{name} has digest {digest}, but {written} was written")


def identity_of(status: os.stat_result) -> Identity:
    """What distinguishes two files of the same name: the inode and the time of the last write."""
    return status.st_ino, status.st_mtime_ns


def current_identity(path: Path) -> Identity | None:
    """The identity of the file at `path` now; None where there is none."""
    try:
        return identity_of(path.lstat())
    except FileNotFoundError:
        return None
