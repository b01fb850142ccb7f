"""A shard open for reading: its arrays are mapped, and the digest of each is checked once, before its first use."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from jdq.store.errors import DamagedShard
from jdq.store.keys import KEY_BYTES, Keys
from jdq.store.spaces.definition import FeatureSpace
from jdq.store.spaces.mmap_file import map_file
from jdq.store.spaces.shard import Column, Features, ShardHeader, Tokens, array_sizes, content_digest, shard_name
from jdq.store.spaces.validator import ShardLayout, opened_regular, read_layout


class MappedShard:
    """One shard's rows, mapped. It keeps no file handle, and stays readable when the file is removed.

    An array is hashed on first access (as fast as memory is read), so callers get what was written. Bits that flip in
    the page cache later are not detected.
    """

    def __init__(
        self, path: Path, layout: ShardLayout, memory: npt.NDArray[np.uint8], identity: tuple[int, int]
    ) -> None:
        self.path = path
        self.space: FeatureSpace = layout.space
        self.header: ShardHeader = layout.header
        self.identity = identity
        self._layout = layout
        self._memory = memory

    @cached_property
    def keys(self) -> Keys:
        """(rows, 16) uint8."""
        keys = self._array("keys", np.dtype("u1"), (-1, KEY_BYTES))
        self._require_digest("keys", shard_name(keys), self.header.keys_digest)
        return keys

    @cached_property
    def features(self) -> Features:
        """(rows, dim), of the space's storage dtype."""
        dtype = np.dtype(self.space.storage_dtype).newbyteorder("<")
        features = self._array("features", dtype, (-1, self.header.dim))
        self._require_digest("features", content_digest(features.data), self.header.features_digest)
        return features

    @cached_property
    def n_tokens(self) -> Tokens:
        """(rows,) uint32: tokens before truncation."""
        n_tokens = self._array("n_tokens", np.dtype("<u4"), (-1,))
        self._require_digest("n_tokens", content_digest(n_tokens.data), self.header.n_tokens_digest)
        return n_tokens

    @property
    def size_bytes(self) -> int:
        """The size of the file."""
        return len(self._memory)

    @property
    def producer(self) -> dict[str, str]:
        """What made the rows: versions and device."""
        return msgspec.json.decode(self.header.producer, type=dict[str, str])

    def check(self) -> None:
        """Compare every array with its digest. Raises DamagedShard for the first that differs."""
        _ = self.keys, self.n_tokens, self.features

    def _array(self, name: str, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> Column:
        start = self._layout.offsets[name]
        size = array_sizes(self.header.rows, self.space)[name]
        array = self._memory[start : start + size].view(dtype).reshape(shape)
        # HDF5 aligns arrays of 512 bytes and more; numpy and torch are slow on, or refuse, the others.
        return array if array.flags.aligned else array.copy()

    def _require_digest(self, name: str, digest: str, written: str) -> None:
        if digest != written:
            raise DamagedShard(self.path, f"/{name} has digest {digest}, but {written} was written")


def open_shard(path: Path, *, space: str | None = None) -> MappedShard:
    """The shard at `path`: its layout is validated, and its keys are compared with its name and their digest.

    Raises FileNotFoundError, and DamagedShard where it is not a sound shard of the feature space `space`.
    """
    with opened_regular(path) as (fd, status):
        layout = read_layout(fd, status.st_size, path)
        memory = map_file(fd, status.st_size)
    if space is not None and layout.header.space != space:
        raise DamagedShard(path, f"it belongs to feature space {layout.header.space}, not {space}")
    shard = MappedShard(path, layout, memory, identity_of(status))
    _ = shard.keys
    if shard.header.keys_digest != path.stem:
        raise DamagedShard(path, f"its keys have the digest {shard.header.keys_digest}, not its name")
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
