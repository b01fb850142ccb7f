"""One shard as a file: HDF5 writes the metadata, and the rows are put beside it without a copy."""

import math
import mmap
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from jdq.store.files.digests import digest_of, digest_of_blocks
from jdq.store.keys import KEY_BYTES, Keys
from jdq.store.spaces.definition import FeatureSpace

FORMAT = "jdq-shard"
FORMAT_VERSION = 1
# Rows begin at a page boundary: a row of 1,024 halves across two pages costs a gather two address translations.
ALIGNMENT = {"alignment_threshold": 512, "alignment_interval": 4096}
# HDF5 stores an attribute in its object's header only up to 64 KiB.
LARGEST_ATTRIBUTE = 1 << 15
LARGEST_METADATA = 1 << 20

Features = npt.NDArray[np.float16] | npt.NDArray[np.float32]
Tokens = npt.NDArray[np.uint32]
Column = npt.NDArray[Any]


class ShardHeader(msgspec.Struct, frozen=True, kw_only=True):
    """The attributes of a shard, without their digest."""

    format: str
    format_version: int
    space: str
    space_json: str
    rows: int
    dim: int
    features_digest: str
    keys_digest: str
    n_tokens_digest: str
    producer: str

    def digest(self) -> str:
        """xxh3-128 of the attributes as sorted JSON, which detects a flipped bit in any of them."""
        return digest_of_blocks([msgspec.json.encode(self, order="sorted")], fast=True)


class _Image(mmap.mmap):
    """Memory that HDF5 takes for a file. The pages of the rows, which nobody writes, take no room."""

    end = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> None:
        super().seek(offset if whence == os.SEEK_SET else self.end)

    def truncate(self, size: int) -> None:
        self.end = size


class ArrayForm(NamedTuple):
    """The shape and the type of an array of a shard."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def size_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def array_forms(rows: int, space: FeatureSpace) -> dict[str, ArrayForm]:
    """The arrays of a shard with so many rows, by name."""
    return {
        "features": ArrayForm((rows, space.dim), np.dtype(space.storage_dtype).newbyteorder("<")),
        "keys": ArrayForm((rows, KEY_BYTES), np.dtype("u1")),
        "n_tokens": ArrayForm((rows,), np.dtype("<u4")),
    }


def encode_shard(
    space: FeatureSpace, keys: Keys, features: Features, n_tokens: Tokens, *, producer: Mapping[str, str]
) -> tuple[str, list[bytes | memoryview]]:
    """The name and the bytes of a shard of these rows: contiguous arrays of the space's shapes and types."""
    columns: dict[str, Column] = {"features": features, "keys": keys, "n_tokens": n_tokens}
    header = ShardHeader(
        format=FORMAT,
        format_version=FORMAT_VERSION,
        space=space.digest,
        space_json=space.canonical_json().decode(),
        rows=len(keys),
        dim=space.dim,
        features_digest=digest_of_blocks([features.data], fast=True),
        keys_digest=digest_of(keys.data),
        n_tokens_digest=digest_of_blocks([n_tokens.data], fast=True),
        producer=msgspec.json.encode(dict(producer), order="sorted").decode(),
    )
    return header.keys_digest, _pieces(header, columns)


def _pieces(header: ShardHeader, columns: Mapping[str, Column]) -> list[bytes | memoryview]:
    """A shard's file: HDF5 makes the metadata, between which the arrays are put without a copy."""
    import h5py

    rows_bytes = sum(array.nbytes for array in columns.values())
    with _Image(-1, rows_bytes + LARGEST_METADATA) as image:
        # Older tools read such files, and no flag in them says that they are open.
        with h5py.File(image, "w", libver=("v108", "v110"), **ALIGNMENT) as h5:
            offsets = {name: _declare(h5.id, name, array) for name, array in columns.items()}
            for name, value in (msgspec.to_builtins(header) | {"header_digest": header.digest()}).items():
                _write_attribute(h5, name, value)
        at = 0
        pieces: list[bytes | memoryview] = []
        for name in sorted(offsets, key=offsets.__getitem__):
            pieces += [image[at : offsets[name]], columns[name].data.cast("B")]
            at = offsets[name] + columns[name].nbytes
        return [*pieces, image[at : image.end]]


def _declare(file: Any, name: str, array: Column) -> int:
    from h5py import h5d, h5p, h5s, h5t

    layout = h5p.create(h5p.DATASET_CREATE)
    layout.set_layout(h5d.CONTIGUOUS)
    layout.set_alloc_time(h5d.ALLOC_TIME_EARLY)
    layout.set_fill_time(h5d.FILL_TIME_NEVER)
    disk_type = h5t.py_create(array.dtype.newbyteorder("<"))
    space = h5s.create_simple(array.shape)
    return int(h5d.create(file, name.encode(), disk_type, space, layout).get_offset())


def _write_attribute(h5: Any, name: str, value: str | int) -> None:
    import h5py

    if isinstance(value, int):
        h5.attrs.create(name, value, dtype="<u8")
        return
    data = value.encode()
    if len(data) > LARGEST_ATTRIBUTE:
        raise ValueError(f"attribute {name} has {len(data)} bytes; the limit is {LARGEST_ATTRIBUTE}")
    # Of fixed length: HDF5 stores text of variable length in a heap, which a reader would have to trust.
    h5.attrs.create(name, np.array(data), dtype=h5py.string_dtype("utf-8", max(len(data), 1)))
