"""The files beside a version's table, in `imports/`, `spaces/` and `splits/`: none spoils another."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from jdq.store.datasets.records import ImportRecord, RemovedDataset, SpaceRecord, SplitRecord
from jdq.store.errors import StoreError, read_each
from jdq.store.files.digests import read_array, read_json
from jdq.store.files.publish import Content, publish, replace

IMPORTS, SPACES, SPLITS = "imports", "spaces", "splits"
KINDS: dict[str, type[Any]] = {IMPORTS: ImportRecord, SPACES: SpaceRecord, SPLITS: SplitRecord}
DIGEST = re.compile(r"[0-9a-f]{32}")


def put(path: Path, data: Content, *, overwrite: bool = False) -> None:
    """Write `path`, in a folder of a version. Raises RemovedDataset: it is never made again by a late file."""
    try:
        path.parent.mkdir(exist_ok=True)
        (replace if overwrite else publish)(path, data, make_folders=False)
    except FileNotFoundError:
        raise RemovedDataset(path.parent.parent) from None


def unreadable(version: Path) -> dict[Path, StoreError]:
    """The files that cannot be read, and why."""

    def read(path: Path) -> None:
        if path.suffix == ".npy":
            read_array(path)
        else:
            read_json(path, KINDS[path.parent.name])

    return read_each([path for name in KINDS for path in sorted((version / name).glob("[0-9a-f]*.*"))], read)[1]
