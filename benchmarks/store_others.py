"""Scan and gather beside other stores, each with plain settings; those not installed are left out."""

# ruff: noqa: T201 - a program that prints its result
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from store_measure import DIM, SHARD_ROWS, Line, add_up, definition, fill, ratio

from jdq.store import open_store

Reader = tuple[Callable[[], object], Callable[[np.ndarray], object]]


def arrow(folder: Path, features: np.ndarray) -> Reader:
    import datasets

    data = datasets.Dataset.from_dict(
        {"x": features}, datasets.Features({"x": datasets.List(datasets.Value("float16"), DIM)})
    )
    data.save_to_disk(folder / "arrow")
    mapped = datasets.load_from_disk(folder / "arrow").with_format("numpy")
    blocks = range(0, len(features), 8192)
    return lambda: add_up(mapped[at : at + 8192]["x"] for at in blocks), lambda pick: mapped[pick]["x"]


def zarr_store(folder: Path, features: np.ndarray) -> Reader:
    import zarr

    array = zarr.create_array(
        folder / "zarr", shape=features.shape, chunks=(1024, DIM), dtype=features.dtype, compressors=None
    )
    array[:] = features
    blocks = range(0, len(features), 8192)
    return lambda: add_up(array[at : at + 8192] for at in blocks), lambda pick: array.get_orthogonal_selection(pick)


def lance_store(folder: Path, features: np.ndarray) -> Reader:
    import lance
    import pyarrow as pa

    column = pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), DIM)
    data = lance.write_dataset(pa.table({"x": column}), folder / "lance")

    def numbers(column: pa.ChunkedArray) -> np.ndarray:
        return np.concatenate([part.flatten().to_numpy(zero_copy_only=False) for part in column.chunks]).reshape(
            -1, DIM
        )

    return (
        lambda: add_up(numbers(pa.chunked_array([batch["x"]])) for batch in data.to_batches(batch_size=8192)),
        lambda pick: numbers(data.take(pick)["x"]),
    )


def parquet(folder: Path, features: np.ndarray) -> Reader:
    import pyarrow as pa
    from pyarrow import parquet as pq

    column = pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), DIM)
    pq.write_table(
        pa.table({"x": column}), folder / "x.parquet", row_group_size=1024, compression="none", use_dictionary=False
    )
    file = pq.ParquetFile(folder / "x.parquet")

    def numbers(groups: list[int]) -> np.ndarray:
        return file.read_row_groups(groups)["x"].combine_chunks().flatten().to_numpy().reshape(-1, DIM)

    def take(pick: np.ndarray) -> np.ndarray:
        out = np.empty((len(pick), DIM), np.float16)
        for group in np.unique(pick // 1024):
            places = np.flatnonzero(pick // 1024 == group)
            out[places] = numbers([int(group)])[pick[places] % 1024]
        return out

    groups = [list(range(at, min(at + 8, file.num_row_groups))) for at in range(0, file.num_row_groups, 8)]
    return lambda: add_up(map(numbers, groups)), take


def hdf5(folder: Path, features: np.ndarray) -> Reader:
    import h5py

    with h5py.File(folder / "x.h5", "w") as file:
        file["x"] = features
    array = h5py.File(folder / "x.h5")["x"]
    blocks = range(0, len(features), 8192)

    def take(pick: np.ndarray) -> np.ndarray:
        sorted_, back = np.unique(pick, return_inverse=True)
        return array[sorted_][back]

    return lambda: add_up(array[at : at + 8192] for at in blocks), take


OTHERS = {
    "HF datasets (Arrow)": arrow,
    "zarr": zarr_store,
    "lance": lance_store,
    "parquet": parquet,
    "h5py slicing": hdf5,
}


def stores(folder: Path, rounds: int) -> list[Line]:
    """Scan 65,536 rows and gather 2,048 of them, here and there: what each library does with plain settings."""
    space = open_store(folder / "s").space(definition(DIM))
    keys, features = fill(space, 65_536, SHARD_ROWS)
    rows, pick = space.rows(keys), np.random.default_rng(3).integers(0, 65_536, 2048)
    lines = []
    for name, make in OTHERS.items():
        try:
            scan_other, gather_other = make(folder, features)
        except ImportError as error:
            print(f"{name} left out: {error}", file=sys.stderr)
            continue
        np.testing.assert_array_equal(np.asarray(gather_other(pick)), features[pick])
        for what, ours, theirs in (
            ("scan", lambda: add_up(rows.blocks()), scan_other),
            ("gather", lambda: rows[pick], lambda take=gather_other: take(pick)),
        ):
            share, mine, other = ratio(ours, theirs, rounds)
            lines.append(
                Line(
                    what=f"{what} against {name}",
                    value=share,
                    target=1,
                    unit="x",
                    note=f"{mine * 1e3:.1f} and {other * 1e3:.1f} ms",
                )
            )
    return lines
