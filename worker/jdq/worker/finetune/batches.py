"""Token ids as training batches: texts of similar length together, in an order that depends only on seed and epoch."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset, Sampler

from jdq.worker.encoder.tokens import Tokens

Row = dict[str, Any]

# The texts of this many batches are drawn at random, then sorted by length into batches.
POOL_BATCHES = 50


class TokenRows(Dataset[Row]):
    """The token ids and the target of each of some rows."""

    def __init__(self, tokens: Tokens, targets: npt.NDArray[Any], rows: npt.NDArray[np.intp]) -> None:
        ends = np.cumsum(tokens.lengths)
        starts = ends - tokens.lengths
        self._ids = tokens.ids
        self._spans = np.stack([starts[rows], ends[rows]], axis=1)
        self._targets = targets[rows]
        self.lengths = tokens.lengths[rows]

    def __len__(self) -> int:
        return len(self._spans)

    def __getitem__(self, index: int) -> Row:
        start, end = self._spans[index]
        return {"input_ids": self._ids[start:end], "labels": self._targets[index]}


class Collate:
    """Rows to one padded batch of tensors."""

    def __init__(self, pad_id: int) -> None:
        self._pad_id = pad_id

    def __call__(self, rows: Sequence[Row]) -> dict[str, torch.Tensor]:
        ids, mask = padded([row["input_ids"] for row in rows], self._pad_id)
        return {
            "input_ids": ids,
            "attention_mask": mask,
            "labels": torch.from_numpy(np.array([r["labels"] for r in rows])),
        }


def padded(ids: Sequence[npt.NDArray[np.int32]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(texts, longest) int64 ids, padded on the right, and the mask that is 1 where there is a token."""
    longest = max(len(text) for text in ids)
    padded_ids = np.full((len(ids), longest), pad_id, dtype=np.int64)
    mask = np.zeros((len(ids), longest), dtype=np.int64)
    for row, text in enumerate(ids):
        padded_ids[row, : len(text)] = text
        mask[row, : len(text)] = 1
    return torch.from_numpy(padded_ids), torch.from_numpy(mask)


class ByLength(Sampler[int]):
    """All rows once per epoch: each run of `batch_size` rows is of similar length, the runs are in random order.

    The order depends only on the seed and on `epoch`, so that a resumed training sees the batches that it would have
    seen. (transformers' LengthGroupedSampler draws from the global generator, and gives
    long batches before short ones within each pool.)
    """

    def __init__(self, lengths: npt.NDArray[np.int64], batch_size: int, seed: int) -> None:
        self._lengths = lengths
        self._batch_size = batch_size
        self._seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self._seed, self.epoch])
        order = rng.permutation(len(self._lengths))
        pool = POOL_BATCHES * self._batch_size
        batches: list[npt.NDArray[np.intp]] = []
        for start in range(0, len(order), pool):
            rows = order[start : start + pool]
            rows = rows[np.argsort(self._lengths[rows], kind="stable")]
            batches += [rows[i : i + self._batch_size] for i in range(0, len(rows), self._batch_size)]
        # A short batch stays last, because the sampler gives single rows, and the loader makes a batch of every
        # batch_size.
        short = [batch for batch in batches if len(batch) < self._batch_size]
        full = [batch for batch in batches if len(batch) == self._batch_size]
        for position in rng.permutation(len(full)):
            yield from full[position].tolist()
        for batch in short:
            yield from batch.tolist()
