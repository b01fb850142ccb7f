"""Compaction: many small shards become a few large ones, in the order of the datasets that use them."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from jdq.store.errors import DamagedShard
from jdq.store.keys import KEY_BYTES, Keys, places_by_owner, repeats
from jdq.store.spaces.counts import keep_owned
from jdq.store.spaces.feature_space import Space
from jdq.store.spaces.index import Mask
from jdq.store.spaces.shard import array_forms

# Large enough that a million rows are a few dozen files, small enough that one fits in memory a few times over.
TARGET_BYTES = 128 << 20
BLOCK_KEYS = 1 << 20
# Of narrow features: the keys of one shard are sorted in memory, at about 200 bytes each.
MOST_ROWS = 1 << 20
# The limit of one field of the producer: an attribute has room for a few dozen.
VALUE_CHARACTERS = 500


@dataclass(slots=True, kw_only=True)
class CompactReport:
    """What was merged into what. `gc` removes the merged shards when the new ones are old enough."""

    space: str
    merged: list[str] = field(default_factory=list)
    published: list[str] = field(default_factory=list)
    rows: int = 0
    damaged: list[str] = field(default_factory=list)


def compact(space: Space, *, order: Iterable[Keys] = (), target_bytes: int = TARGET_BYTES) -> CompactReport:
    """Merge the shards of less than half `target_bytes`, each row once, while others read and write.

    `order`: the text keys of the datasets, whose rows will then be adjacent; rows in none of them come last. Nothing is
    removed. Damaged shards are reported and kept. Memory: a few times `target_bytes`.
    """
    space.index.refresh()
    owned = space.index.owned()
    # Only what owns a key: else a second compaction would move what the first has moved.
    sizes = np.where(owned > 0, space.index.sizes(), 0)
    row_bytes = sum(form.size_bytes for form in array_forms(1, space.definition).values())
    shard_rows = min(target_bytes / row_bytes, MOST_ROWS)
    small = (sizes > 0) & (sizes * 2 < shard_rows)
    report = CompactReport(space=space.digest)
    work = _Compaction(space, report, small, (sizes > 0) & ~small, max(int(shard_rows), 1))
    if np.count_nonzero(small) > 1:
        for keys in itertools.chain(order, map(work.keys_of, np.flatnonzero(small).tolist())):
            work.take(keys)
        work.publish()
    report.merged = sorted(work.merged.difference(report.published))
    report.damaged = sorted(space.index.unreadable())
    keep_owned(space, owned, report.merged)
    return report


@dataclass(slots=True)
class _Compaction:
    """Collects keys of the small shards, and publishes the rows of as many at a time as a new shard has."""

    space: Space
    report: CompactReport
    # By number in the index.
    small: Mask
    large: Mask
    shard_rows: int
    waiting: Keys = field(default_factory=lambda: np.zeros((0, KEY_BYTES), dtype=np.uint8))
    merged: set[str] = field(default_factory=set)

    def take(self, keys: Keys) -> None:
        """Take those of the keys that are in a small shard and in no large one, each once."""
        index = self.space.index
        for start in range(0, len(keys), BLOCK_KEYS):
            block = np.ascontiguousarray(keys[start : start + BLOCK_KEYS])
            # Shards that were published since compaction began count as large.
            large = index.alive()
            large[: len(self.large)] &= self.large
            block = block[index.locate(block, large)[0] < 0]
            waiting = np.concatenate([self.waiting, block[index.locate(block, self.small)[0] >= 0]])
            self.waiting = waiting[~repeats(waiting)]
            while len(self.waiting) >= self.shard_rows:
                self.publish()

    def keys_of(self, number: int) -> Keys:
        """The keys of a small shard; none if it is gone or damaged."""
        try:
            return self.space.examine(number).keys
        except FileNotFoundError:
            pass
        except DamagedShard as damage:
            self._forget(number, damage)
        return self.waiting[:0]

    def publish(self) -> None:
        """Put the rows of the keys that have waited longest."""
        keys, self.waiting = self.waiting[: self.shard_rows], self.waiting[self.shard_rows :]
        owners, rows = self.space.index.locate(keys, self.small)
        definition = self.space.definition
        features = np.empty((len(keys), definition.dim), dtype=definition.storage_dtype)
        n_tokens = np.empty(len(keys), dtype=np.uint32)
        kept, producers = np.zeros(len(keys), dtype=bool), []
        for owner, places in places_by_owner(owners):
            try:
                shard = self.space.examine(owner)
                found = np.minimum(rows[places], shard.header.rows - 1)
                features[places], n_tokens[places] = shard.read(found), shard.n_tokens[found]
            except FileNotFoundError:
                continue  # replaced by another compaction, or in quarantine
            except DamagedShard as damage:
                self._forget(owner, damage)
                continue
            kept[places] = (shard.keys[found] == keys[places]).all(axis=1)
            producers.append(msgspec.json.decode(shard.header.producer, type=dict[str, str]))
            self.merged.add(shard.path.stem)
        if kept.any():
            put = self.space.put(keys[kept], features[kept], n_tokens[kept], producer=_merged_producer(producers))
            self.space.index.refresh()
            self.report.published.append(put)
            self.report.rows += int(np.count_nonzero(kept))

    def _forget(self, number: int, damage: DamagedShard) -> None:
        self.small[number] = False
        self.merged.discard(damage.path.stem)
        self.space.index.forget(damage)


def _merged_producer(producers: Sequence[dict[str, str]]) -> dict[str, str]:
    """What made the rows: each field, with all its values."""
    fields = sorted({field for producer in producers for field in producer})
    values = {field: sorted({producer[field] for producer in producers if field in producer}) for field in fields}
    return {field: " | ".join(several)[:VALUE_CHARACTERS] for field, several in values.items()} | {"compacted": "yes"}
