"""A dataset with its features, as training and export read it."""

from collections.abc import Iterator
from typing import Self

import numpy as np
import numpy.typing as npt

from jdq.store.datasets import DatasetVersion
from jdq.store.fork_lock import cached_property
from jdq.store.spaces.batches import Batch, BatchPlan, batches
from jdq.store.spaces.feature_space import Space
from jdq.store.spaces.rows import FeatureRows
from jdq.store.spaces.shard import Features


class ExtractedDataset:
    """A dataset version and the feature space with its features. Row i is row i of the table, repeats included."""

    def __init__(self, version: DatasetVersion, space: Space) -> None:
        self.version = version
        self.space = space

    def __reduce__(self) -> tuple[type[Self], tuple[DatasetVersion, Space]]:
        return type(self), (self.version, self.space)

    def __len__(self) -> int:
        return self.version.n_rows

    def __repr__(self) -> str:
        return f"<ExtractedDataset {self.version.name} {self.version.version} in {self.space.digest}: {len(self)} rows>"

    @cached_property
    def features(self) -> FeatureRows:
        """(rows, dim), memory-mapped. Raises MissingFeatures or DamagedShard."""
        return self.space.rows(self.version.keys())

    def read(self) -> Features:
        """(rows, dim) in memory. Raises MissingFeatures or DamagedShard."""
        return self.space.read(self.version.keys())

    def n_tokens(self) -> npt.NDArray[np.uint32]:
        """(rows,): the number of tokens of each text before truncation."""
        return self.space.n_tokens(self.version.keys())

    def labels(self, column: str | None = None) -> npt.NDArray[np.str_]:
        """(rows,) exactly as in the table. Raises NoLabels."""
        return np.asarray(self.version.labels(column), dtype=np.str_)

    def batches(self, plan: BatchPlan, *, rows: npt.NDArray[np.int64] | None = None) -> Iterator[Batch]:
        """One epoch in batches, over all rows or over `rows`. Raises MissingFeatures or DamagedShard."""
        return batches(self.features, plan, rows=rows)

    def texts(self) -> list[str]:
        """The texts of all rows, in memory."""
        return self.version.texts()
