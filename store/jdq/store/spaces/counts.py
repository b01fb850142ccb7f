"""`index/counts.json`: the rows of each shard, and the rows that datasets miss, so that a listing reads no keys.

Exact, but for one case: keys that two writers stored at the same time count twice, until `compact` or `gc` has counted
the keys themselves. So do compacted rows, if the file was lost before `gc` removed the shards that they were in.
"""

import contextlib
from collections.abc import Collection
from itertools import compress

import msgspec
import numpy as np

from jdq.store.errors import DamagedShard
from jdq.store.files.digests import UnreadableFile, read_json, to_json
from jdq.store.files.publish import replace
from jdq.store.keys import Keys
from jdq.store.spaces.feature_space import Space
from jdq.store.spaces.index import shard_names
from jdq.store.spaces.segment import Positions
from jdq.store.spaces.validator import layout_of


class _Counts(msgspec.Struct):
    """`rows`: of each shard, without those of keys that a larger one has. `missing`: by dataset."""

    rows: dict[str, int] = {}
    missing: dict[str, int] = {}


def count_rows(space: Space) -> int:
    """The rows of all shards. Only the headers of new shards are read. Raises CannotRead."""
    return sum(_known(space).rows.values())


def count_missing(space: Space, dataset: str, keys: Keys) -> int:
    """How many of a dataset's keys have no row; they are looked up only where that may have changed."""
    counts = _known(space)
    if dataset not in counts.missing:
        counts.missing[dataset] = int(np.count_nonzero(space.missing(keys)))
        if counts.rows.keys() == set(compress(space.index.names, space.index.alive())):
            _keep(space, counts)
    return counts.missing[dataset]


def keep_owned(space: Space, owned: Positions, merged: Collection[str] = ()) -> None:
    """Keep what `Index.owned` counted, before the rows of the shards `merged` were put again."""
    counts, index = _known(space), space.index
    for name, rows in compress(zip(index.names, owned.tolist(), strict=False), index.alive()):
        if name in counts.rows:
            counts.rows[name] = 0 if name in merged else rows
    _keep(space, counts)


def _known(space: Space) -> _Counts:
    """What was counted and is still right, and the rows of new shards."""
    existing, counts = shard_names(space.shards), _Counts()
    with contextlib.suppress(FileNotFoundError, UnreadableFile):
        counts = read_json(space.path / "index" / "counts.json", _Counts)
    if any(rows and name not in existing for name, rows in counts.rows.items()):
        counts = _Counts()  # what was removed may have had the only row of a key
    counts.rows = {name: rows for name, rows in counts.rows.items() if name in existing}
    if new := existing - counts.rows.keys():
        # A new shard has no row less.
        counts.missing = {dataset: missing for dataset, missing in counts.missing.items() if not missing}
        for name in new:
            with contextlib.suppress(FileNotFoundError, DamagedShard):
                counts.rows[name] = layout_of(space.shard_path(name)).header.rows
        _keep(space, counts)
    return counts


def _keep(space: Space, counts: _Counts) -> None:
    with contextlib.suppress(OSError):
        replace(space.path / "index" / "counts.json", to_json(counts), durable=False)
