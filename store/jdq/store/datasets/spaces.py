"""The feature spaces a dataset version was extracted in: `spaces/<space>.json`, the last extraction in each."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from jdq.store.datasets.names import InvalidName
from jdq.store.datasets.records import DamagedDataset, SpaceRecord, now_after, read_record, to_json
from jdq.store.publish import replace

SPACES = "spaces"
SPACE = re.compile(r"[0-9a-f]{32}")


def record_space(version: Path, space: str, *, encoder: str, job: str) -> None:
    """Record the extraction as the newest. Raises InvalidName where `space` is not a digest."""
    if not SPACE.fullmatch(space):
        raise InvalidName(f"{space[:80]!r} cannot be a feature space: 32 hexadecimal digits")
    known = recorded_spaces(version)
    at = now_after(known[0].recorded_at if known else None)
    record = SpaceRecord(space=space, encoder=encoder, job=job, recorded_at=at)
    replace(version / SPACES / f"{space}.json", to_json(record))


def recorded_spaces(version: Path) -> list[SpaceRecord]:
    """The newest first."""
    records = []
    for path in (version / SPACES).glob("*.json"):
        if not SPACE.fullmatch(path.stem):
            continue  # a partial file
        try:
            record = read_record(path, SpaceRecord)
        except msgspec.MsgspecError as error:
            raise DamagedDataset(version, f"{SPACES}/{path.name}: {error}") from None
        if record.space != path.stem:
            raise DamagedDataset(version, f"{SPACES}/{path.name} is of the feature space {record.space}")
        records.append(record)
    return sorted(records, key=lambda record: record.recorded_at, reverse=True)
