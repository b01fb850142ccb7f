"""Garbage collection: leftovers of writers that died, and shards whose rows are also in larger shards."""

import contextlib
import functools
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from jdq.store.datasets.importing import IMPORTING
from jdq.store.errors import DamagedShard, StoreError
from jdq.store.files.publish import REMOVED, is_partial, remove
from jdq.store.keys import places_by_owner
from jdq.store.spaces.compact import BLOCK_KEYS
from jdq.store.spaces.counts import keep_owned
from jdq.store.spaces.feature_space import Space
from jdq.store.spaces.index import Mask
from jdq.store.spaces.quarantine import removal_lock
from jdq.store.store import Store, is_unfinished_space

# A reader that listed the shards before a compaction has this long to open them, and a copy of the store to finish.
GRACE_S = 3600.0
# A partial file that is younger may have a live writer, however short the requested grace period.
WRITER_GRACE_S = 600.0


@dataclass(slots=True, kw_only=True)
class GarbageReport:
    """What was removed, or would be (`dry_run`). `waiting` counts what is too young, or not safe to remove, yet.

    `unreadable`: what could not be read, so that nothing that depends on it was removed.
    """

    dry_run: bool
    leftovers: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    quarantined: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
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
    spaces, damaged = store.open_spaces()
    report = GarbageReport(dry_run=dry_run, unreadable=[str(error) for error in damaged.values()])
    now = time.time() if dry_run else _file_system_time(store.root)
    cutoff = now - grace_s
    for path in _leftovers(store.root):
        _remove(report, report.leftovers, path, min(cutoff, now - WRITER_GRACE_S))
    for space in spaces.values():
        space.index.read_only = dry_run
        try:
            # Before the lock: reading the keys of new shards takes the longest.
            space.index.refresh()
            with contextlib.nullcontext() if dry_run else removal_lock(space.path):
                _remove_replaced(report, space, cutoff)
                if unused:
                    _remove_unused(report, space, store, cutoff)
        except StoreError as error:
            report.unreadable.append(str(error))
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
        if is_unfinished_space(Path(folder)):
            folders.clear()
            yield Path(folder)


def _remove_replaced(report: GarbageReport, space: Space, cutoff: float) -> None:
    """Of several shards with the same key the largest owns it; shards that own no key are removed.

    No row is lost: what the index says is checked against the owners themselves, and an owner is never removed.
    """
    owned, sizes, alive = space.index.owned(), space.index.sizes(), space.index.alive()
    if not report.dry_run:
        keep_owned(space, owned)

    @functools.cache
    def is_sound(owner: int) -> bool:
        """Whether the shard is old enough. Raises DamagedShard where its bytes are not those that were written."""
        shard = space.examine(owner)
        shard.check()
        return shard.path.stat().st_mtime <= cutoff

    for number in np.flatnonzero(alive & (owned == 0)).tolist():
        if _is_replaced(space, number, alive & (owned > 0) & (sizes >= sizes[number]), is_sound):
            _remove(report, report.replaced, space.shard_path(space.index.names[number]), cutoff=None)
        else:
            report.waiting += 1


def _is_replaced(space: Space, number: int, owners: Mask, is_sound: Callable[[int], bool]) -> bool:
    """Whether each key of the shard is in an owner that is old enough and sound."""
    try:
        keys = space.examine(number).keys
        shards, rows = space.index.locate(keys, owners)
        return bool((shards >= 0).all()) and all(
            is_sound(owner)
            and np.array_equal(space.examine(owner).keys.take(rows[places], axis=0, mode="clip"), keys[places])
            for owner, places in places_by_owner(shards)
        )
    except (DamagedShard, FileNotFoundError):
        return False  # a damaged one is neither removed nor relied on


def _remove_unused(report: GarbageReport, space: Space, store: Store, cutoff: float) -> None:
    versions, damaged = store.datasets.open_all()
    if damaged:
        # Nobody knows which texts they have.
        report.unreadable += [str(error) for error in damaged.values() if str(error) not in report.unreadable]
        return
    space.index.refresh()
    unused = space.index.alive()
    for version in versions.values():
        for start in range(0, version.n_rows, BLOCK_KEYS):
            block = np.ascontiguousarray(version.keys()[start : start + BLOCK_KEYS])
            # Again until none is found: a key may be in several shards.
            while (used := np.unique(space.index.locate(block, unused)[0]))[-1] >= 0:
                unused[used[used >= 0]] = False
    for number in np.flatnonzero(unused).tolist():
        _remove(report, report.unused, space.shard_path(space.index.names[number]), cutoff)


def _remove(report: GarbageReport, listed: list[str], path: Path, cutoff: float | None) -> None:
    """Remove a file or folder if nothing in it was changed since `cutoff`, and note it."""
    with contextlib.suppress(FileNotFoundError):
        found = [file.lstat() for file in (path, *path.rglob("*"))]
        if cutoff is not None and max(status.st_mtime for status in found) > cutoff:
            report.waiting += 1
            return
        if not report.dry_run:
            remove(path, trash_in=path.parent)
        listed.append(str(path))
        report.size_bytes += sum(status.st_size for status in found)


def _file_system_time(root: Path) -> float:
    """Now, by the file system's clock: a file server's may differ from this machine's."""
    with tempfile.TemporaryFile(prefix=".clock-", dir=root) as file:
        return os.fstat(file.fileno()).st_mtime
