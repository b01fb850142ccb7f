"""Features in any order, directly from mapped shards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from jdq.store.spaces.mapped_shard import MappedShard
from jdq.store.spaces.mmap_file import read_soon
from jdq.store.spaces.segment import Positions
from jdq.store.spaces.shard import Features

# A gather from several shards copies each piece twice; of this size it is still in the core's cache the second time.
GATHER_BYTES = 1 << 19
LONGEST_ADVICE = 64


class FeatureRows:
    """Rows of features in a fixed order, repeats allowed: a memory-mapped array of shape (len, dim) over many shards.

    Rows that are adjacent in one shard are returned as a read-only view, without a copy; others as a new array.
    The shards stay readable while this object lives, even after compaction has replaced their files.
    """

    def __init__(
        self, shards: Sequence[MappedShard], owners: Positions, rows: Positions, *, dim: int, dtype: str
    ) -> None:
        """`owners[i]` is the position in `shards` of the shard that has row i, `rows[i]` its row there."""
        self._shards = shards
        self._owners = owners
        self._rows = rows
        self.shape = (len(rows), dim)
        self.dtype = np.dtype(dtype)
        breaks = np.flatnonzero((np.diff(owners) != 0) | (np.diff(rows) != 1)) + 1
        self._run_starts = np.concatenate([np.zeros(min(len(rows), 1), dtype=np.int64), breaks])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, which: int | slice | Sequence[int] | npt.NDArray[np.integer]) -> Features:
        """Row `which` as (dim,), or the rows of a slice or of positions as (n, dim)."""
        if isinstance(which, int | np.integer):
            one: Features = self._shards[self._owners[which]].features[self._rows[which]]
            return one
        if isinstance(which, slice):
            start, stop, step = which.indices(len(self))
            if step == 1 and start < stop and stop <= self._run_end(start):
                first = self._rows[start]
                view: Features = self._shards[self._owners[start]].features[first : first + stop - start]
                return view
            return self._gather(self._owners[which], self._rows[which])
        positions = np.asarray(which, dtype=np.int64)
        return self._gather(self._owners[positions], self._rows[positions])

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[np.generic]:
        """All rows in memory."""
        if copy is False:
            raise ValueError("the rows may be in several shards: a copy is needed")
        return np.array(self[:], dtype=dtype)

    def blocks(self, rows: int = 8192) -> Iterator[Features]:
        """All rows in order, in blocks of at most `rows`.

        A block ends where its shard does, so that it needs no copy; scattered rows are copied, `rows` at a time.
        """
        start = 0
        while start < len(self):
            stop = min(start + rows, len(self))
            end = self._run_end(start)
            # A view of a few rows costs more in calls than the copy that it saves.
            if end < stop and end - start >= rows // 8:
                stop = end
            yield self[start:stop]
            start = stop

    def read_soon(self, start: int, stop: int) -> None:
        """Ask the system to read rows from `start` to `stop` in the background."""
        first, last = np.searchsorted(self._run_starts, (start, stop))
        if last - first > LONGEST_ADVICE:
            return  # for scattered rows the calls would take longer than they save
        while start < stop:
            end = min(self._run_end(start), stop)
            read_soon(self[start:end])
            start = end

    def _run_end(self, start: int) -> int:
        """The end of the adjacent rows from row `start` on."""
        run = int(np.searchsorted(self._run_starts, start, side="right"))
        return len(self) if run == len(self._run_starts) else int(self._run_starts[run])

    def _gather(self, owners: Positions, rows: Positions) -> Features:
        out: Features = np.empty((len(rows), self.shape[1]), dtype=self.dtype)
        changes = np.diff(owners)
        if (changes >= 0).all():
            for places in np.split(np.arange(len(rows)), np.flatnonzero(changes) + 1) if len(rows) else []:
                part = out[places[0] : places[-1] + 1]
                # Not mode="raise", for which numpy fills a buffer first and then copies it to `out`.
                self._shards[owners[places[0]]].features.take(rows[places], axis=0, out=part, mode="clip")
            return out
        piece = max(GATHER_BYTES // max(self.shape[1] * self.dtype.itemsize, 1), 1)
        for owner, places in places_by_owner(owners):
            features = self._shards[owner].features
            for start in range(0, len(places), piece):
                chosen = places[start : start + piece]
                out[chosen] = features[rows[chosen]]
        return out


def places_by_owner(owners: Positions) -> Iterator[tuple[int, Positions]]:
    """Each distinct number in `owners`, ascending, with its positions."""
    order = np.argsort(owners, kind="stable")
    starts = np.flatnonzero(np.diff(owners[order], prepend=-1))
    for places in np.split(order, starts[1:]) if len(order) else []:
        yield int(owners[places[0]]), places
