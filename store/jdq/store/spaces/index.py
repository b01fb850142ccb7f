"""The index: in which shard and row each key of a feature space is. The shards are the source of truth.

Segments of sorted keys, merged as a log-structured merge tree merges its runs. Any of their files may be deleted at any
time. A wrong entry never gives a wrong row: readers compare the requested key with the shard's (feature_space.py).
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jdq.store.errors import DamagedShard
from jdq.store.keys import Keys, halves
from jdq.store.spaces import segment
from jdq.store.spaces.index_cache import IndexCache
from jdq.store.spaces.mapped_shard import current_identity, open_shard
from jdq.store.spaces.segment import Positions, Segment

SHARD_FILE = re.compile(r"([0-9a-f]{32})\.h5")
# Below this many shards a cache file costs more than opening them saves.
WORTH_A_FILE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """For each requested key, in order: the number of a shard that has it (-1 for none), and the row there."""

    shards: Positions
    rows: Positions


@dataclass(frozen=True, slots=True)
class _Unreadable:
    identity: tuple[int, int] | None
    fact: str


@dataclass(frozen=True, slots=True)
class _Part:
    segment: Segment
    numbers: Positions


class Index:
    """The keys of one feature space as far as this process knows. Safe to use from several threads.

    A shard keeps its number as long as this object lives; `names[number]` is its name.
    """

    def __init__(self, space: str, shards: Path, cache: Path) -> None:
        self.names: list[str] = []
        self._space = space
        self._shards = shards
        self._cache = IndexCache(cache)
        self._numbers: dict[str, int] = {}
        self._indexed: set[str] = set()
        self._parts: list[_Part] = []
        self._unreadable: dict[str, _Unreadable] = {}
        self._fresh = False
        self._lock = threading.RLock()

    def locate(self, keys: Keys) -> Located:
        """Where the keys are, as of the last `refresh`."""
        with self._lock:
            if not self._fresh:
                self.refresh()
            high, low = halves(keys)
            located = Located(shards=np.full(len(keys), -1), rows=np.full(len(keys), -1))
            # Sorted look-ups share cache lines: among ten million keys they are many times as fast.
            todo = np.argsort(high)
            alive = np.fromiter((name in self._indexed for name in self.names), dtype=bool, count=len(self.names))
            for part in self._parts:
                entries = part.segment.find(high[todo], low[todo], alive[part.numbers])
                hits, todo, entries = todo[entries >= 0], todo[entries < 0], entries[entries >= 0]
                located.shards[hits] = part.numbers.take(part.segment.shard_numbers(entries), mode="clip")
                located.rows[hits] = part.segment.rows(entries)
            return located

    def refresh(self) -> None:
        """Learn which shards exist: list the folder, and read the keys of new shards."""
        with self._lock:
            existing = shard_names(self._shards)
            self._indexed &= existing
            self._fresh = True
            if new := existing - self._indexed - self._still_unreadable(existing):
                self._read_cache(new)
                self._read_shards(new - self._indexed)
                self._tidy()

    def add(self, name: str, keys: Keys) -> None:
        """Add a shard that this process has just published."""
        with self._lock:
            if self._fresh and name not in self._indexed:
                self._attach(segment.build({name: keys}), [name])
                self._tidy()

    def forget(self, name: str, fact: str, identity: tuple[int, int] | None) -> None:
        """Treat a damaged shard as missing, until another file takes its name."""
        with self._lock:
            self._unreadable[name] = _Unreadable(identity, fact)
            self._indexed.discard(name)

    def drop_damaged(self) -> bool:
        """Check each segment that was read from a file; True if one was damaged, and has been removed."""
        with self._lock:
            damaged = [part for part in self._parts if not part.segment.is_sound()]
            for part in damaged:
                self._cache.remove(part.segment)
                self._parts.remove(part)
                self._indexed.difference_update(part.segment.shards)
            return bool(damaged)

    def rebuild(self) -> None:
        """Forget all keys, remove the cache, and read the shards again."""
        with self._lock:
            self._parts.clear()
            self._indexed.clear()
            self._cache.clear()
            self.refresh()

    def count(self) -> int:
        """The number of different keys in the shards (two with the same high 64 bits count as one)."""
        with self._lock:
            self.refresh()
            if not self._indexed:
                return 0
            high = segment.merge([part.segment for part in self._parts], self._indexed).high
            return 1 + int(np.count_nonzero(high[1:] != high[:-1]))

    def unreadable(self) -> dict[str, str]:
        """The shards whose keys could not be read, by name, and why."""
        return {name: shard.fact for name, shard in self._unreadable.items()}

    def _still_unreadable(self, existing: set[str]) -> set[str]:
        """The unreadable shards whose files have not changed; the others are forgotten."""
        self._unreadable = {
            name: shard
            for name, shard in self._unreadable.items()
            if name in existing and shard.identity == current_identity(self._shards / f"{name}.h5")
        }
        return set(self._unreadable)

    def _read_cache(self, wanted: set[str]) -> None:
        for part in self._cache.segments(but={part.segment.path for part in self._parts}):
            if not wanted.isdisjoint(part.shards):
                self._attach(part, wanted)
                wanted = wanted.difference(part.shards)

    def _read_shards(self, names: Iterable[str]) -> None:
        keys: dict[str, Keys] = {}
        for name in sorted(names):
            path = self._shards / f"{name}.h5"
            try:
                # Copied, so that the file can be unmapped.
                keys[name] = open_shard(path, space=self._space).keys.copy()
            except FileNotFoundError:
                continue
            except DamagedShard as damage:
                self.forget(name, damage.fact, current_identity(path))
        if keys:
            self._attach(segment.build(keys), keys)

    def _attach(self, part: Segment, existing: Iterable[str]) -> None:
        for name in part.shards:
            if name not in self._numbers:
                self._numbers[name] = len(self.names)
                self.names.append(name)
        self._indexed.update(set(part.shards).intersection(existing))
        numbers = np.array([self._numbers[name] for name in part.shards], dtype=np.int64)
        self._parts.append(_Part(part, numbers))

    def _tidy(self) -> None:
        """Merge segments until each is over twice as long as the next shorter one; write those worth a file."""
        parts = sorted((part.segment for part in self._parts), key=len)
        self._parts.clear()
        while len(parts) > 1 and 2 * len(parts[0]) >= len(parts[1]):
            merged = segment.merge(parts[:2], self._indexed)
            parts = sorted([merged, *parts[2:]], key=len)
        for part in reversed(parts):
            if part.path is None and len(part.shards) >= WORTH_A_FILE:
                self._cache.write(part)
            self._attach(part, self._indexed)


def shard_names(folder: Path) -> set[str]:
    """The names of the shards in `folder`, which may not exist. Files with other names are no shards."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name[:32] for entry in entries if SHARD_FILE.fullmatch(entry.name)}
    except FileNotFoundError:
        return set()
