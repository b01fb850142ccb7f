"""The JSON files of a dataset version."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from jdq.store.errors import StoreError

FORMAT_VERSION = 1
DIGEST_BYTES = 16

S = TypeVar("S", bound=msgspec.Struct)


def digest_of(data: bytes) -> str:
    """blake2b-128, 32 hexadecimal digits: what all digests of a dataset's files are."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).hexdigest()


class DamagedDataset(StoreError):
    """A dataset version lacks a file, or a file is not what was written."""

    def __init__(self, path: str | Path, fact: str) -> None:
        super().__init__(str(path), fact)
        self.path = Path(path)
        self.fact = fact

    def __str__(self) -> str:
        name, version = self.path.parent.name, self.path.name
        remove = f"jdq store rm {name} --version {version}"
        return f"damaged dataset {self.path}: {self.fact}\n  try: {remove}, then import the file again"


class FileRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a file of the version was when it was written."""

    size_bytes: int
    blake2b: str


class DatasetRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`dataset.json`: what the table is; nothing of where it came from, which `imports/` tells.

    `digest` has 32 hexadecimal digits, the version its first 12. `classes` counts the rows of each label. `footer` is
    the digest of table.parquet's footer, which has no checksum of its own and says where all else is. `self_digest` is
    that of this record with "" in its place.
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

    def sealed(self) -> DatasetRecord:
        """The record with its own digest."""
        bare = msgspec.structs.replace(self, self_digest="")
        return msgspec.structs.replace(bare, self_digest=digest_of(msgspec.json.encode(bare)))


class ImportRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One file of `imports/`: a user's file that held this table."""

    file: str
    size_bytes: int
    sha256: str
    imported_at: datetime
    encoding: str | None
    separator: str | None
    n_empty_rows: int
    n_skipped_rows: int
    warnings: tuple[str, ...]


class SpaceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One file of `spaces/`: the feature space in which a job last extracted this version."""

    space: str
    encoder: str
    job: str
    recorded_at: datetime


def to_json(record: msgspec.Struct) -> bytes:
    """For people, too: indented, with a last newline."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def read_record(path: Path, kind: type[S]) -> S:
    """The record at `path`.

    Raises FileNotFoundError, and msgspec.MsgspecError where it is not of this kind.
    """
    return msgspec.json.decode(path.read_bytes(), type=kind)


def now_after(last: datetime | None) -> datetime:
    """The time, but later than `last`: the newest record is the one written last, on machines whose clocks differ."""
    now = datetime.now(UTC)
    return now if last is None else max(now, last + timedelta(microseconds=1))
