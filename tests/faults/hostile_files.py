"""Files that only look like shards: each refers to other files, needs too much memory, or has a false layout."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

Spoil = Callable[[Path], None]


def with_features(change: Callable[[h5py.File, np.ndarray, Path], None]) -> Spoil:
    """Replace /features of a good shard."""

    def spoil(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            rows = file["features"][:]
            del file["features"]
            change(file, rows, path)

    return spoil


def with_file(change: Callable[[h5py.File], None]) -> Spoil:
    """Change a good shard through h5py."""

    def spoil(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            change(file)

    return spoil


def external_link(file: h5py.File, rows: np.ndarray, path: Path) -> None:
    with h5py.File(path.with_suffix(".other"), "w") as other:
        other["features"] = rows
    file["features"] = h5py.ExternalLink(str(path.with_suffix(".other")), "/features")


def soft_link(file: h5py.File, rows: np.ndarray, _: Path) -> None:
    # Not in the root, so that the number of objects there is right.
    file["n_tokens"].attrs["note"] = "target"
    file["features"] = h5py.SoftLink("/keys")


def dangling_link(file: h5py.File, rows: np.ndarray, _: Path) -> None:
    file["features"] = h5py.SoftLink("/nowhere")


def external_storage(file: h5py.File, rows: np.ndarray, _: Path) -> None:
    external = [("/etc/passwd", 0, rows.nbytes)]
    file.create_dataset("features", shape=rows.shape, dtype=rows.dtype, external=external)


def virtual(file: h5py.File, rows: np.ndarray, path: Path) -> None:
    layout = h5py.VirtualLayout(rows.shape, rows.dtype)
    layout[:] = h5py.VirtualSource(str(path.with_suffix(".other")), "features", rows.shape)
    file.create_virtual_dataset("features", layout)


def chunk_bomb(file: h5py.File, rows: np.ndarray, _: Path) -> None:
    file.create_dataset(
        "features", (1 << 40, rows.shape[1]), rows.dtype, chunks=(1024, rows.shape[1]), compression="gzip"
    )


def chunked(file: h5py.File, rows: np.ndarray, _: Path) -> None:
    file.create_dataset("features", data=rows, chunks=True)


def huge_contiguous(file: h5py.File, rows: np.ndarray, _: Path) -> None:
    file.create_dataset("features", (1 << 40, rows.shape[1]), rows.dtype)


def never_written(file: h5py.File, rows: np.ndarray, _: Path) -> None:
    file.create_dataset("features", rows.shape, rows.dtype)


def compact(file: h5py.File, rows: np.ndarray, _: Path) -> None:
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_layout(h5py.h5d.COMPACT)
    kind, space = h5py.h5t.py_create(rows.dtype), h5py.h5s.create_simple(rows.shape)
    h5py.h5d.create(file.id, b"features", kind, space, layout)
    file["features"][:] = rows


def wrong_type(file: h5py.File, rows: np.ndarray, _: Path) -> None:
    file["features"] = rows.view("<i2")


def big_endian(file: h5py.File, rows: np.ndarray, _: Path) -> None:
    file["features"] = rows.astype(">f2")


def objects(file: h5py.File, rows: np.ndarray, _: Path) -> None:
    file.create_dataset("features", (len(rows),), h5py.string_dtype())


def a_group(file: h5py.File, rows: np.ndarray, _: Path) -> None:
    file.create_group("features")


def fewer_rows(file: h5py.File, rows: np.ndarray, _: Path) -> None:
    file["features"] = rows[:-1]


def other_rows(file: h5py.File, rows: np.ndarray, _: Path) -> None:
    file["features"] = rows[::-1]


def one_array_twice(file: h5py.File) -> None:
    del file["n_tokens"]
    file["n_tokens"] = file["keys"]


def an_extra_array(file: h5py.File) -> None:
    file["more"] = [1]


def many_objects(file: h5py.File) -> None:
    for number in range(5000):
        file.create_group(f"g{number}")


def long_text_of_variable_length(file: h5py.File) -> None:
    del file.attrs["format"]
    file.attrs["format"] = "x" * 60_000


def an_array_as_attribute(file: h5py.File) -> None:
    del file.attrs["rows"]
    file.attrs["rows"] = np.zeros(1000, np.uint64)


def lying_rows(file: h5py.File) -> None:
    file.attrs.modify("rows", np.uint64(1 << 40))


def another_version(file: h5py.File) -> None:
    file.attrs.modify("format_version", np.uint64(2))


def another_producer(file: h5py.File) -> None:
    file.attrs.create("producer", b"{}", dtype=h5py.string_dtype("utf-8", 2))


def no_digest(file: h5py.File) -> None:
    del file.attrs["features_digest"]


def a_symbolic_link(path: Path) -> None:
    path.rename(path.with_suffix(".moved"))
    path.symlink_to(path.with_suffix(".moved"))


def a_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def text(path: Path) -> None:
    path.write_text("no HDF5")


def nothing(path: Path) -> None:
    path.write_bytes(b"")


def half_of_it(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def another_name(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["keys"][0, 0] ^= 1


HOSTILE: dict[str, Spoil] = {
    **{
        change.__name__: with_features(change)
        for change in (
            external_link, soft_link, dangling_link, external_storage, virtual, chunk_bomb, chunked, huge_contiguous,
            never_written, compact, wrong_type, big_endian, objects, a_group, fewer_rows, other_rows,
        )
    },
    **{
        change.__name__: with_file(change)
        for change in (
            one_array_twice, an_extra_array, many_objects, long_text_of_variable_length, an_array_as_attribute,
            lying_rows, another_version, another_producer, no_digest,
        )
    },
    **{
        change.__name__: change
        for change in (a_symbolic_link, a_fifo, a_folder, a_device, text, nothing, half_of_it, another_name)
    },
}  # fmt: skip
