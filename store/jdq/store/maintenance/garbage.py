"""Garbage collection: leftovers of writers that died, and shards whose rows are also in larger shards."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from jdq.store.datasets.importing import IMPORTING
from jdq.store.errors import DamagedShard
from jdq.store.keys import halves
from jdq.store.publish import REMOVED, is_partial, sync
from jdq.store.spaces import segment
from jdq.store.spaces.feature_space import Space
from jdq.store.spaces.mapped_shard import MappedShard, open_shard
from jdq.store.spaces.quarantine import removal_lock
from jdq.store.spaces.segment import Positions
from jdq.store.store import Store

# A reader that listed the shards before a compaction has this long to open them, and a copy of the store to finish.
GRACE_S = 3600.0
# A partial file that is younger may have a live writer, however short the requested grace period.
WRITER_GRACE_S = 600.0


@dataclass(slots=True, kw_only=True)
class GarbageReport:
    """What was removed, or would be (`dry_run`). `waiting` counts what is too young, or not safe to remove, yet."""

    dry_run: bool
    leftovers: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    quarantined: list[str] = field(default_factory=list)
    waiting: int = 0
    size_bytes: int = 0


def collect_garbage(
    store: Store, *, dry_run: bool = False, unused: bool = False, quarantined: bool = False, grace_s: float = GRACE_S
) -> GarbageReport:
    """Remove what is older than `grace_s` seconds and not needed, while others use the store.

    Always: partial files and folders, and shards each of whose rows is also in a larger shard whose digests are
    right. `unused`: also shards none of whose texts is in any dataset (one that is being imported may have to be
    extracted again). `quarantined`: also what failed a check.
    """
    report = GarbageReport(dry_run=dry_run)
    now = _file_system_time(store.root)
    cutoff = now - grace_s
    for path in _leftovers(store.root):
        _remove(report, report.leftovers, path, min(cutoff, now - WRITER_GRACE_S))
    for space in store.spaces():
        with removal_lock(space.path):
            shards = _sound_shards(space)
            removed = _remove_replaced(report, shards, cutoff)
            if unused:
                _remove_unused(report, [shard for shard in shards if shard not in removed], store, cutoff)
        if quarantined:
            for path in sorted((space.path / "quarantine").glob("*.h5")):
                _remove(report, report.quarantined, path, cutoff)
    return report


def _leftovers(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        yield from (Path(folder) / name for name in files if is_partial(name))
        for name in [name for name in folders if name.startswith((IMPORTING, REMOVED))]:
            folders.remove(name)
            yield Path(folder) / name


def _sound_shards(space: Space) -> list[MappedShard]:
    """The shards whose keys are intact, the smallest first. A damaged one is neither removed nor relied on."""
    shards = []
    for name in space.shard_names():
        with contextlib.suppress(DamagedShard, FileNotFoundError):
            shards.append(open_shard(space.shard_path(name), space=space.digest))
    return sorted(shards, key=lambda shard: (shard.header.rows, shard.path.name))


def _remove_replaced(report: GarbageReport, shards: Sequence[MappedShard], cutoff: float) -> set[MappedShard]:
    """Of several shards with the same key the largest owns it; shards that own no key are removed.

    No row is lost: the owner of a key is never removed.
    """
    removed: set[MappedShard] = set()
    sound: dict[int, bool] = {}
    for number, owners in _owners_of_replaced(shards).items():
        if all(_replaces(shards[owner], owner, sound, cutoff) for owner in owners):
            removed.add(shards[number])
            _remove(report, report.replaced, shards[number].path, cutoff=None)
        else:
            report.waiting += 1
    return removed


def _owners_of_replaced(shards: Sequence[MappedShard]) -> dict[int, Positions]:
    """For each shard that owns no key (by its position, from the smallest): the positions of the owners of its keys."""
    if len(shards) < 2:
        return {}
    high, low = halves(np.concatenate([shard.keys for shard in shards]))
    holder = np.repeat(np.arange(len(shards)), [len(shard.keys) for shard in shards])
    order = np.lexsort((-holder, low, high))
    high, low, holder = high[order], low[order], holder[order]
    first = np.ones(len(high), dtype=bool)
    first[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
    owner = holder[first][np.cumsum(first) - 1]
    owned = np.bincount(owner, minlength=len(shards))
    return {int(number): np.unique(owner[holder == number]) for number in np.flatnonzero(owned == 0)}


def _replaces(shard: MappedShard, position: int, sound: dict[int, bool], cutoff: float) -> bool:
    """Whether the shard is old enough and its bytes are those that were written."""
    if position not in sound:
        try:
            sound[position] = shard.path.stat().st_mtime <= cutoff
            shard.check()
        except (DamagedShard, FileNotFoundError):
            sound[position] = False
    return sound[position]


def _remove_unused(report: GarbageReport, shards: Sequence[MappedShard], store: Store, cutoff: float) -> None:
    if store.datasets.damaged():
        return  # nobody knows which texts a damaged dataset has
    used = [version.keys() for version in store.datasets.list()]
    known = segment.build({"datasets": np.concatenate(used)}) if used else None
    for shard in shards:
        if known is None or (segment.find(known, shard.keys) < 0).all():
            _remove(report, report.unused, shard.path, cutoff)


def _remove(report: GarbageReport, listed: list[str], path: Path, cutoff: float | None) -> None:
    """Remove a file or folder if it was last changed before `cutoff`, and note it."""
    with contextlib.suppress(FileNotFoundError):
        status = path.lstat()
        if cutoff is not None and status.st_mtime > cutoff:
            report.waiting += 1
            return
        if not report.dry_run:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
                sync(path.parent)
        listed.append(str(path))
        report.size_bytes += status.st_size


def _file_system_time(root: Path) -> float:
    """Now, by the file system's clock: a file server's may differ from this machine's."""
    fd, name = tempfile.mkstemp(prefix=".clock-", dir=root)
    try:
        return os.fstat(fd).st_mtime
    finally:
        os.close(fd)
        os.unlink(name)  # noqa: PTH108
