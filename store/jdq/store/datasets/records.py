"""The JSON files of a dataset version: `dataset.json`, and those in `imports/`, `spaces/` and `splits/`."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from jdq.store.errors import StoreError, StoreFormatError
from jdq.store.files.digests import UnreadableFile, digest_of, fact_of, read_json
from jdq.store.files.publish import Content, publish, replace
from jdq.store.table import SourceFile

FORMAT_VERSION = 1
TABLE, KEYS, N_BYTES, RECORD = "table.parquet", "keys.npy", "n_bytes.npy", "dataset.json"
IMPORTS, SPACES, SPLITS = "imports", "spaces", "splits"
PARTS = ("train", "validation", "test")

Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]


@dataclass(eq=False)
class DamagedDataset(StoreError):
    """A file of a dataset version is missing, or has changed since it was written."""

    path: Path
    fact: str

    def __str__(self) -> str:
        name = self.path.parent.name
        fact = f"damaged dataset {self.path}: {self.fact}; importing its file again repairs it"
        return f"{fact}\n  try: jdq submit extract data.csv --name {name}"


class DamagedSplit(DamagedDataset):
    """A stored split is missing in part, or has changed since it was written."""

    def __str__(self) -> str:
        fact = f"damaged split of dataset {self.path}: {self.fact}; once it is removed, training makes a new one"
        return f"{fact}\n  try: jdq store verify --repair"


@dataclass(eq=False)
class RemovedDataset(StoreError):
    """The dataset version was removed while it was used."""

    path: Path

    def __str__(self) -> str:
        return f"dataset {self.path.parent.name} {self.path.name} was removed\n  try: jdq store ls"


def fault(version: Path, fact: str, kind: type[DamagedDataset] = DamagedDataset) -> DamagedDataset | RemovedDataset:
    """The error of a file that cannot be read: a removal takes the entire folder, so without it nothing is damaged."""
    return kind(version, fact) if version.is_dir() else RemovedDataset(version)


@contextlib.contextmanager
def reading(version: Path, name: str, kind: type[DamagedDataset] = DamagedDataset) -> Iterator[None]:
    """What may fail to read the version's file `name` raises DamagedDataset, or RemovedDataset."""
    try:
        yield
    except (OSError, ValueError, pa.ArrowException, UnreadableFile) as error:
        raise fault(version, f"{name}: {fact_of(error)}", kind) from error


class FileRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The size and digest of a file when it was written."""

    size_bytes: int
    blake2b: str


class DatasetRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`dataset.json`: what the table is. Where it came from is in `imports/`.

    `digest` has 32 hexadecimal digits; the version is the first 12. `classes` counts the rows of each label. `footer`
    is the digest of table.parquet's footer, which has no checksum of its own and locates everything else.
    `self_digest` is that of this record with "" in its place.
    """

    format: Literal["jdq-dataset"] = "jdq-dataset"
    format_version: int = FORMAT_VERSION
    digest: str
    columns: tuple[str, ...]
    text_column: str
    label_column: str | None
    n_rows: int
    n_texts: int
    n_unlabelled: int
    classes: dict[str, int]
    files: dict[str, FileRecord]
    footer: str
    self_digest: str = ""

    def with_digest(self) -> Self:
        """The record with its own digest."""
        bare = msgspec.structs.replace(self, self_digest="")
        return msgspec.structs.replace(bare, self_digest=digest_of(msgspec.json.encode(bare)))


class ImportRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One file of `imports/`: a user's file with this table, or several (`files`, whose digests `sha256` is of).

    `text_columns`: the columns that were joined into the text column, where there are several.
    """

    file: str
    size_bytes: int
    sha256: str
    imported_at: datetime
    encoding: str | None
    separator: str | None
    n_empty_rows: int
    n_skipped_rows: int
    warnings: tuple[str, ...]
    text_columns: tuple[str, ...] = ()
    files: tuple[SourceFile, ...] = ()


class SpaceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One file of `spaces/`: the last job that extracted this version in this feature space."""

    space: str
    encoder: str
    job: str
    recorded_at: datetime


class SplitRecord(msgspec.Struct, kw_only=True, frozen=True):
    """A JSON file of `splits/`: which array is the split of this name and label column, and what made it."""

    label_column: str
    name: str
    digest: Digest
    rows: int
    fields: dict[str, Any]


class StoredSplit(NamedTuple):
    """A split: its record, and the part of each row (0 train, 1 validation, 2 test), (rows,) uint8."""

    record: SplitRecord
    parts: npt.NDArray[np.uint8]


def split_digest(parts: npt.NDArray[np.uint8]) -> str:
    """blake2b-128 of the rows' parts, 32 hexadecimal digits: it changes when any row changes its part."""
    return digest_of(b"jdq-split-1\0", parts.tobytes())


KINDS: dict[str, type[Any]] = {IMPORTS: ImportRecord, SPACES: SpaceRecord, SPLITS: SplitRecord}


def now_after(last: datetime | None) -> datetime:
    """The time, but later than `last`: the record written last is the newest, even where machines' clocks differ."""
    now = datetime.now(UTC)
    return now if last is None else max(now, last + timedelta(microseconds=1))


def put(path: Path, data: Content, *, overwrite: bool = False) -> None:
    """Write `path`, in a folder of a version. Raises RemovedDataset: it is never made again by a late file."""
    try:
        path.parent.mkdir(exist_ok=True)
        (replace if overwrite else publish)(path, data, make_folders=False)
    except FileNotFoundError:
        raise RemovedDataset(path.parent.parent) from None


def read_dataset_record(path: Path) -> DatasetRecord:
    """The record of the version in the folder `path`; its files have the recorded sizes.

    Raises DamagedDataset, RemovedDataset, and StoreFormatError for a version that a newer jdq wrote.
    """
    with reading(path, RECORD):
        head = read_json(path / RECORD, _Head)
        if head.format != "jdq-dataset" or head.format_version > FORMAT_VERSION:
            raise StoreFormatError(
                f"{path / RECORD} is of format {head.format} {head.format_version}; this jdq reads jdq-dataset up to "
                f"{FORMAT_VERSION}\n  try: pip install --upgrade jdq"
            )
        record = read_json(path / RECORD, DatasetRecord)
        if record != record.with_digest():
            raise ValueError("it has changed since it was written")
        if not record.digest.startswith(path.name) or record.text_column not in record.columns:
            raise ValueError(f"it is of another version: {record.digest}")
        if set(record.files) != {TABLE, KEYS, N_BYTES}:
            raise ValueError(f"it names the files {sorted(record.files)}")
    for name, written in record.files.items():
        with reading(path, name):
            if (size := (path / name).stat().st_size) != written.size_bytes:
                raise ValueError(f"it has {size} bytes, {written.size_bytes} were written")
    return record


class _Head(msgspec.Struct):
    format: str
    format_version: int
