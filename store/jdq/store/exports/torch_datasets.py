"""Features as torch datasets. No other module of the store imports this one, or torch."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from jdq.store.extracted import ExtractedDataset
from jdq.store.spaces.batches import BatchPlan, batches
from jdq.store.spaces.segment import Positions

Example = tuple[torch.Tensor, torch.Tensor]


class FeatureDataset(Dataset[Example]):
    """Rows by number: (feature (dim,) float32, class number). For data that fits in the page cache.

    `classes` are the labels, sorted: their positions are the class numbers. `rows` selects rows of the table, such as
    one part of a split. Works with `DataLoader(num_workers=...)` under fork and spawn, and reads a batch in one call.
    """

    def __init__(
        self, table: ExtractedDataset, *, label_column: str | None = None, rows: Positions | None = None
    ) -> None:
        self.classes, self._targets = _targets(table, label_column)
        self._table = table
        self._rows = np.arange(len(table)) if rows is None else np.asarray(rows, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Example:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Example]:
        rows = self._rows[np.asarray(indices)]
        features = torch.from_numpy(self._table.features[rows].astype(np.float32))
        return list(zip(features, self._targets[rows], strict=True))


class FeatureBatches(IterableDataset[Example]):
    """Complete batches: (features (n, dim) float32, class numbers (n,)), shuffled in blocks as `BatchPlan` says.

    For `DataLoader(..., batch_size=None)`, whose workers share the epoch. Set `epoch` before each one: with the plan's
    seed it determines the order.
    """

    def __init__(
        self,
        table: ExtractedDataset,
        plan: BatchPlan,
        *,
        label_column: str | None = None,
        rows: Positions | None = None,
    ) -> None:
        self.classes, self._targets = _targets(table, label_column)
        self.epoch = plan.epoch
        self._table = table
        self._plan = plan
        self._rows = rows

    def __iter__(self) -> Iterator[Example]:
        worker = get_worker_info()
        part = (worker.id, worker.num_workers) if worker else self._plan.part
        plan = replace(self._plan, epoch=self.epoch, part=part)
        for batch in batches(self._table.features, plan, rows=self._rows):
            # Always a copy: torch must not get memory that it could write to and that belongs to the file.
            yield torch.from_numpy(batch.features.astype(np.float32)), self._targets[batch.rows]


def _targets(table: ExtractedDataset, label_column: str | None) -> tuple[list[str], torch.Tensor]:
    classes, numbers = np.unique(table.labels(label_column), return_inverse=True)
    return classes.tolist(), torch.from_numpy(numbers.astype(np.int64))
