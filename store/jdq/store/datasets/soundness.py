"""Whether the files of a dataset version are those that were written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from jdq.store.datasets.contents import KEYS, N_BYTES, RECORD, TABLE
from jdq.store.datasets.importing import VERSION_DIGITS
from jdq.store.datasets.records import FORMAT_VERSION, DatasetRecord, FileRecord, fault
from jdq.store.errors import StoreFormatError
from jdq.store.files.digests import UnreadableFile, read_json


def read_dataset_record(path: Path) -> DatasetRecord:
    """The record of the version in the folder `path`; its files have the recorded sizes.

    Raises DamagedDataset, RemovedDataset, and StoreFormatError for a version that a newer jdq wrote.
    """
    try:
        head = read_json(path / RECORD, _Head)
        if head.format != "jdq-dataset" or head.format_version > FORMAT_VERSION:
            raise StoreFormatError(
                f"{path / RECORD} is of format {head.format} {head.format_version}; this jdq reads jdq-dataset up to "
                f"{FORMAT_VERSION}\n  try: pip install --upgrade jdq"
            )
        record = read_json(path / RECORD, DatasetRecord)
    except (FileNotFoundError, UnreadableFile) as error:
        raise fault(path, f"{RECORD}: {error}") from None
    if record != record.with_digest():
        raise fault(path, f"{RECORD} has changed since it was written")
    if record.digest[:VERSION_DIGITS] != path.name or record.text_column not in record.columns:
        raise fault(path, f"{RECORD} is of another version: {record.digest}")
    _check_sizes(path, record.files)
    return record


class _Head(msgspec.Struct):
    format: str
    format_version: int


def _check_sizes(path: Path, files: Mapping[str, FileRecord]) -> None:
    if set(files) != {TABLE, KEYS, N_BYTES}:
        raise fault(path, f"{RECORD} names the files {sorted(files)}")
    for name, written in files.items():
        try:
            size = (path / name).stat().st_size
        except OSError as error:
            raise fault(path, f"{name}: {error.strerror}") from None
        if size != written.size_bytes:
            raise fault(path, f"{name} has {size} bytes, {written.size_bytes} were written")
