"""Segments: sorted keys and where their rows are, at 24 bytes per key, in memory or mapped from a cache file."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import msgspec
import numpy as np
import numpy.typing as npt

from jdq.store.errors import StoreError
from jdq.store.files.digests import digest_of_blocks, read_blocks
from jdq.store.files.publish import replace
from jdq.store.keys import Keys, halves
from jdq.store.spaces.mmap_file import map_file
from jdq.store.spaces.validator import opened_regular

SUFFIX = ".keys"
MAGIC = b"JDQINDEX"
FORMAT_VERSION = 1
ENTRY_BYTES = 24
# The length of the header comes after the magic number; entries begin at the next multiple of 64.
LENGTH_BYTES = 8
LARGEST_HEADER = 1 << 28
# Entries that are merged at a time: 24 bytes each, a few times over.
RANGE_ENTRIES = 1 << 21

Numbers = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.int64]


class SegmentHeader(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The header of a segment's file."""

    version: int
    entries: int
    digest: str
    shards: list[str]


@dataclass(slots=True, kw_only=True)
class Entries:
    """Keys in ascending order of their high halves; `where` is the number of a shard times 2^32, plus the row."""

    high: Numbers
    low: Numbers
    where: Numbers

    def __len__(self) -> int:
        return len(self.high)

    def shard_numbers(self, entries: Positions | slice) -> Positions:
        """The number of each entry's shard."""
        return (self.where[entries] >> np.uint64(32)).astype(np.int64)

    def rows(self, entries: Positions | slice) -> Positions:
        """The row in its shard of each entry."""
        return (self.where[entries] & np.uint64(0xFFFFFFFF)).astype(np.int64)

    def first(self) -> npt.NDArray[np.bool_]:
        """(n,) bool: False where the entry before has the same key."""
        first = np.ones(len(self), dtype=bool)
        first[1:] = (self.high[1:] != self.high[:-1]) | (self.low[1:] != self.low[:-1])
        return first


@dataclass(slots=True, kw_only=True)
class Segment(Entries):
    """The entries of `shards`, as `where` numbers them; several for a key in several. `path`: its file, if any.

    `numbers`: what the index calls these shards.
    """

    shards: list[str]
    path: Path | None = None
    numbers: Positions = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

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
            hit = (self.low[entries] == low[pending]) & alive[self.shard_numbers(entries)]
            matches[pending[hit]] = entries[hit]
            pending = pending[~hit]
            at[pending] += 1
            pending = pending[at[pending] < len(self)]
        return matches

    def sizes(self) -> Positions:
        """The number of entries of each shard in `shards`."""
        sizes = np.zeros(len(self.shards), dtype=np.int64)
        for start in range(0, len(self), RANGE_ENTRIES):
            sizes += np.bincount(self.shard_numbers(slice(start, start + RANGE_ENTRIES)), minlength=len(self.shards))
        return sizes


def build(shards: Mapping[str, Keys]) -> Segment:
    """The segment of these shards' keys."""
    high, low = halves(np.concatenate(list(shards.values())))
    where = np.concatenate(
        [
            np.arange(number << 32, (number << 32) + len(keys), dtype=np.uint64)
            for number, keys in enumerate(shards.values())
        ]
    )
    order = np.argsort(high, kind="stable")
    return Segment(shards=list(shards), high=high[order], low=low[order], where=where[order])


def find(part: Segment, keys: Keys, *, shard: str | None = None) -> Positions:
    """For each key, in any order, its entry in the segment (for `shard`, or for any), or -1."""
    high, low = halves(keys)
    order = np.argsort(high)
    entries = np.empty(len(keys), dtype=np.int64)
    alive = np.array([shard in (None, name) for name in part.shards])
    entries[order] = part.find(high[order], low[order], alive)
    return entries


