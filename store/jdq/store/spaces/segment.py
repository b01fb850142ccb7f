"""Segments: sorted keys and where their rows are, at 24 bytes per key, in memory or mapped from a cache file."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from jdq.store.errors import StoreError
from jdq.store.keys import Keys, halves
from jdq.store.publish import replace
from jdq.store.spaces.mmap_file import map_file
from jdq.store.spaces.shard import content_digest
from jdq.store.spaces.validator import opened_regular

MAGIC = b"JDQINDEX"
FORMAT_VERSION = 1
ENTRY_BYTES = 24
# The length of the header comes after the magic number; entries begin at the next multiple of 64.
LENGTH_BYTES = 8
LARGEST_HEADER = 1 << 28

Numbers = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.int64]


class SegmentHeader(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The header of a segment's file."""

    version: int
    entries: int
    digest: str
    shards: list[str]


@dataclass(slots=True, kw_only=True)
class Segment:
    """Entries sorted by the keys' high halves; `where` is the shard's number in `shards` times 2^32, plus the row.

    A key that is in several shards has several entries. `path` and `digest` are the segment's file, where it has one,
    and the digest of the entries that were written to it.
    """

    shards: list[str]
    high: Numbers
    low: Numbers
    where: Numbers
    path: Path | None = None
    digest: str | None = None

    def __len__(self) -> int:
        return len(self.high)

    def find(self, high: Numbers, low: Numbers, alive: npt.NDArray[np.bool_]) -> Positions:
        """For each key, in ascending order of `high`, an entry whose shard (by its number here) is alive, or -1."""
        at = np.searchsorted(self.high, high)
        matches = np.full(len(high), -1, dtype=np.int64)
        pending = np.flatnonzero(at < len(self))
        # More than one iteration only where a key is in several shards, or where keys share a half.
        while len(pending):
            entries = at[pending]
            same = self.high[entries] == high[pending]
            pending, entries = pending[same], entries[same]
            # Clipped: a damaged entry must not raise here. Readers compare the shard's own key.
            owners_alive = alive.take(self.shard_numbers(entries), mode="clip")
            hit = (self.low[entries] == low[pending]) & owners_alive
            matches[pending[hit]] = entries[hit]
            pending = pending[~hit]
            at[pending] += 1
            pending = pending[at[pending] < len(self)]
        return matches

    def shard_numbers(self, entries: Positions | slice) -> Positions:
        """The number in `shards` of each entry's shard."""
        return (self.where[entries] >> np.uint64(32)).astype(np.int64)

    def rows(self, entries: Positions) -> Positions:
        """The row in its shard of each entry."""
        return (self.where[entries] & np.uint64(0xFFFFFFFF)).astype(np.int64)

    def is_sound(self) -> bool:
        """Whether the entries are those that were written; always true of a segment made in memory."""
        return self.digest is None or self.digest == _digest(self)


def build(shards: Mapping[str, Keys]) -> Segment:
    """The segment of these shards' keys."""
    high, low = halves(np.concatenate(list(shards.values())))
    where = np.concatenate(
        [
            np.arange(number << 32, (number << 32) + len(keys), dtype=np.uint64)
            for number, keys in enumerate(shards.values())
        ]
    )
    return _sorted(list(shards), high, low, where)


def find(part: Segment, keys: Keys) -> Positions:
    """For each key, in any order, its entry in the segment, or -1."""
    high, low = halves(keys)
    order = np.argsort(high)
    entries = np.empty(len(keys), dtype=np.int64)
    entries[order] = part.find(high[order], low[order], np.ones(len(part.shards), dtype=bool))
    return entries


def merge(segments: Sequence[Segment], alive: frozenset[str] | set[str]) -> Segment:
    """One segment of the entries that these have for the shards in `alive`, each shard once."""
    numbers: dict[str, int] = {}
    parts = []
    for segment in segments:
        taken = np.array([name in alive and name not in numbers for name in segment.shards], dtype=bool)
        renumbered = np.zeros(len(segment.shards), dtype=np.uint64)
        for number in np.flatnonzero(taken):
            renumbered[number] = numbers.setdefault(segment.shards[number], len(numbers))
        owners = segment.shard_numbers(slice(None))
        kept = np.flatnonzero(taken[owners])
        where = (renumbered[owners[kept]] << np.uint64(32)) + segment.rows(kept).astype(np.uint64)
        parts.append((segment.high[kept], segment.low[kept], where))
    high, low, where = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return _sorted(list(numbers), high, low, where)


def _sorted(shards: list[str], high: Numbers, low: Numbers, where: Numbers) -> Segment:
    # Stable sorting of runs that are already sorted, as in a merge, is a merge.
    order = np.argsort(high, kind="stable")
    return Segment(shards=shards, high=high[order], low=low[order], where=where[order])


def write(segment: Segment, path: Path) -> None:
    """Write the segment to the cache file `path`. Not durable: a torn file fails its digest."""
    digest = _digest(segment)
    header = msgspec.json.encode(
        SegmentHeader(version=FORMAT_VERSION, entries=len(segment), digest=digest, shards=segment.shards)
    )
    front = MAGIC + len(header).to_bytes(LENGTH_BYTES, "little") + header
    columns = [np.ascontiguousarray(c).data.cast("B") for c in (segment.high, segment.low, segment.where)]
    replace(path, [front, bytes(-len(front) % 64), *columns], durable=False)
    segment.path, segment.digest = path, digest


def read(path: Path) -> Segment | None:
    """The segment in a cache file, mapped, its digest not yet checked; None where the file is missing or invalid."""
    with (
        contextlib.suppress(OSError, ValueError, msgspec.MsgspecError, StoreError),
        opened_regular(path) as (fd, status),
    ):
        return _parse(map_file(fd, status.st_size), path)
    return None


def _parse(memory: npt.NDArray[np.uint8], path: Path) -> Segment | None:
    front = len(MAGIC) + LENGTH_BYTES
    length = int.from_bytes(memory[len(MAGIC) : front].tobytes(), "little")
    if memory[: len(MAGIC)].tobytes() != MAGIC or length > LARGEST_HEADER:
        return None
    header = msgspec.json.decode(memory[front : front + length].tobytes(), type=SegmentHeader)
    start = -(-(front + length) // 64) * 64
    known = header.version == FORMAT_VERSION and header.shards and header.entries > 0
    if not known or start + header.entries * ENTRY_BYTES != len(memory):
        return None
    high, low, where = memory[start:].view(np.uint64).reshape(3, header.entries)
    return Segment(shards=header.shards, high=high, low=low, where=where, path=path, digest=header.digest)


def _digest(segment: Segment) -> str:
    return content_digest(segment.high.data, segment.low.data, segment.where.data)
