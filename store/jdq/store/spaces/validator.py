"""Every shard that is read is validated here first, so that it can be mapped and cannot refer to other files.

HDF5 itself follows external links and raw storage (to any file of the machine), virtual sources, and shapes of 2^40
rows.
"""

import errno
import io
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from jdq.store.errors import CannotRead, DamagedShard
from jdq.store.spaces.definition import FeatureSpace
from jdq.store.spaces.shard import FORMAT, FORMAT_VERSION, LARGEST_ATTRIBUTE, ArrayForm, ShardHeader, array_forms

# Too many open files, or too little memory.
NO_DAMAGE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardLayout:
    """A shard's header and where in the file its arrays are, whose digests are not yet checked."""

    header: ShardHeader
    space: FeatureSpace
    forms: Mapping[str, ArrayForm]
    offsets: Mapping[str, int]


@contextmanager
def opened_regular(path: Path) -> Iterator[tuple[int, os.stat_result]]:
    """A handle on a regular file and its status; never through a symbolic link, or waiting for a fifo's writer.

    Raises FileNotFoundError, and for any other OSError, also of what is done meanwhile, DamagedShard or CannotRead.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise DamagedShard(path, "not a regular file")
            yield fd, status
        finally:
            os.close(fd)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in NO_DAMAGE:
            raise CannotRead.by(error, path) from error
        # A link under O_NOFOLLOW, a socket, a device without a driver, or a file that may not or cannot be read.
        regular = path.is_file() and not path.is_symlink()
        fact = f"it cannot be read: {error.strerror or error}" if regular else "not a regular file"
        raise DamagedShard(path, fact) from error


def layout_of(path: Path) -> ShardLayout:
    """The layout of the shard at `path`. Raises FileNotFoundError, DamagedShard, and CannotRead."""
    with opened_regular(path) as (fd, status):
        return read_layout(fd, status.st_size, path)


def read_layout(fd: int, size: int, path: Path) -> ShardLayout:
    """The layout of the shard open at `fd`. Raises DamagedShard where it does not follow version 1 of the format."""
    import h5py

    try:
        # Through Python's own reads: HDF5 gets no path, takes no lock, and opens no other file.
        with io.FileIO(fd, closefd=False) as raw, h5py.File(raw, "r") as h5:
            return _layout(h5.id, size)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, msgspec.MsgspecError) as error:
        raise DamagedShard(path, f"it is not in the format of a shard: {error}") from error


def _require(holds: bool, fact: str) -> None:
    if not holds:
        raise ValueError(fact)


def _layout(file: Any, size: int) -> ShardLayout:
    from h5py import h5g

    root = h5g.open(file, b"/")
    # Counted before they are listed: a hostile group has millions.
    _require(root.get_num_objs() == 3, f"the root has {root.get_num_objs()} objects, not 3")
    header, space = _header(root)
    forms = array_forms(header.rows, space)
    offsets = {name: _array(root, name, form, size) for name, form in forms.items()}
    end = 0
    for name in sorted(offsets, key=offsets.__getitem__):
        _require(offsets[name] >= end, f"/{name} begins inside another array")
        end = offsets[name] + forms[name].size_bytes
    return ShardLayout(header=header, space=space, forms=forms, offsets=offsets)


def _header(root: Any) -> tuple[ShardHeader, FeatureSpace]:
    version = _attribute(root, "format_version")
    _require(_attribute(root, "format") == FORMAT, "not a jdq shard")
    _require(version == FORMAT_VERSION, f"format version {version}; this jdq reads {FORMAT_VERSION}")
    header = msgspec.convert({name: _attribute(root, name) for name in ShardHeader.__struct_fields__}, ShardHeader)
    _require(_attribute(root, "header_digest") == header.digest(), "the attributes are not as written")
    space = msgspec.json.decode(header.space_json, type=FeatureSpace)
    _require(space.digest == header.space, "space_json is not the definition of the feature space")
    _require(space.dim == header.dim, f"{header.dim} columns in a feature space of {space.dim}")
    _require(header.rows > 0, "no rows")
    msgspec.json.decode(header.producer, type=dict[str, str])
    return header, space


def _attribute(root: Any, name: str) -> str | int:
    import numpy as np
    from h5py import h5a, h5s, h5t

    _require(h5a.exists(root, name.encode()), f"no attribute {name}")
    attribute = h5a.open(root, name.encode())
    kind = attribute.get_type()
    _require(attribute.get_space().get_simple_extent_type() == h5s.SCALAR, f"attribute {name} is not a scalar")
    if kind.equal(h5t.STD_U64LE):
        number = np.empty((), "<u8")
        attribute.read(number)
        return int(number)
    text = isinstance(kind, h5t.TypeStringID) and not kind.is_variable_str()
    _require(text and kind.get_size() <= LARGEST_ATTRIBUTE, f"attribute {name} is not a short text or a number")
    data = np.empty((), f"S{kind.get_size()}")
    attribute.read(data, mtype=kind)
    return bytes(data[()]).decode()


def _array(root: Any, name: str, form: ArrayForm, size: int) -> int:
    """Check an array; the offset of its bytes in the file."""
    from h5py import h5d, h5l, h5o, h5t

    _require(root.links.exists(name.encode()), f"no array /{name}")
    _require(root.links.get_info(name.encode()).type == h5l.TYPE_HARD, f"/{name} is not a hard link")
    _require(h5o.get_info(root, name.encode()).type == h5o.TYPE_DATASET, f"/{name} is not an array")
    array = h5d.open(root, name.encode())
    layout = array.get_create_plist()
    _require(layout.get_layout() == h5d.CONTIGUOUS, f"/{name} is not contiguous (chunked, compact or virtual)")
    _require(layout.get_external_count() == 0, f"/{name} is stored in other files")
    _require(layout.get_nfilters() == 0, f"/{name} is filtered")
    _require(array.get_type().equal(h5t.py_create(form.dtype)), f"/{name} has a wrong type")
    extent = array.get_space()
    _require(extent.is_simple() and extent.get_simple_extent_dims() == form.shape, f"/{name} is not of {form.shape}")
    offset = array.get_offset()
    _require(offset is not None, f"/{name} was never written")
    _require(offset + form.size_bytes <= size, f"/{name} reaches past the end of the file ({size} bytes)")
    return int(offset)
