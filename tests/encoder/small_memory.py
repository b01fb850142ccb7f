"""A network on a device that holds so many tokens, for tests of what happens when memory runs out."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import Tensor

from jdq.worker.encoder.batch import Batch
from jdq.worker.encoder.budget import TokenBudget
from jdq.worker.encoder.encoder import Encoder


class SmallMemory:
    """A network on a device that holds so many tokens; each feature is its text's first ids."""

    padded = False
    device = "cpu"
    size_bytes = 0

    def __init__(self, tokens: int, error: Exception | None = None) -> None:
        self.tokens, self.passes = tokens, list[int]()
        self.error = error or torch.OutOfMemoryError("CUDA out of memory")

    def pooled(self, batch: Batch) -> Tensor:
        self.passes.append(len(batch.ids))
        if len(batch.ids) > self.tokens:
            raise self.error
        rows = [
            np.resize(batch.ids[start:end], 64)
            for start, end in zip(batch.cu_seqlens, batch.cu_seqlens[1:], strict=False)
        ]
        return torch.from_numpy(np.stack(rows))


def with_network(encoder: Encoder, network: SmallMemory, budget: int) -> Encoder:
    return dataclasses.replace(encoder, network=network, budget=TokenBudget(budget))


@contextmanager
def passes_at_a_time(count: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jdq.worker.encoder.forward_pool.cores", lambda: count)
        yield
