"""One version of a dataset: an imported table that never changes, read by rows."""

import hashlib
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import numpy.typing as npt

from jdq.store.datasets.columnar import TableFile, footer_digest
from jdq.store.datasets.names import InvalidName
from jdq.store.datasets.records import (
    IMPORTS,
    KEYS,
    KINDS,
    N_BYTES,
    PARTS,
    RECORD,
    SPACES,
    SPLITS,
    TABLE,
    DamagedDataset,
    DamagedSplit,
    ImportRecord,
    SpaceRecord,
    SplitRecord,
    StoredSplit,
    fault,
    now_after,
    put,
    read_dataset_record,
    reading,
    split_digest,
)
from jdq.store.errors import StoreError, read_each
from jdq.store.files.digests import array_pieces, check_file, read_array, read_json, to_json
from jdq.store.fork_lock import cached_property
from jdq.store.table.options import columns as listed
from jdq.store.table.options import rows as numbered

if TYPE_CHECKING:
    import pandas as pd

LABEL_CHARACTERS = 1000
DIGEST = re.compile(r"[0-9a-f]{32}")
SPLIT_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class NoLabels(StoreError):
    """A column cannot be used as labels: some rows have no label, all have the same, or cells are too long."""


class UnknownColumn(StoreError):
    """The table has no column of this name."""


