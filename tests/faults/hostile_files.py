"""Files that only look like shards: each refers to other files, needs too much memory, or has a false layout."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Spoil = Callable[[Path], object]

# What is put in the place of the features.
VALUES: dict[str, Callable[[np.ndarray], object]] = {
    "dangling_link": lambda _: h5py.SoftLink("/nowhere"),
    "wrong_type": lambda rows: rows.view("<i2"),
    "big_endian": lambda rows: rows.astype(">f2"),
    "fewer_rows": lambda rows: rows[:-1],
    "other_rows": lambda rows: rows[::-1],
}
# How their array is made anew.
ARRAYS: dict[str, Callable[[np.ndarray], dict[str, Any]]] = {
    "external_storage": lambda rows: {"external": [("/etc/passwd", 0, rows.nbytes)]},
    "huge_contiguous": lambda rows: {"shape": (1 << 40, rows.shape[1])},
    "chunk_bomb": lambda rows: {"shape": (1 << 40, rows.shape[1]), "chunks": (1024, 4), "compression": "gzip"},
    "chunked": lambda rows: {"data": rows, "chunks": True},
    "never_written": lambda _: {},
    "objects": lambda rows: {"shape": (len(rows),), "dtype": h5py.string_dtype()},
}


def external_link(file: h5py.File, rows: np.ndarray, path: Path) -> None:
    with h5py.File(path.with_suffix(".other"), "w") as other:
        other["features"] = rows
    file["features"] = h5py.ExternalLink(str(path.with_suffix(".other")), "/features")


def soft_link(file: h5py.File, rows: np.ndarray, _: Path) -> None:
    # Not in the root, so that the number of objects there is right.
    file["n_tokens"].attrs["note"] = "target"
    file["features"] = h5py.SoftLink("/keys")


def virtual(file: h5py.File, rows: np.ndarray, path: Path) -> None:
    layout = h5py.VirtualLayout(rows.shape, rows.dtype)
    layout[:] = h5py.VirtualSource(str(path.with_suffix(".other")), "features", rows.shape)
    file.create_virtual_dataset("features", layout)


def compact(file: h5py.File, rows: np.ndarray, _: Path) -> None:
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_layout(h5py.h5d.COMPACT)
    kind, space = h5py.h5t.py_create(rows.dtype), h5py.h5s.create_simple(rows.shape)
    h5py.h5d.create(file.id, b"features", kind, space, layout)
    file["features"][:] = rows


def a_group(file: h5py.File, rows: np.ndarray, _: Path) -> None:
    file.create_group("features")


def with_features(change: Callable[[h5py.File, np.ndarray, Path], object]) -> Spoil:
    """Replace /features of a good shard."""

    def spoil(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            rows = file["features"][:]
            del file["features"]
            change(file, rows, path)

    return spoil


def value(make: Callable[[np.ndarray], object]) -> Spoil:
    return with_features(lambda file, rows, _: file.__setitem__("features", make(rows)))


def array(make: Callable[[np.ndarray], dict[str, Any]]) -> Spoil:
    return with_features(
        lambda file, rows, _: file.create_dataset("features", **{"shape": rows.shape, "dtype": rows.dtype} | make(rows))
    )


def one_array_twice(file: h5py.File) -> None:
    del file["n_tokens"]
    file["n_tokens"] = file["keys"]


def many_objects(file: h5py.File) -> None:
    for number in range(5000):
        file.create_group(f"g{number}")


def another_name(file: h5py.File) -> None:
    file["keys"][0, 0] ^= 1


# What else is changed in the file.
CHANGES: dict[str, Callable[[h5py.File], object]] = {
    "one_array_twice": one_array_twice,
    "many_objects": many_objects,
    "another_name": another_name,
    "an_extra_array": lambda file: file.create_dataset("more", data=[1]),
    "long_text_of_variable_length": lambda file: file.attrs.create("format", "x" * 60_000),
    "an_array_as_attribute": lambda file: file.attrs.create("rows", np.zeros(1000, np.uint64)),
    "lying_rows": lambda file: file.attrs.modify("rows", np.uint64(1 << 40)),
    "another_version": lambda file: file.attrs.modify("format_version", np.uint64(2)),
    "another_producer": lambda file: file.attrs.create("producer", b"{}", dtype=h5py.string_dtype("utf-8", 2)),
    "no_digest": lambda file: file.attrs.pop("features_digest"),
}


def with_file(change: Callable[[h5py.File], object]) -> Spoil:
    """Change a good shard through h5py."""

    def spoil(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            change(file)

    return spoil


def a_symbolic_link(path: Path) -> None:
    path.rename(path.with_suffix(".moved"))
    path.symlink_to(path.with_suffix(".moved"))


def in_its_place(make: Callable[[Path], object]) -> Spoil:
    def spoil(path: Path) -> None:
        path.unlink()
        make(path)

    return spoil


HOSTILE: dict[str, Spoil] = {
    **{change.__name__: with_features(change) for change in (external_link, soft_link, virtual, compact, a_group)},
    **{name: value(make) for name, make in VALUES.items()},
    **{name: array(make) for name, make in ARRAYS.items()},
    **{name: with_file(change) for name, change in CHANGES.items()},
    "a_symbolic_link": a_symbolic_link,
    "a_fifo": in_its_place(os.mkfifo),
    "a_folder": in_its_place(Path.mkdir),
    "a_device": in_its_place(lambda path: path.symlink_to("/dev/zero")),
    "text": lambda path: path.write_text("no HDF5"),
    "nothing": lambda path: path.write_bytes(b""),
    "half_of_it": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
}
