"""What the store's benchmarks share: random rows in a store, and the ratio of two sides' times."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jdq.store import FeatureSpace, Space

DIM = 1024
SHARD_ROWS = 16_384
PRODUCER = {"jdq": "benchmark"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the table; `value` is to be at least `target` ("most": at most)."""

    what: str
    value: float
    target: float
    unit: str
    most: bool = False
    note: str = ""

    @property
    def reached(self) -> bool:
        """Whether the target was met."""
        return self.value <= self.target if self.most else self.value >= self.target


def definition(dim: int) -> FeatureSpace:
    """A feature space of random numbers."""
    return FeatureSpace(
        architecture="random", weights="0", tokenizer="0", pooling="cls", max_length=1024, cutting="right",
        storage_dtype="float16", precision="float32", dim=dim, definition=1,
    )  # fmt: skip


def random_keys(rows: int, seed: int = 0) -> np.ndarray:
    """Keys as blake2b would spread them."""
    return np.frombuffer(np.random.default_rng(seed).bytes(16 * rows), np.uint8).reshape(rows, 16)


def random_rows(rows: int, dim: int) -> np.ndarray:
    """Features, all finite."""
    return (np.random.default_rng(1).integers(0, 2048, (rows, dim), dtype=np.uint16)).astype(np.float16)


def fill(space: Space, rows: int, shard_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Put so many rows; their keys and features."""
    keys, features = random_keys(rows), random_rows(rows, space.definition.dim)
    for at in range(0, rows, shard_rows):
        part = slice(at, at + shard_rows)
        space.put(keys[part], features[part], np.ones(len(keys[part])), producer=PRODUCER)
    return keys, features


def ratio(ours: Callable[[], object], theirs: Callable[[], object], rounds: int) -> tuple[float, float, float]:
    """How many times as fast ours is: the median over rounds of theirs/ours, and both medians in seconds."""
    times: list[tuple[float, float]] = []
    for number in range(rounds + 1):
        pair = {}
        for side in (ours, theirs) if number % 2 else (theirs, ours):
            start = time.perf_counter()
            side()
            pair[side] = time.perf_counter() - start
        times.append((pair[ours], pair[theirs]))
    # The first round warms caches, and checks each shard's digest.
    warm = times[1:]
    return (
        statistics.median(b / a for a, b in warm),
        statistics.median(a for a, _ in warm),
        statistics.median(b for _, b in warm),
    )


def add_up(blocks: object) -> int:
    """Touch every byte at memory speed."""
    return sum(int(block.view(np.uint64).sum()) for block in blocks)  # type: ignore[attr-defined]


def mapped_beside(folder: Path, features: np.ndarray) -> np.memmap:
    """The same rows as one raw file."""
    features.tofile(folder / "raw")
    return np.memmap(folder / "raw", np.float16, "r", shape=features.shape)
