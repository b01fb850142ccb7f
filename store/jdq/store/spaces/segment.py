"""Segments: sorted keys and where their rows are, at 24 bytes per key, in memory or mapped from a cache file."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from jdq.store.errors import StoreError
from jdq.store.files.digests import digest_of, digest_of_blocks, read_blocks
from jdq.store.files.publish import replace
from jdq.store.keys import Keys, halves
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


class Columns(NamedTuple):
    """Entries in ascending order of their keys' high halves; `where` is the number of a shard times 2^32, plus the row.

    An entry is a key and where its row is; there are several for a key in several shards.
    """

    high: Numbers
    low: Numbers
    where: Numbers


@dataclass(slots=True, kw_only=True)
class Segment:
    """The entries of `shards`, as `where` numbers them. `path`: its file, if any.

    `numbers`: what the index calls these shards.
    """

    shards: list[str]
    columns: Columns
    path: Path | None = None
    numbers: Positions = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.columns.where)

    def shard_numbers(self, entries: Positions | slice) -> Positions:
        """The number of each entry's shard."""
        return shard_numbers(self.columns.where[entries])

    def rows(self, entries: Positions | slice) -> Positions:
        """The row in its shard of each entry."""
        return (self.columns.where[entries] & np.uint64(0xFFFFFFFF)).astype(np.int64)

    def find(self, high: Numbers, low: Numbers, alive: npt.NDArray[np.bool_]) -> Positions:
        """For each key, in ascending order of `high`, an entry whose shard (by its number here) is alive, or -1."""
        at = np.searchsorted(self.columns.high, high)
        matches = np.full(len(high), -1, dtype=np.int64)
        pending = np.flatnonzero(at < len(self))
        # More than one iteration only where a key is in several shards, or where keys share a half.
        while len(pending):
            entries = at[pending]
            same = self.columns.high[entries] == high[pending]
            pending, entries = pending[same], entries[same]
            hit = (self.columns.low[entries] == low[pending]) & alive[self.shard_numbers(entries)]
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


def shard_numbers(where: Numbers) -> Positions:
    """The number of each entry's shard."""
    return (where >> np.uint64(32)).astype(np.int64)


def build(shards: Mapping[str, Keys]) -> Segment:
    """The segment of these shards' keys."""
    where = [np.uint64(number << 32) + np.arange(len(keys), dtype="u8") for number, keys in enumerate(shards.values())]
    columns = Columns(*halves(np.concatenate(list(shards.values()))), np.concatenate(where))
    return Segment(shards=list(shards), columns=_sorted(columns))


def find(part: Segment, keys: Keys, *, shard: str | None = None) -> Positions:
    """For each key, in any order, its entry in the segment (for `shard`, or for any), or -1."""
    high, low = halves(keys)
    order = np.argsort(high)
    entries = np.empty(len(keys), dtype=np.int64)
    alive = np.array([shard in (None, name) for name in part.shards])
    entries[order] = part.find(high[order], low[order], alive)
    return entries


def merged(segments: Sequence[Segment], numbers: Sequence[Positions]) -> Iterator[Columns]:
    """The entries of all segments, merged by key, a range of keys at a time: memory is bounded.

    `numbers[i]` are the new numbers of the i-th segment's shards, or -1 for those whose entries are left out.
    """
    ranges = max(-(-sum(map(len, segments)) // RANGE_ENTRIES), 1)
    # Keys are digests, so equal ranges hold about equally many.
    bounds = np.array([(number << 64) // ranges for number in range(1, ranges)], dtype=np.uint64)
    ends = [[0, *np.searchsorted(part.columns.high, bounds).tolist(), len(part)] for part in segments]
    for places in zip(*(itertools.pairwise(end) for end in ends), strict=True):
        # Stable sorting of runs that are already sorted is a merge.
        yield _sorted(_joined([_renumbered(*each) for each in zip(segments, numbers, places, strict=True)]))


def _renumbered(part: Segment, numbers: Positions, bounds: tuple[int, int]) -> Columns:
    piece = slice(*bounds)
    owners = numbers[part.shard_numbers(piece)]
    kept = owners >= 0
    where = (owners[kept].astype(np.uint64) << np.uint64(32)) + part.rows(piece)[kept].astype(np.uint64)
    return Columns(part.columns.high[piece][kept], part.columns.low[piece][kept], where)


def _joined(pieces: Sequence[Columns]) -> Columns:
    return Columns(*map(np.concatenate, zip(*pieces, strict=True)))


def _sorted(columns: Columns) -> Columns:
    order = np.argsort(columns.high, kind="stable")
    return Columns(*(column[order] for column in columns))


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
    return Segment(shards=shards, columns=_joined(list(merged(segments, numbers))))


def write(folder: Path, segments: Sequence[Segment], alive: Collection[str]) -> Segment | None:
    """Like `merge`, but into a cache file in `folder`, in bounded memory. Raises OSError."""
    shards, numbers = plan_merge(segments, alive)
    path = folder / _file_name(shards)
    entries = sum(int(part.sizes()[mine >= 0].sum()) for part, mine in zip(segments, numbers, strict=True))
    blank = SegmentHeader(version=FORMAT_VERSION, entries=entries, digest="0" * 32, shards=shards)
    start = len(_front(blank))

    def content(file: IO[bytes]) -> None:
        done = 0
        for piece in merged(segments, numbers):
            for number, column in enumerate(piece):
                file.seek(start + (number * entries + done) * 8)
                file.write(column.data.cast("B"))
            done += len(piece.where)
        file.flush()
        digest = digest_of_blocks(read_blocks(file.fileno(), start, entries * ENTRY_BYTES), fast=True)
        file.seek(0)
        file.write(_front(msgspec.structs.replace(blank, digest=digest)))

    replace(path, content, durable=False)
    return read(path)


def _front(header: SegmentHeader) -> bytes:
    text = msgspec.json.encode(header)
    front = MAGIC + len(text).to_bytes(LENGTH_BYTES, "little") + text
    return front + bytes(-len(front) % 64)


def _file_name(shards: Iterable[str]) -> str:
    """The name of the file of these shards: with it, the names in the header are checked."""
    return digest_of("".join(sorted(shards)).encode()) + SUFFIX


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
    end = len(MAGIC) + LENGTH_BYTES + length
    start = -(-end // 64) * 64
    header = msgspec.json.decode(os.pread(fd, length, end - length), type=SegmentHeader)
    known = header.version == FORMAT_VERSION and header.entries > 0 and path.name == _file_name(header.shards)
    if not known or any(os.pread(fd, start - end, end)) or start + header.entries * ENTRY_BYTES != size:
        return None
    # Read before it is mapped: a bad block of the disk is an error here, and a signal there.
    if digest_of_blocks(read_blocks(fd, start, header.entries * ENTRY_BYTES), fast=True) != header.digest:
        return None
    with open(fd, "rb", closefd=False) as file:
        columns = np.asarray(np.memmap(file, np.uint64, "r", start, (3, header.entries)))
    return Segment(shards=header.shards, columns=Columns(*columns), path=path)
