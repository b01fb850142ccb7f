"""Segments: sorted keys and where their rows are, at 24 bytes per key, in memory or mapped from a cache file."""

import contextlib
import itertools
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import msgspec
import numpy as np
import numpy.typing as npt

from jdq.store.errors import StoreError
from jdq.store.files.digests import digest_of, digest_of_blocks, is_shared, read_blocks
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
# (3, n), ascending by the first row: the high and the low half of a key, and where its row is, which is the number of
# the shard times 2^32, plus the row. A key that is in several shards has several entries.
Entries = npt.NDArray[np.uint64]


class SegmentHeader(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The header of a segment's file."""

    version: int
    entries: int
    digest: str
    shards: list[str]


@dataclass(slots=True, kw_only=True)
class Segment:
    """The entries of `shards`, numbered by their places there. `path`: its file, if any.

    `numbers`: what the index calls these shards.
    """

    shards: list[str]
    entries: Entries
    path: Path | None = None
    numbers: Positions = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.entries[2])

    def find(self, high: Numbers, low: Numbers, alive: npt.NDArray[np.bool_]) -> Positions:
        """For each key, in ascending order of `high`, an entry whose shard (by its number here) is alive, or -1."""
        highs, lows = self.entries[:2]
        at = np.searchsorted(highs, high)
        matches = np.full(len(high), -1, dtype=np.int64)
        pending = np.flatnonzero(at < len(self))
        # More than one iteration only where a key is in several shards, or where keys share a half.
        while len(pending):
            entries = at[pending]
            same = highs[entries] == high[pending]
            pending, entries = pending[same], entries[same]
            hit = (lows[entries] == low[pending]) & alive[places(self.entries[2][entries])[0]]
            matches[pending[hit]] = entries[hit]
            pending = pending[~hit]
            at[pending] += 1
            pending = pending[at[pending] < len(self)]
        return matches

    def sizes(self) -> Positions:
        """The number of entries of each shard in `shards`."""
        sizes = np.zeros(len(self.shards), dtype=np.int64)
        for start in range(0, len(self), RANGE_ENTRIES):
            block = self.entries[2][start : start + RANGE_ENTRIES]
            sizes += np.bincount(places(block)[0], minlength=len(self.shards))
        return sizes


def places(where: Numbers) -> tuple[Positions, Positions]:
    """The number of each entry's shard, and its row there."""
    return (where >> np.uint64(32)).astype(np.int64), (where & np.uint64(0xFFFFFFFF)).astype(np.int64)


def build(shards: Mapping[str, Keys]) -> Segment:
    """The segment of these shards' keys."""
    where = [np.uint64(number << 32) + np.arange(len(keys), dtype="u8") for number, keys in enumerate(shards.values())]
    entries = np.stack([*halves(np.concatenate(list(shards.values()))), np.concatenate(where)])
    return Segment(shards=list(shards), entries=_sorted(entries))


def find(part: Segment, keys: Keys, *, shard: int | None = None) -> Positions:
    """For each key, in any order, its entry in the segment (for the shard of this number, or for any), or -1."""
    high, low = halves(keys)
    order = np.argsort(high)
    entries = np.empty(len(keys), dtype=np.int64)
    numbers = np.arange(len(part.shards))
    entries[order] = part.find(high[order], low[order], (numbers == shard) | (shard is None))
    return entries


def merged(segments: Sequence[Segment], numbers: Sequence[Positions]) -> Iterator[Entries]:
    """The entries of all segments, merged by key, a range of keys at a time: memory is bounded.

    `numbers[i]` are the new numbers of the i-th segment's shards, or -1 for those whose entries are left out.
    """
    ranges = max(-(-sum(map(len, segments)) // RANGE_ENTRIES), 1)
    # Keys are digests, so equal ranges hold about equally many.
    bounds = np.array([(number << 64) // ranges for number in range(1, ranges)], dtype=np.uint64)
    ends = [[0, *np.searchsorted(part.entries[0], bounds).tolist(), len(part)] for part in segments]
    for pieces in zip(*(itertools.pairwise(end) for end in ends), strict=True):
        kept = [_kept(*each) for each in zip(segments, numbers, pieces, strict=True)]
        # Stable sorting of runs that are already sorted is a merge.
        yield _sorted(np.concatenate(kept, axis=1))


def _kept(part: Segment, numbers: Positions, bounds: tuple[int, int]) -> Entries:
    entries = part.entries[:, slice(*bounds)]
    shards, rows = places(entries[2])
    kept = numbers[shards] >= 0
    where = (numbers[shards[kept]] << 32) + rows[kept]
    return np.stack([entries[0][kept], entries[1][kept], where.astype(np.uint64)])


def _sorted(entries: Entries) -> Entries:
    return entries.take(np.argsort(entries[0], kind="stable"), axis=1)


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
    return Segment(shards=shards, entries=np.concatenate(list(merged(segments, numbers)), axis=1))


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
            done += piece.shape[1]
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
    errors = (OSError, ValueError, msgspec.MsgspecError, StoreError)
    with contextlib.suppress(*errors), opened_regular(path) as (fd, status):
        magic, length = os.pread(fd, len(MAGIC), 0), int.from_bytes(os.pread(fd, LENGTH_BYTES, len(MAGIC)), "little")
        if magic != MAGIC or length > LARGEST_HEADER:
            return None
        end = len(MAGIC) + LENGTH_BYTES + length
        start = -(-end // 64) * 64
        header = msgspec.json.decode(os.pread(fd, length, end - length), type=SegmentHeader)
        size = header.entries * ENTRY_BYTES
        known = header.version == FORMAT_VERSION and header.entries > 0 and path.name == _file_name(header.shards)
        if not known or any(os.pread(fd, start - end, end)) or start + size != status.st_size:
            return None
        # Read before it is mapped: a bad block of the disk is an error here, and a signal there.
        if digest_of_blocks(read_blocks(fd, start, size), fast=True) != header.digest:
            return None
        with open(fd, "rb", closefd=False) as file:
            if is_shared(path):
                entries = np.fromfile(file, np.uint64, offset=start)
            else:
                entries = np.asarray(np.memmap(file, np.uint64, "r", start))
        return Segment(shards=header.shards, entries=entries.reshape(3, header.entries), path=path)
    return None
