"""A dataset's features, labels and texts as one plain file that other programs read without jdq."""

from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from jdq.store.errors import CannotWrite, StoreError
from jdq.store.exports.lasting_file import LastingFile
from jdq.store.extracted import ExtractedDataset
from jdq.store.files.publish import replace
from jdq.store.table.options import columns as listed

BLOCK_ROWS = 4096
# numpy pads each text to the length of the longest, at four bytes per character.
LARGEST_TEXT_ARRAY = 1 << 30

AfterBlock = Callable[[int], None]
Write = Callable[[ExtractedDataset, IO[bytes], str | None, AfterBlock], None]


class CannotExport(StoreError):
    """The file cannot be written: its suffix is unknown, it exists, or its format cannot hold the data."""


def export(
    table: ExtractedDataset,
    path: Path,
    *,
    label_column: str | None = None,
    overwrite: bool = False,
    after_block: AfterBlock = lambda _: None,
) -> None:
    """Write features, labels (where the dataset has them) and texts in row order to `path`, all or nothing.

    `.h5`: /features (rows, dim), /labels and /texts, UTF-8. `.npz`: the same as numpy arrays, features in the storage
    dtype; all in memory, as they will be where they are read. `.parquet`: one column each. HDF5 and Parquet get
    float32, which every reader of them knows.
    `after_block` is called with the rows done so far.
    Raises CannotExport, CannotWrite, MissingFeatures, DamagedShard.
    """
    if path.suffix not in FORMS:
        raise CannotExport(f"cannot export to {path}: its suffix must be one of {listed(list(FORMS))}")
    if path.exists() and not overwrite:
        again = f"jdq store export {table.version.name} --to {path} --force"
        raise CannotExport(f"{path} exists\n  try: {again}")
    label_column = label_column or table.version.label_column
    try:
        replace(
            path,
            lambda file: FORMS[path.suffix](table, file, label_column, after_block),
            make_folders=False,
        )
    except OSError as error:
        raise CannotWrite.by(error, path) from error


def _write_hdf5(table: ExtractedDataset, file: IO[bytes], label_column: str | None, after_block: AfterBlock) -> None:
    import h5py

    lasting = LastingFile(file)
    # Older tools read such files.
    with h5py.File(lasting, "w", libver=("v108", "v110")) as h5:
        h5.attrs.update(_origin(table, label_column))
        features = h5.create_dataset("features", (len(table), table.space.definition.dim), "<f4")
        texts = h5.create_dataset("texts", (len(table),), h5py.string_dtype())
        if label_column is not None:
            h5.create_dataset("labels", data=table.labels(label_column).tolist(), dtype=h5py.string_dtype())
        for rows in _blocks(table):
            features[rows], texts[rows] = table.features[rows], table.version.texts(rows)
            lasting.raise_failure()
            after_block(rows.stop)
    lasting.raise_failure()


def _write_npz(table: ExtractedDataset, file: IO[bytes], label_column: str | None, after_block: AfterBlock) -> None:
    longest = int(table.version.n_bytes().max(initial=1))
    if 4 * longest * len(table) > LARGEST_TEXT_ARRAY:
        raise CannotExport(
            f"{len(table)} texts of up to {longest} bytes are too much for a numpy array; use .h5 or .parquet"
        )
    arrays: dict[str, Any] = {"features": table.features[:], "texts": np.array(table.texts(), dtype=np.str_)}
    if label_column is not None:
        arrays["labels"] = table.labels(label_column)
    np.savez(file, **arrays)
    after_block(len(table))


def _write_parquet(table: ExtractedDataset, file: IO[bytes], label_column: str | None, after_block: AfterBlock) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    dim = table.space.definition.dim
    fields = {"features": pa.list_(pa.float32(), dim), "texts": pa.large_string()}
    if label_column is not None:
        fields["labels"] = pa.string()
    schema = pa.schema(fields, metadata=_origin(table, label_column))
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for rows in _blocks(table):
            numbers = pa.array(np.asarray(table.features[rows], dtype=np.float32).ravel())
            block = [pa.FixedSizeListArray.from_arrays(numbers, dim), table.version.texts(rows)]
            if label_column is not None:
                block.append(table.version.cells(label_column, rows))
            columns = [pa.array(column, kind) for column, kind in zip(block, fields.values(), strict=True)]
            writer.write_batch(pa.record_batch(columns, schema=schema))
            after_block(rows.stop)


FORMS: dict[str, Write] = {".h5": _write_hdf5, ".npz": _write_npz, ".parquet": _write_parquet}


def _blocks(table: ExtractedDataset) -> list[slice]:
    return [slice(start, min(start + BLOCK_ROWS, len(table))) for start in range(0, len(table), BLOCK_ROWS)]


def _origin(table: ExtractedDataset, label_column: str | None) -> dict[str, str]:
    """Attributes of the exported file that say where it came from."""
    return {
        "dataset": table.version.name,
        "version": table.version.version,
        "text_column": table.version.text_column,
        "label_column": label_column or "",
        "space": table.space.digest,
        "space_json": table.space.definition.canonical_json().decode(),
    }
