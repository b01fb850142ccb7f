"""A sorted run of keys and where their rows are: 24 bytes a key, in memory or mapped from a cache file."""

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
# The header's length, after the magic; the entries begin at the next multiple of 64.
LENGTH_BYTES = 8
LARGEST_HEADER = 1 << 28

Numbers = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.int64]


class SegmentHeader(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a segment's file says of itself."""

    version: int
    entries: int
    digest: str
    shards: list[str]


@dataclass(slots=True, kw_only=True)
class Segment:
    """Entries sorted by the keys' high halves; `where` is the shard's number in `shards` times 2^32, plus the row.

    A key that stands in several shards has several entries. `digest` is that of the entries as they were written, where
    they came from the file `path`.
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
        found = np.full(len(high), -1, dtype=np.int64)
        open_ = np.flatnonzero(at < len(self))
        # More than one turn only where a key stands in two shards, or where two keys share a half.
        while len(open_):
            entries = at[open_]
            same = self.high[entries] == high[open_]
            open_, entries = open_[same], entries[same]
            # Clipped: a damaged entry must not raise here. Readers compare the shard's own key before they trust it.
            owners_alive = alive.take(self.shard_numbers(entries), mode="clip")
            hit = (self.low[entries] == low[open_]) & owners_alive
            found[open_[hit]] = entries[hit]
            open_ = open_[~hit]
            at[open_] += 1
            open_ = open_[at[open_] < len(self)]
        return found

    def shard_numbers(self, entries: Positions | slice) -> Positions:
        """The number in `shards` of the shard that each entry points into."""
        return (self.where[entries] >> np.uint64(32)).astype(np.int64)

    def rows(self, entries: Positions) -> Positions:
        """The row in its shard that each entry points at."""
        return (self.where[entries] & np.uint64(0xFFFFFFFF)).astype(np.int64)

    def is_sound(self) -> bool:
        """Whether the entries are those that were written (a segment made in memory is)."""
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
    """One segment of all that these say about the shards in `alive`, each shard once."""
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
    # Stable: on runs that are sorted already, as in a merge, it is a merge.
    order = np.argsort(high, kind="stable")
    return Segment(shards=shards, high=high[order], low=low[order], where=where[order])


def write(segment: Segment, path: Path) -> None:
    """Write the segment as the cache file `path`. Not durable: a torn file does not pass its own digest."""
    digest = _digest(segment)
    header = msgspec.json.encode(
        SegmentHeader(version=FORMAT_VERSION, entries=len(segment), digest=digest, shards=segment.shards)
    )
    front = MAGIC + len(header).to_bytes(LENGTH_BYTES, "little") + header
    columns = [np.ascontiguousarray(c).data.cast("B") for c in (segment.high, segment.low, segment.where)]
    replace(path, [front, bytes(-len(front) % 64), *columns], durable=False)
    segment.path, segment.digest = path, digest


def read(path: Path) -> Segment | None:
    """The segment in a cache file, mapped, its entries not yet checked; None where the file is gone or is not one."""
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
