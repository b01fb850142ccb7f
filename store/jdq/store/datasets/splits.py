"""Splits of a dataset version, stored once: `splits/<label column's digest>.<name>.json` and `splits/<digest>.npy`.

The array is published before the JSON that names it, so that a split that can be found is complete.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from jdq.store.datasets.names import InvalidName
from jdq.store.datasets.records import SPLITS, DamagedSplit, SplitRecord, fault, put
from jdq.store.files.digests import UnreadableFile, array_pieces, digest_of, read_array, read_json, to_json

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
PARTS = ("train", "validation", "test")


class SplitLike(Protocol):
    """What a split needs to be stored: each row's part (0 train, 1 validation, 2 test), and the rest as JSON."""

    @property
    def parts(self) -> npt.NDArray[np.uint8]: ...

    def to_json(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredSplit:
    """A split from the store: `parts` is (rows,) uint8, `fields` what `to_json` gave."""

    label_column: str
    name: str
    digest: str
    parts: npt.NDArray[np.uint8]
    fields: dict[str, Any]


def put_split(version: Path, n_rows: int, label_column: str, split: SplitLike, *, name: str) -> StoredSplit:
    """Store `split` under its label column and name unless one exists; returns the stored one.

    Raises ValueError where `parts` does not have one of 0, 1, 2 for each row.
    """
    parts = np.asarray(split.parts)
    if parts.dtype != np.uint8 or parts.shape != (n_rows,) or (parts >= len(PARTS)).any():
        raise ValueError(f"a split has one of 0, 1, 2 (uint8) for each of {n_rows} rows, not {parts.shape}")
    digest = split_digest(parts)
    put(version / SPLITS / f"{digest}.npy", array_pieces(parts))
    record = SplitRecord(label_column=label_column, name=name, digest=digest, rows=n_rows, fields=dict(split.to_json()))
    put(_record_path(version, label_column, name), to_json(record))
    stored = get_split(version, n_rows, label_column, name=name)
    if stored is None:
        raise fault(version, f"the split of {label_column!r} was removed while it was stored", DamagedSplit)
    return stored


def get_split(version: Path, n_rows: int, label_column: str, *, name: str) -> StoredSplit | None:
    """The split stored under this label column and name, or None. Raises DamagedDataset."""
    path = _record_path(version, label_column, name)
    try:
        record = read_json(path, SplitRecord)
        parts = read_array(version / SPLITS / f"{record.digest}.npy")
    except FileNotFoundError as error:
        if not path.exists() and version.is_dir():
            return None
        raise fault(version, f"{SPLITS}: {error}", DamagedSplit) from None
    except UnreadableFile as error:
        raise fault(version, f"{SPLITS}/{path.name}: {error}", DamagedSplit) from None
    if parts.dtype != np.uint8 or parts.shape != (n_rows,) or split_digest(parts) != record.digest:
        raise fault(version, f"{SPLITS}/{record.digest}.npy has changed since it was written", DamagedSplit)
    if (record.label_column, record.name) != (label_column, name):
        raise fault(version, f"{SPLITS}/{path.name} is the split of {record.label_column!r}", DamagedSplit)
    return StoredSplit(label_column=label_column, name=name, digest=record.digest, parts=parts, fields=record.fields)


def _record_path(version: Path, label_column: str, name: str) -> Path:
    if not NAME.fullmatch(name):
        raise InvalidName(f"{name[:80]!r} cannot be a split's name: lower-case letters, digits, '_' and '-'")
    # A column may have any name, a file may not.
    column = hashlib.blake2b(label_column.encode(), digest_size=8).hexdigest()
    return version / SPLITS / f"{column}.{name}.json"


def split_digest(parts: npt.NDArray[np.uint8]) -> str:
    """blake2b-128 of the rows' parts, 32 hexadecimal digits: it changes when any row changes its part."""
    return digest_of(b"jdq-split-1\0", parts.tobytes())
