"""The files beside a version's table, in `imports/`, `spaces/` and `splits/`: none spoils another."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from jdq.store.datasets.names import InvalidName
from jdq.store.datasets.records import ImportRecord, RemovedDataset, SpaceRecord, SplitRecord, now_after
from jdq.store.files.digests import UnreadableFile, read_array, read_json, to_json
from jdq.store.files.publish import Content, publish, replace

IMPORTS, SPACES, SPLITS = "imports", "spaces", "splits"
DIGEST = re.compile(r"[0-9a-f]{32}")

T = TypeVar("T")


def put(path: Path, data: Content, *, overwrite: bool = False) -> None:
    """Write `path`, in a folder of a version. Raises RemovedDataset: it is never made again by a late file."""
    try:
        path.parent.mkdir(exist_ok=True)
        (replace if overwrite else publish)(path, data, make_folders=False)
    except FileNotFoundError:
        raise RemovedDataset(path.parent.parent) from None


def readable(paths: Iterable[Path], kind: type[T]) -> dict[Path, T]:
    """The records in those of these files that can be read."""
    records = {}
    for path in paths:
        record = _read(path, kind)
        if record is not None and not isinstance(record, UnreadableFile):
            records[path] = record
    return records


def faults(version: Path) -> list[UnreadableFile]:
    """The files that cannot be read."""
    kinds: dict[str, type[Any]] = {IMPORTS: ImportRecord, SPACES: SpaceRecord, SPLITS: SplitRecord}
    found = [_read(path, kinds[name]) for name in kinds for path in sorted((version / name).glob("[0-9a-f]*.*"))]
    return [fault for fault in found if isinstance(fault, UnreadableFile)]


def _read(path: Path, kind: type[T]) -> T | UnreadableFile | None:
    """The record or array in the file; None where it was removed meanwhile."""
    try:
        if path.suffix == ".npy":
            read_array(path)
            return None
        return read_json(path, kind)
    except FileNotFoundError:
        return None
    except UnreadableFile as error:
        return error


def record_space(version: Path, space: str, *, encoder: str, job: str) -> None:
    """Record the extraction as the newest. Raises InvalidName where `space` is not a digest."""
    if not DIGEST.fullmatch(space):
        raise InvalidName(f"{space[:80]!r} cannot be a feature space: 32 hexadecimal digits")
    known = recorded_spaces(version)
    at = now_after(known[0].recorded_at if known else None)
    record = SpaceRecord(space=space, encoder=encoder, job=job, recorded_at=at)
    put(version / SPACES / f"{space}.json", to_json(record), overwrite=True)


def recorded_spaces(version: Path) -> list[SpaceRecord]:
    """The newest first, without the files that cannot be read: the next extraction in that space replaces them."""
    paths = [path for path in (version / SPACES).glob("*.json") if DIGEST.fullmatch(path.stem)]
    records = [record for path, record in readable(paths, SpaceRecord).items() if record.space == path.stem]
    return sorted(records, key=lambda record: record.recorded_at, reverse=True)