def merged(segments: Sequence[Segment], numbers: Sequence[Positions]) -> Iterator[Entries]:
    """The entries of all segments, merged by key, a range of keys at a time: memory is bounded.

    `numbers[i]` are the new numbers of the i-th segment's shards, or -1 for those whose entries are left out.
    """
    ranges = max(-(-sum(map(len, segments)) // RANGE_ENTRIES), 1)
    # Keys are digests, so equal ranges hold about equally many.
    bounds = np.array([(number << 64) // ranges for number in range(1, ranges)], dtype=np.uint64)
    ends = [[0, *np.searchsorted(part.high, bounds).tolist(), len(part)] for part in segments]
    for columns in zip(*(itertools.pairwise(end) for end in ends), strict=True):
        pieces = [_renumbered(*each) for each in zip(segments, numbers, columns, strict=True)]
        high, low, where = (np.concatenate(column) for column in zip(*pieces, strict=True))
        # Stable sorting of runs that are already sorted is a merge.
        order = np.argsort(high, kind="stable")
        yield Entries(high=high[order], low=low[order], where=where[order])


def _renumbered(part: Segment, numbers: Positions, bounds: tuple[int, int]) -> tuple[Numbers, Numbers, Numbers]:
    piece = slice(*bounds)
    owners = numbers[part.shard_numbers(piece)]
    kept = owners >= 0
    where = (owners[kept].astype(np.uint64) << np.uint64(32)) + part.rows(piece)[kept].astype(np.uint64)
    return part.high[piece][kept], part.low[piece][kept], where


def plan_merge(segments: Sequence[Segment], alive: Collection[str]) -> tuple[list[str], list[Positions]]:
    """The shards of a merged segment, each once and only those that are alive; and the `numbers` for `merged`."""
    shards: dict[str, int] = {}
    numbers = []
    for part in segments:
        mine = np.full(len(part.shards), -1, dtype=np.int64)
        for number, name in enumerate(part.shards):
            if name in alive and name not in shards:
                shards[name] = mine[number] = len(shards)
        numbers.append(mine)
    return list(shards), numbers


def merge(segments: Sequence[Segment], alive: Collection[str]) -> Segment:
    """One segment in memory of the entries that these have for the shards in `alive`, each shard once."""
    shards, numbers = plan_merge(segments, alive)
    pieces = list(merged(segments, numbers))
    high, low, where = (
        np.concatenate([getattr(piece, column) for piece in pieces]) for column in ("high", "low", "where")
    )
    return Segment(shards=shards, high=high, low=low, where=where)


def write(path: Path, segments: Sequence[Segment], alive: Collection[str]) -> Segment:
    """Merge the segments into the cache file `path`, and map it. Not durable: a torn file fails its digest.

    Raises OSError.
    """
    shards, numbers = plan_merge(segments, alive)
    entries = sum(int(part.sizes()[mine >= 0].sum()) for part, mine in zip(segments, numbers, strict=True))
    blank = SegmentHeader(version=FORMAT_VERSION, entries=entries, digest="0" * 32, shards=shards)
    start, written = len(_front(blank)), []

    def content(file: IO[bytes]) -> None:
        done = 0
        for piece in merged(segments, numbers):
            for number, column in enumerate((piece.high, piece.low, piece.where)):
                file.seek(start + (number * entries + done) * 8)
                file.write(column.data.cast("B"))
            done += len(piece)
        file.flush()
        digest = digest_of_blocks(read_blocks(file.fileno(), start, entries * ENTRY_BYTES), fast=True)
        file.seek(0)
        file.write(_front(msgspec.structs.replace(blank, digest=digest)))
        file.flush()
        written.append(_segment(map_file(file.fileno(), start + entries * ENTRY_BYTES), start, shards, path))

    replace(path, content, durable=False)
    return written[0]


def _front(header: SegmentHeader) -> bytes:
    text = msgspec.json.encode(header)
    front = MAGIC + len(text).to_bytes(LENGTH_BYTES, "little") + text
    return front + bytes(-len(front) % 64)


def paths(folder: Path) -> list[Path]:
    """The files of segments in a feature space's folder `index`, which may not exist."""
    with contextlib.suppress(OSError):
        return sorted(path for path in folder.iterdir() if path.suffix == SUFFIX)
    return []


def read(path: Path) -> Segment | None:
    """The segment in a cache file, checked, then mapped; None where the file is missing, unreadable or damaged."""
    with (
        contextlib.suppress(OSError, ValueError, msgspec.MsgspecError, StoreError),
        opened_regular(path) as (fd, status),
    ):
        return _read(fd, status.st_size, path)
    return None


def _read(fd: int, size: int, path: Path) -> Segment | None:
    magic, length = os.pread(fd, len(MAGIC), 0), int.from_bytes(os.pread(fd, LENGTH_BYTES, len(MAGIC)), "little")
    if magic != MAGIC or length > LARGEST_HEADER:
        return None
    header = msgspec.json.decode(os.pread(fd, length, len(MAGIC) + LENGTH_BYTES), type=SegmentHeader)
    start = -(-(len(MAGIC) + LENGTH_BYTES + length) // 64) * 64
    known = header.version == FORMAT_VERSION and header.shards and header.entries > 0
    if not known or start + header.entries * ENTRY_BYTES != size:
        return None
    # Read before it is mapped: a bad block of the disk is an error here, and a signal there.
    if digest_of_blocks(read_blocks(fd, start, header.entries * ENTRY_BYTES), fast=True) != header.digest:
        return None
    return _segment(map_file(fd, size), start, header.shards, path)


def _segment(memory: npt.NDArray[np.uint8], start: int, shards: list[str], path: Path) -> Segment:
    high, low, where = memory[start:].view(np.uint64).reshape(3, -1)
    return Segment(shards=shards, high=high, low=low, where=where, path=path)