class DatasetVersion:
    """Made by `Datasets`. `path` is its folder. The record is read immediately, the files on demand."""

    def __init__(self, path: Path) -> None:
        """Raises DamagedDataset, RemovedDataset, and StoreFormatError for a version that a newer jdq wrote."""
        self.path = path
        self.name = path.parent.name
        self.version = path.name
        self.record = record = read_dataset_record(path)
        self.n_rows = record.n_rows
        self.n_texts = record.n_texts  # distinct ones
        self.columns = record.columns
        self.text_column = record.text_column
        self.label_column = record.label_column  # None for an unlabelled table
        # Rows of each label of the label column, by label; empty where unlabelled.
        self.classes = record.classes
        self._arrays: dict[str, np.ndarray] = {}

    def __reduce__(self) -> tuple[type[Self], tuple[Path]]:
        return type(self), (self.path,)

    def __repr__(self) -> str:
        return f"<DatasetVersion {self.name} {self.version}: {self.n_rows} rows>"

    @property
    def source(self) -> ImportRecord:
        """The file from which this table was last imported."""
        if imports := self.imports():
            return imports[0]
        raise fault(self.path, f"{IMPORTS}/ has no file that can be read")

    def imports(self) -> list[ImportRecord]:
        """Every file from which this table was imported, newest first, as far as its record can be read."""
        paths = sorted((self.path / IMPORTS).glob("[0-9]*.json"), reverse=True)
        return list(read_each(paths, partial(read_json, kind=ImportRecord))[0].values())

    def texts(self, rows: slice | Sequence[int] | npt.NDArray[np.integer] | None = None) -> list[str]:
        """The texts of a slice, of these rows in the given order, or of all rows; only their row groups are read.

        Raises IndexError for a row that does not exist, DamagedDataset.
        """
        return self.cells(self.text_column, rows)

    def cells(self, column: str, rows: slice | Sequence[int] | npt.NDArray[np.integer] | None = None) -> list[str]:
        """Like `texts`, but of any column."""
        self._check_column(column)
        if rows is None or isinstance(rows, slice):
            wanted = np.arange(self.n_rows)[rows or slice(None)]
        else:
            wanted = np.asarray(rows, dtype=np.int64)
            if wanted.ndim != 1:
                raise IndexError(f"rows are a slice or a list of row numbers, not an array of shape {wanted.shape}")
            if wanted.size and (wanted.min() < 0 or wanted.max() >= self.n_rows):
                raise IndexError(f"{self.name} has rows 0 to {self.n_rows - 1}; not {wanted.min()} to {wanted.max()}")
        with reading(self.path, TABLE):
            return self._table.cells(column, wanted)

    def keys(self) -> npt.NDArray[np.uint8]:
        """The text key of each row: shape (n_rows, 16), memory-mapped; its digest is checked once."""
        return self._array(KEYS, (self.n_rows, 16), np.dtype(np.uint8))

    def n_bytes(self) -> npt.NDArray[np.uint32]:
        """The length in UTF-8 bytes of each row's text: shape (n_rows,), memory-mapped."""
        return self._array(N_BYTES, (self.n_rows,), np.dtype("<u4"))

    def labels(self, column: str | None = None, *, missing: Literal["error", "keep"] = "error") -> npt.NDArray[np.str_]:
        """The label of each row, exactly as in the file: shape (n_rows,), numpy strings.

        `missing="keep"` gives "" (or the cell's white space) for a row without a label. Raises NoLabels, UnknownColumn.
        """
        column = self._label_column(column)
        values = self.cells(column)
        if (longest := max(map(len, values), default=0)) > LABEL_CHARACTERS:
            fact = f"column {column!r} of {self.name} has a cell of {longest} characters: it is not a label column"
            raise NoLabels(fact + self._other_columns(column))
        unlabelled = [row for row, value in enumerate(values, start=1) if not value.strip()]
        if unlabelled and missing == "error":
            fact = f"no label in column {column!r} of {self.name} in {numbered(unlabelled[:10], len(unlabelled))}"
            raise NoLabels(fact + self._other_columns(column))
        return np.array(values, dtype=np.str_)

    def check_labels(self, column: str | None = None) -> None:
        """Raise NoLabels where a head cannot learn this column (by default the table's label column)."""
        classes = np.unique(self.labels(column))
        if len(classes) < 2:
            fact = f"column {self._label_column(column)!r} of {self.name} has one class only: {str(classes[0])!r}"
            raise NoLabels(fact + self._other_columns(column or self.label_column))

    def blocks(self, columns: Sequence[str] | None = None) -> "Iterator[pd.DataFrame]":
        """These columns (by default all) as text, in blocks of at most 2,048 rows in order. Raises DamagedDataset."""
        wanted = list(self.columns if columns is None else columns)
        for column in wanted:
            self._check_column(column)
        with reading(self.path, TABLE):
            for block in self._table.blocks(wanted):
                yield block.to_pandas()

    def record_space(self, space: str, *, encoder: str, job: str) -> None:
        """Record that `job` extracted this version in the feature space with this digest. Raises InvalidName."""
        if not DIGEST.fullmatch(space):
            raise InvalidName(f"{space[:80]!r} cannot be a feature space: 32 hexadecimal digits")
        at = now_after(max((record.recorded_at for record in self.spaces()), default=None))
        record = SpaceRecord(space=space, encoder=encoder, job=job, recorded_at=at)
        put(self.path / SPACES / f"{space}.json", to_json(record), overwrite=True)

    def spaces(self) -> list[SpaceRecord]:
        """The feature spaces in which this version was extracted, newest first, as far as the records can be read."""
        paths = [path for path in (self.path / SPACES).glob("*.json") if DIGEST.fullmatch(path.stem)]
        records = read_each(paths, partial(read_json, kind=SpaceRecord))[0].items()
        mine = [record for path, record in records if record.space == path.stem]
        return sorted(mine, key=lambda record: record.recorded_at, reverse=True)

    def put_split(
        self,
        label_column: str | None,
        parts: npt.NDArray[np.uint8],
        fields: Mapping[str, Any],
        *,
        name: str = "default",
    ) -> StoredSplit:
        """Store a split of the label column (by default the table's own) unless one of this name exists.

        `parts`: 0 train, 1 validation or 2 test for each row, else ValueError; `fields`: what else is to be known of
        it. Returns the stored one.
        """
        if parts.dtype != np.uint8 or parts.shape != (self.n_rows,) or (parts >= len(PARTS)).any():
            raise ValueError(f"a split has one of 0, 1, 2 (uint8) for each of {self.n_rows} rows, not {parts.shape}")
        column, digest = self._label_column(label_column), split_digest(parts)
        # The array first: a split that can be found is complete.
        put(self.path / SPLITS / f"{digest}.npy", array_pieces(parts))
        record = SplitRecord(label_column=column, name=name, digest=digest, rows=self.n_rows, fields=dict(fields))
        put(self._split_path(column, name), to_json(record))
        stored = self.get_split(column, name=name)
        if stored is None:
            raise fault(self.path, f"the split of {column!r} was removed while it was stored", DamagedSplit)
        return stored

    def get_split(self, label_column: str | None = None, *, name: str = "default") -> StoredSplit | None:
        """The stored split of this label column (by default the table's own), or None. Raises DamagedDataset."""
        column = self._label_column(label_column)
        path = self._split_path(column, name)
        if not path.exists() and self.path.is_dir():
            return None
        with reading(self.path, f"{SPLITS}/{path.name}", DamagedSplit):
            record = read_json(path, SplitRecord)
            if (record.label_column, record.name) != (column, name):
                raise ValueError(f"it is the split of {record.label_column!r}")
        with reading(self.path, f"{SPLITS}/{record.digest}.npy", DamagedSplit):
            parts = read_array(self.path / SPLITS / f"{record.digest}.npy")
            if parts.dtype != np.uint8 or parts.shape != (self.n_rows,) or split_digest(parts) != record.digest:
                raise ValueError("it has changed since it was written")
        return StoredSplit(record, parts)

    def verify(self) -> list[str]:
        """Read every byte of the table; one sentence for each damaged file."""
        faults = read_each(self.record.files, self._check_file)[1].values()
        return [fault.fact for fault in faults if isinstance(fault, DamagedDataset)]

    def unreadable(self) -> dict[Path, StoreError]:
        """The files of `imports/`, `spaces/` and `splits/` that cannot be read, and why."""
        paths = [path for name in KINDS for path in sorted((self.path / name).glob("[0-9a-f]*.*"))]
        return read_each(paths, _read_side_file)[1]

    def _split_path(self, label_column: str, name: str) -> Path:
        if not SPLIT_NAME.fullmatch(name):
            raise InvalidName(f"{name[:80]!r} cannot be a split's name: lower-case letters, digits, '_' and '-'")
        # A column may have any name, a file may not.
        column = hashlib.blake2b(label_column.encode(), digest_size=8).hexdigest()
        return self.path / SPLITS / f"{column}.{name}.json"

    @cached_property
    def _table(self) -> TableFile:
        with reading(self.path, TABLE):
            if footer_digest(self.path / TABLE) != self.record.footer:
                raise ValueError("its footer has changed since it was written")
            table = TableFile(self.path / TABLE)
            if table.n_rows != self.n_rows or table.columns != self.columns:
                raise ValueError(f"it has other rows or columns than {RECORD} says")
            return table

    def _array(self, name: str, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> np.ndarray:
        if name not in self._arrays:  # every chunk of a job asks for them
            self._check_file(name)
            with reading(self.path, name):
                array = read_array(self.path / name)
                if array.shape != shape or array.dtype != dtype:
                    raise ValueError(f"it has {array.shape} of {array.dtype}, not {shape} of {dtype}")
            self._arrays[name] = array
        return self._arrays[name]

    def _check_file(self, name: str) -> None:
        """Compare one of the table's files with its digest. Raises DamagedDataset."""
        with reading(self.path, name):
            check_file(self.path / name, self.record.files[name].blake2b)

    def _check_column(self, column: str) -> None:
        if column not in self.columns:
            raise UnknownColumn(f"no column {column!r} in dataset {self.name}; it has: {listed(self.columns)}")

    def _label_column(self, column: str | None) -> str:
        column = self.label_column if column is None else column
        if column is None:
            raise NoLabels(f"dataset {self.name} was imported without a label column{self._other_columns(None)}")
        self._check_column(column)
        return column

    def _other_columns(self, column: str | None) -> str:
        others = [name for name in self.columns if name not in (column, self.text_column)]
        command = ["jdq", "submit", "train-head", self.name, "--label-column"]
        choose = f"\n  try: {shlex.join([*command, others[0]])}" if others else ""
        return f"; it has: {listed(self.columns)}{choose}"


def _read_side_file(path: Path) -> object:
    return read_array(path) if path.suffix == ".npy" else read_json(path, KINDS[path.parent.name])
