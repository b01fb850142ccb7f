"""Scan, gather and shuffled epochs beside numpy, on mapped files of the same rows."""

import time
from pathlib import Path

import numpy as np
from store_measure import DIM, SHARD_ROWS, Line, add_up, definition, fill, mapped_beside, ratio

from jdq.store import BatchPlan, Space, open_store
from jdq.store.spaces.batches import batches


def scan(folder: Path, rounds: int) -> list[Line]:
    return [*scan_of(folder / "8", 8, SHARD_ROWS, rounds), *scan_of(folder / "100", 100, 1311, rounds)]


def scan_of(folder: Path, shards: int, shard_rows: int, rounds: int) -> list[Line]:
    space = open_store(folder / "s").space(definition(DIM))
    keys, features = fill(space, shards * shard_rows, shard_rows)
    raw = mapped_beside(folder, features)
    start = time.perf_counter()
    rows = Space(space.path).rows(keys)
    add_up(rows.blocks())
    first = time.perf_counter() - start
    share, ours, theirs = ratio(
        lambda: add_up(rows.blocks()),
        lambda: add_up(raw[at : at + 8192] for at in range(0, len(raw), 8192)),
        8 * rounds,
    )
    size = features.nbytes / 1e9
    note = f"{size / ours:.1f} and {size / theirs:.1f} GB/s; first scan, with look-up and digests, {first:.3f} s"
    return [Line(what=f"warm scan, {shards} shards, against np.memmap", value=share, target=0.95, unit="x", note=note)]


def gather(folder: Path, rounds: int) -> list[Line]:
    one = gather_from(folder / "1", 1, SHARD_ROWS, {8192: 0.9}, rounds)
    return [*one, *gather_from(folder / "100", 100, 1311, {256: 0.5, 4096: 0.9}, rounds)]


def gather_from(folder: Path, shards: int, shard_rows: int, targets: dict[int, float], rounds: int) -> list[Line]:
    space = open_store(folder / "s").space(definition(DIM))
    keys, features = fill(space, shards * shard_rows, shard_rows)
    raw, rows, lines = mapped_beside(folder, features), space.rows(keys), []
    for size, target in targets.items():
        picks = [np.random.default_rng(seed).integers(0, len(keys), size) for seed in range(4)]
        share, ours, theirs = ratio(
            lambda picks=picks: [rows[pick] for pick in picks],
            lambda picks=picks: [raw[pick] for pick in picks],
            rounds,
        )
        note = f"{4 * size / ours / 1e6:.2f} and {4 * size / theirs / 1e6:.2f} M rows/s"
        what = f"warm gather of {size} random rows, {shards} shards, against np.memmap"
        lines.append(Line(what=what, value=share, target=target, unit="x", note=note))
    return lines


def shuffle(folder: Path, rounds: int) -> list[Line]:
    from threadpoolctl import threadpool_limits

    # On one thread: two that share a busy core wait for each other, and the ratio is that of the waiting.
    with threadpool_limits(1):
        return shuffled_epochs(folder, rounds)


def shuffled_epochs(folder: Path, rounds: int) -> list[Line]:
    space = open_store(folder / "s").space(definition(DIM))
    keys, _ = fill(space, 32_768, SHARD_ROWS)
    rows, weights, targets = space.rows(keys), np.zeros((DIM, 10), np.float32), np.eye(10, dtype=np.float32)

    def epoch(plan: BatchPlan, head: bool) -> None:
        for batch in batches(rows, plan):
            if head:
                X = batch.features.astype(np.float32)
                X /= 2048
                weights[:] -= 1e-6 * X.T @ (X @ weights - targets[batch.rows % 10])
            else:
                batch.features.view(np.uint64).sum()

    lines = []
    for head, what in ((True, "that trains a linear head"), (False, "that only adds up")):
        share, ours, theirs = ratio(
            lambda head=head: epoch(BatchPlan(shuffle=True), head), lambda head=head: epoch(BatchPlan(), head), rounds
        )
        note = f"{len(rows) / ours / 1e6:.2f} and {len(rows) / theirs / 1e6:.2f} M rows/s"
        # The second has no target: without work a sequential epoch copies nothing, a shuffled one each row twice.
        target = 0.8 if head else 0.0
        lines.append(
            Line(
                what=f"block-shuffled epoch {what}, against a sequential one",
                value=share,
                target=target,
                unit="x",
                note=note,
            )
        )
    return lines
