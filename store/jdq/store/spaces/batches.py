"""Batches for training data that does not fit in memory: blocks in random order, rows shuffled among a few of them.

A full shuffle is slow because it reads single rows at random from disk. Mixing blocks of 1,024 rows, 16 at a time,
shuffles well enough for a head, and lets the disk read in order.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from jdq.store.spaces.rows import FeatureRows
from jdq.store.spaces.segment import Positions
from jdq.store.spaces.shard import Features


class Batch(NamedTuple):
    """Features (n, dim), perhaps read-only, and their row numbers in the dataset (n,): `y[batch.rows]`."""

    features: Features
    rows: Positions


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPlan:
    """How an epoch is divided into batches.

    `shuffle`: blocks in an order that `seed` and `epoch` determine, and rows among each `mixed_blocks` of them; else
    rows come in order. Within a batch rows are sorted. `part` (i, n): only every n-th block from the i-th on, for
    readers that share an epoch.
    """

    size: int = 256
    shuffle: bool = False
    seed: int = 0
    epoch: int = 0
    block_rows: int = 1024
    mixed_blocks: int = 16
    part: tuple[int, int] = (0, 1)


def batches(features: FeatureRows, plan: BatchPlan, *, rows: Positions | None = None) -> Iterator[Batch]:
    """One epoch over all rows, or over `rows` (such as the train part of a split), each once."""
    left = np.zeros(0, dtype=np.int64)
    for group in _groups(features, np.arange(len(features)) if rows is None else np.asarray(rows, np.int64), plan):
        left = np.concatenate([left, group])
        while len(left) >= plan.size:
            yield _batch(features, left[: plan.size])
            left = left[plan.size :]
    if len(left):
        yield _batch(features, left)


def _batch(features: FeatureRows, rows: Positions) -> Batch:
    # Sorted: the order within a batch does not matter, and a gather in order is one copy instead of two.
    rows = np.sort(rows)
    adjacent = bool((np.diff(rows) == 1).all())
    return Batch(features[int(rows[0]) : int(rows[-1]) + 1] if adjacent else features[rows], rows)


def _groups(features: FeatureRows, chosen: Positions, plan: BatchPlan) -> Iterator[Positions]:
    """The blocks of an epoch: one by one, or `mixed_blocks` at a time and shuffled."""
    blocks = [chosen[start : start + plan.block_rows] for start in range(0, len(chosen), plan.block_rows)]
    random = np.random.default_rng([plan.seed, plan.epoch])
    order = random.permutation(len(blocks)) if plan.shuffle else np.arange(len(blocks))
    mine = [blocks[number] for number in order[plan.part[0] :: plan.part[1]]]
    if not plan.shuffle:
        yield from mine
        return
    groups = [mine[start : start + plan.mixed_blocks] for start in range(0, len(mine), plan.mixed_blocks)]
    for group, following in itertools.pairwise([*groups, []]):
        # The disk reads the blocks of the next group, in order, while the rows of this one are used.
        for block in [*(group if group is groups[0] else []), *following]:
            features.read_soon(int(block[0]), int(block[-1]) + 1)
        yield random.permutation(np.concatenate(group))
