"""Features in any order, directly from mapped shards."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from jdq.store.errors import DamagedShard
from jdq.store.keys import places_by_owner
from jdq.store.spaces.mapped_shard import MappedShard
from jdq.store.spaces.mmap_file import MappedFiles, read_soon
from jdq.store.spaces.segment import Positions
from jdq.store.spaces.shard import Features

LONGEST_ADVICE = 64


class FeatureRows:
    """Rows of features in a fixed order, repeats allowed: a memory-mapped array of shape (len, dim) over many shards.

    Rows that are adjacent in one shard are returned as a read-only view, without a copy; others as a new array.
    The shards stay readable while this object lives, even after compaction has replaced their files. On a file system
    that other machines write to, rows are read when they are used, and both are not so.
    """

    def __init__(self, shards: Sequence[MappedShard], files: MappedFiles, rows: Positions) -> None:
        """`files` has the rows of all shards side by side; `rows[i]` is the position there of row i."""
        self._files = files
        self._rows = rows
        self._shards = sorted(shards, key=lambda shard: shard.first_row)
        self._first_rows = np.array([shard.first_row for shard in self._shards], dtype=np.int64)
        self._unchecked = set(range(len(shards)))
        self.shape: tuple[int, int] = (len(rows), files.rows.shape[1])
        self.dtype = files.rows.dtype
        # Where adjacent rows end.
        self._run_ends = np.append(np.flatnonzero(np.diff(rows) != 1) + 1, len(rows))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, which: int | slice | Sequence[int] | npt.NDArray[np.integer]) -> Features:
        """Row `which` as (dim,), or the rows of a slice or of positions as (n, dim). Raises DamagedShard."""
        if isinstance(which, int | np.integer):
            row = range(len(self))[which]
            one: Features = self._view(row, row + 1)[0]
            return one
        if isinstance(which, slice):
            start, stop, step = which.indices(len(self))
            if step == 1 and start < stop and stop <= self._run_end(start):
                return self._view(start, stop)
            return self._gather(self._rows[which])
        return self._gather(self._rows[np.asarray(which, dtype=np.int64)])

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
            end, stop = self._run_end(start), min(start + rows, len(self))
            # A view of a few rows costs more in calls than the copy that it saves.
            if end < stop and end - start < rows // 8:
                yield self._gather(self._rows[start:stop])
            else:
                stop = min(stop, end)
                yield self._view(start, stop)
            start = stop

    def read_soon(self, start: int, stop: int) -> None:
        """Ask the system to read rows from `start` to `stop` in the background."""
        first, last = self._run_ends.searchsorted((start, stop))
        # For many runs the calls would take longer than they save.
        while self._files.is_mapped and last - first <= LONGEST_ADVICE and start < stop:
            end = min(self._run_end(start), stop)
            # Not through `self[...]`, which would read the shard first, to compare its digest.
            read_soon(self._files.rows[self._rows[start] : self._rows[end - 1] + 1])
            start = end

    def _run_end(self, start: int) -> int:
        """The end of the adjacent rows from row `start` on."""
        return int(self._run_ends[self._run_ends.searchsorted(start, side="right")])

    def _view(self, start: int, stop: int) -> Features:
        if not self._files.is_mapped:
            return self._gather(self._rows[start:stop])
        first = int(self._rows[start])
        self._check(self._rows[start : start + 1])
        return self._files.rows[first : first + stop - start]

    def _gather(self, rows: Positions) -> Features:
        if self._files.is_mapped:
            self._check(rows)
            return self._files.rows.take(rows, axis=0)
        gathered = np.empty((len(rows), self.shape[1]), self.dtype)
        for owner, places in places_by_owner(self._owners(rows)):
            shard = self._shards[owner]
            try:
                gathered[places] = shard.read(rows[places] - shard.first_row)
            except FileNotFoundError as error:
                raise DamagedShard(shard.path, "it was removed or replaced since it was opened") from error
        return gathered

    def _check(self, rows: Positions) -> None:
        """Compare the features of these rows' shards with their digests, before they are first used."""
        if self._unchecked:
            for owner in self._unchecked.intersection(np.unique(self._owners(rows)).tolist()):
                self._shards[owner].check()
                self._unchecked.discard(owner)

    def _owners(self, rows: Positions) -> Positions:
        return np.searchsorted(self._first_rows, rows, side="right") - 1
