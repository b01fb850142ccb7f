"""The feature spaces a dataset version was extracted in: `spaces/<space>.json`, the last extraction in each."""

from __future__ import annotations

import re
from pathlib import Path

from jdq.store.datasets.names import InvalidName
from jdq.store.datasets.records import SpaceRecord, now_after
from jdq.store.datasets.side_files import SPACES, put, readable
from jdq.store.files.digests import to_json

SPACE = re.compile(r"[0-9a-f]{32}")


def record_space(version: Path, space: str, *, encoder: str, job: str) -> None:
    """Record the extraction as the newest. Raises InvalidName where `space` is not a digest."""
    if not SPACE.fullmatch(space):
        raise InvalidName(f"{space[:80]!r} cannot be a feature space: 32 hexadecimal digits")
    known = recorded_spaces(version)
    at = now_after(known[0].recorded_at if known else None)
    record = SpaceRecord(space=space, encoder=encoder, job=job, recorded_at=at)
    put(version / SPACES / f"{space}.json", to_json(record), overwrite=True)


def recorded_spaces(version: Path) -> list[SpaceRecord]:
    """The newest first, without the files that cannot be read: the next extraction in that space replaces them."""
    paths = [path for path in (version / SPACES).glob("*.json") if SPACE.fullmatch(path.stem)]
    records = [record for path, record in readable(paths, SpaceRecord).items() if record.space == path.stem]
    return sorted(records, key=lambda record: record.recorded_at, reverse=True)
