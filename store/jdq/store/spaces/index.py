"""The index: in which shard and row each key of a feature space is. The shards are the source of truth.

Segments of sorted keys, merged as a log-structured merge tree merges its runs. Any of their files may be deleted at any
time; one that was damaged is not read. A wrong entry never gives a wrong row: readers compare the requested key with
the shard's (feature_space.py).
"""

import contextlib
import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from jdq.store.errors import CannotRead, DamagedShard
from jdq.store.fork_lock import fork_lock
from jdq.store.keys import Keys, halves
from jdq.store.spaces import segment
from jdq.store.spaces.mapped_shard import Identity, current_identity, open_shard
from jdq.store.spaces.segment import Positions, Segment

SHARD_FILE = re.compile(r"([0-9a-f]{32})\.h5")
# Below this many shards, and keys, a cache file costs more than opening them saves.
WORTH_A_FILE = 8
WORTH_A_FILE_KEYS = 1 << 21

Mask = npt.NDArray[np.bool_]


class Index:
    """The keys of one feature space as far as this process knows. Safe to use from several threads.

    A shard keeps its number as long as this object lives; `names[number]` is its name. With `read_only` no file of the
    folder `cache` is written or removed; it need not be writable in any case.
    """

    def __init__(self, space: str, shards: Path, cache: Path) -> None:
        self.names: list[str] = []
        self.read_only = False
        self._space = space
        self._shards = shards
        self._cache = cache
        self._numbers: dict[str, int] = {}
        self._indexed: set[str] = set()
        self._parts: list[Segment] = []
        self._unreadable: dict[str, tuple[Identity | None, str]] = {}
        self._lock = fork_lock()

    def locate(self, keys: Keys, among: Mask | None = None) -> tuple[Positions, Positions]:
        """For each key, the number of a shard that has it (-1 for none), and the row there; as of the last `refresh`.

        `among`: only in the shards whose numbers are true there; it may end before the last.
        """
        with self._lock:
            alive = self.alive() if among is None else np.pad(among, (0, len(self.names) - len(among)))
            high, low = halves(keys)
            shards, rows = np.full(len(keys), -1), np.full(len(keys), -1)
            # Sorted look-ups share cache lines: among ten million keys they are many times as fast.
            todo = np.argsort(high)
            for part in self._parts:
                entries = part.find(high[todo], low[todo], alive[part.numbers])
                hits, todo, entries = todo[entries >= 0], todo[entries < 0], entries[entries >= 0]
                owners, rows[hits] = segment.places(part.entries[2][entries])
                shards[hits] = part.numbers[owners]
            return shards, rows

    def alive(self) -> Mask:
        """By number: whether the shard exists, as of the last `refresh`, and can be read."""
        return np.fromiter((name in self._indexed for name in self.names), dtype=bool, count=len(self.names))

    def sizes(self) -> Positions:
        """By number: the rows of each shard that is alive; 0 for the others."""
        with self._lock:
            sizes = np.zeros(len(self.names), dtype=np.int64)
            for part in self._parts:
                sizes[part.numbers] = part.sizes()
            return np.where(self.alive(), sizes, 0)

    def owned(self) -> Positions:
        """By number: how many keys each shard owns: of several with one key, that with the most rows (or by name)."""
        with self._lock:
            shards, numbers = segment.plan_merge(self._parts, self._indexed)
            mine = np.array([self._numbers[name] for name in shards], dtype=np.int64)
            by_size = np.lexsort((np.array(shards, dtype="S32"), self.sizes()[mine]))
            rank = np.argsort(by_size)
            owned = np.zeros(len(self.names), dtype=np.int64)
            for high, low, where in segment.merged(self._parts, numbers):
                if len(high):
                    # Entries of one key are adjacent.
                    firsts = np.flatnonzero((np.diff(high) != 0) | (np.diff(low) != 0)) + 1
                    owners = np.maximum.reduceat(rank[segment.places(where)[0]], np.append(0, firsts))
                    owned[mine] += np.bincount(owners, minlength=len(mine))[rank]
            return owned

    def refresh(self) -> None:
        """Learn which shards exist: list the folder, and read the keys of new shards."""
        with self._lock:
            existing = shard_names(self._shards)
            self._indexed &= existing
            self._unreadable = {
                name: (identity, fact)
                for name, (identity, fact) in self._unreadable.items()
                if name in existing and identity == current_identity(self._shards / f"{name}.h5")
            }
            if new := existing - self._indexed - self._unreadable.keys():
                self._read_cache(new)
                self._read_shards(new - self._indexed)
                self._tidy()

    def forget(self, damage: DamagedShard, identity: Identity | None = None) -> None:
        """Treat a damaged shard as missing until its name has a file of another `identity` (by default the current)."""
        with self._lock:
            self._unreadable[damage.path.stem] = identity or current_identity(damage.path), damage.fact
            self._indexed.discard(damage.path.stem)

    def rebuild(self) -> None:
        """Forget all keys, remove the cache, and read the shards again."""
        with self._lock:
            self._parts.clear()
            self._indexed.clear()
            for path in segment.paths(self._cache):
                with contextlib.suppress(OSError):
                    path.unlink()
            self.refresh()

    def unreadable(self) -> dict[str, str]:
        """The shards whose keys could not be read, by name, and why."""
        return {name: fact for name, (_, fact) in self._unreadable.items()}

    def _read_cache(self, wanted: set[str]) -> None:
        known = {part.path for part in self._parts}
        read = [segment.read(path) for path in segment.paths(self._cache) if path not in known]
        # The longest first: they have what the others have, too.
        for part in sorted((part for part in read if part is not None), key=len, reverse=True):
            if not wanted.isdisjoint(part.shards):
                self._attach(part, wanted)
                wanted = wanted.difference(part.shards)

    def _read_shards(self, names: Iterable[str]) -> None:
        keys: dict[str, Keys] = {}
        for name in sorted(names):
            try:
                keys[name] = open_shard(self._shards / f"{name}.h5", space=self._space).keys
            except FileNotFoundError:
                continue
            except DamagedShard as damage:
                self.forget(damage)
            if sum(map(len, keys.values())) >= WORTH_A_FILE_KEYS:
                self._attach(self._merged([segment.build(keys)], keys), keys)
                keys = {}
        if keys:
            self._attach(segment.build(keys), keys)

    def _attach(self, part: Segment, existing: Iterable[str]) -> None:
        for name in part.shards:
            if name not in self._numbers:
                self._numbers[name] = len(self.names)
                self.names.append(name)
        self._indexed.update(set(part.shards).intersection(existing))
        part.numbers = np.array([self._numbers[name] for name in part.shards], dtype=np.int64)
        self._parts.append(part)

    def _tidy(self) -> None:
        """Merge segments until each is over twice as long as all shorter ones; write those worth a file."""
        parts = sorted(self._parts, key=len)
        lengths = np.cumsum([len(part) for part in parts])
        many = 1 + max(
            (number for number in range(1, len(parts)) if 2 * lengths[number - 1] >= len(parts[number])), default=0
        )
        self._parts.clear()
        for part in [*reversed(parts[many:]), *([self._merged(parts[:many], self._indexed)] if parts else [])]:
            if part.shards:
                self._attach(part, self._indexed)

    def _merged(self, parts: list[Segment], alive: Collection[str]) -> Segment:
        """One segment of these parts, in a file where that is worth it and possible; it replaces those it covers."""
        shards = {name for part in parts for name in part.shards if name in alive}
        worth = len(shards) >= WORTH_A_FILE or sum(map(len, parts)) >= WORTH_A_FILE_KEYS
        if shards and len(parts) == 1 and (parts[0].path is not None or not worth):
            return parts[0]
        if shards and worth and not self.read_only:
            with contextlib.suppress(OSError):
                written = segment.write(self._cache, parts, alive)
                for part in parts if written else ():
                    # Only those with strictly fewer shards: then two processes never remove each other's files.
                    if part.path is not None and shards > set(part.shards):
                        part.path.unlink()
                if written:
                    return written
        return segment.merge(parts, alive)


def shard_names(folder: Path) -> set[str]:
    """The names of the shards in `folder`, which may not exist. Files with other names are no shards."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name[:32] for entry in entries if SHARD_FILE.fullmatch(entry.name)}
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise CannotRead.by(error, folder) from error
