"""Synthetic features with labels, in a store of the benchmark's own. See heads.py."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

DIM, CLASSES, SHARD_ROWS = 768, 5, 8192


def made_features(start: int, stop: int) -> npt.NDArray[np.float16]:
    """Rows start to stop of the synthetic features: a linear head has an accuracy of about 0.95."""
    centres = np.random.default_rng(0).normal(size=(CLASSES, DIM)).astype(np.float32) * 0.12
    noise = np.random.default_rng([1, start]).normal(size=(stop - start, DIM)).astype(np.float32)
    return (centres[np.arange(start, stop) % CLASSES] + noise).astype(np.float16)


def labels_of(rows: int) -> npt.NDArray[np.object_]:
    return np.array([f"class {i % CLASSES}" for i in range(rows)], dtype=object)


def keys_of(rows: int) -> npt.NDArray[np.uint8]:
    """Keys spread over all values, as a digest gives them."""
    return np.random.default_rng(2).integers(0, 256, (rows, 16)).astype(np.uint8)


@contextmanager
def stored(rows: int) -> Iterator[Path]:
    """A store that holds the features of `rows` texts, in shards as an extraction writes them."""
    from jdq.store.store import open_store

    with tempfile.TemporaryDirectory() as folder:
        space = open_store(Path(folder)).space(a_space())
        keys = keys_of(rows)
        for start in range(0, rows, SHARD_ROWS):
            stop = min(start + SHARD_ROWS, rows)
            n_tokens = np.full(stop - start, 100, dtype=np.uint32)
            space.put(keys[start:stop], made_features(start, stop), n_tokens, producer={"benchmark": "heads"})
        yield Path(folder)


def a_space() -> Any:
    from jdq.store.spaces.definition import FeatureSpace

    return FeatureSpace(
        architecture="synthetic", weights="0" * 32, tokenizer="0" * 32, pooling="cls", max_length=1024, cutting="right",
        storage_dtype="float16", precision="float32", dim=DIM, definition=1,
    )  # fmt: skip


def stored_rows(store: Path, rows: int) -> Any:
    """The features in the dataset's order, as a job reads them."""
    from jdq.store.store import open_store

    return open_store(store).space(a_space()).rows(keys_of(rows))
