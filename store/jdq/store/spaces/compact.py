"""Compaction: many small shards become a few large ones, in the order of the datasets that use them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from jdq.store.errors import DamagedShard
from jdq.store.keys import KEY_BYTES, Keys, repeats
from jdq.store.spaces import segment
from jdq.store.spaces.feature_space import Space
from jdq.store.spaces.mapped_shard import MappedShard, open_shard
from jdq.store.spaces.rows import FeatureRows, places_by_owner
from jdq.store.spaces.segment import Positions, find
from jdq.store.spaces.shard import array_sizes

# Large enough that a million rows are a few dozen files, small enough that one fits in memory a few times over.
TARGET_BYTES = 128 << 20
# The limit of one field of the producer: an attribute has room for a few dozen.
VALUE_CHARACTERS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactReport:
    """What was merged into what. `gc` removes the merged shards when the new ones are old enough."""

    space: str
    merged: tuple[str, ...] = ()
    published: tuple[str, ...] = ()
    rows: int = 0
    damaged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """Rows to move: their keys, the position of each one's shard, and its row there."""

    keys: Keys
    owners: Positions
    rows: Positions

    def pick(self, which: Positions) -> _Rows:
        return _Rows(keys=self.keys[which], owners=self.owners[which], rows=self.rows[which])


def compact(space: Space, *, order: Iterable[Keys] = (), target_bytes: int = TARGET_BYTES) -> CompactReport:
    """Merge the shards of less than half `target_bytes`, each row once, while others read and write.

    `order`: the text keys of the datasets, whose rows will then be adjacent; rows in none of them come last. Nothing is
    removed. Damaged shards are reported and left alone. Memory: a few times `target_bytes`, and 100 bytes per row.
    """
    small, large, damaged = _open_all(space, target_bytes)
    rows = _rows_to_move(small, [shard.keys for shard in large])
    owners = np.unique(rows.owners)
    if len(owners) < 2:
        return CompactReport(space=space.digest, damaged=damaged)
    rows = rows.pick(_dataset_order(rows.keys, order))
    row_bytes = sum(array_sizes(1, space.definition).values())
    parts = np.array_split(np.arange(len(rows.keys)), -(-len(rows.keys) * row_bytes // target_bytes))
    return CompactReport(
        space=space.digest,
        published=tuple(_publish(space, small, rows.pick(part)) for part in parts),
        merged=tuple(small[owner].path.stem for owner in owners),
        rows=len(rows.keys),
        damaged=damaged,
    )


def _open_all(space: Space, target_bytes: int) -> tuple[list[MappedShard], list[MappedShard], tuple[str, ...]]:
    """Small shards (checked; largest first, so that an earlier compaction's result owns its rows), large, damaged."""
    small, large, damaged = [], [], []
    for name in space.shard_names():
        try:
            shard = open_shard(space.shard_path(name), space=space.digest)
            if sum(array_sizes(shard.header.rows, space.definition).values()) * 2 >= target_bytes:
                large.append(shard)
            else:
                shard.check()
                small.append(shard)
        except FileNotFoundError:
            continue
        except DamagedShard:
            damaged.append(name)
    small.sort(key=lambda shard: (-shard.header.rows, shard.identity[1], shard.path.name))
    return small, large, tuple(damaged)


def _rows_to_move(small: Sequence[MappedShard], large: Sequence[Keys]) -> _Rows:
    """Every key of the small shards that no large shard has, once, from the first shard that has it."""
    keys = np.concatenate([np.empty((0, KEY_BYTES), np.uint8), *(shard.keys for shard in small)])
    counts = [len(shard.keys) for shard in small]
    owners = np.repeat(np.arange(len(small)), counts)
    rows = np.concatenate([np.empty(0, np.int64), *(np.arange(count) for count in counts)])
    kept = ~repeats(keys)
    if large:
        kept &= find(segment.build({"large": np.concatenate(large)}), keys) < 0
    return _Rows(keys=keys, owners=owners, rows=rows).pick(np.flatnonzero(kept))


def _dataset_order(keys: Keys, order: Iterable[Keys]) -> Positions:
    """The positions of `keys` in the order in which they first occur in the datasets."""
    part = segment.build({"rows": keys})
    rank = np.full(len(keys), np.iinfo(np.int64).max)
    named = 0
    for dataset in order:
        entries = find(part, dataset)
        hits = np.flatnonzero(entries >= 0)
        np.minimum.at(rank, part.rows(entries[hits]), named + hits)
        named += len(dataset)
    return np.argsort(rank, kind="stable")


def _publish(space: Space, shards: Sequence[MappedShard], rows: _Rows) -> str:
    features = FeatureRows(
        shards, rows.owners, rows.rows, dim=space.definition.dim, dtype=space.definition.storage_dtype
    )
    n_tokens = np.empty(len(rows.keys), dtype=np.uint32)
    for owner, places in places_by_owner(rows.owners):
        n_tokens[places] = shards[owner].n_tokens[rows.rows[places]]
    producers = [shards[owner].producer for owner in np.unique(rows.owners)]
    return space.put(rows.keys, features[:], n_tokens, producer=_merged_producer(producers))


def _merged_producer(producers: Sequence[dict[str, str]]) -> dict[str, str]:
    """What made the rows: each field, with all its values."""
    fields = sorted({field for producer in producers for field in producer})
    values = {field: sorted({producer[field] for producer in producers if field in producer}) for field in fields}
    return {field: " | ".join(several)[:VALUE_CHARACTERS] for field, several in values.items()} | {"compacted": "yes"}
