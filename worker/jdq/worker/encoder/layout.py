"""Where the texts of a packed batch are, on the device, in the forms that the attention kernels take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from jdq.worker.encoder.batch import Batch

TILE_QUERIES = 64  # rows of a text that one block of threads takes in our own attention kernel


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where the texts of a packed batch are, in the forms that the attention kernels take.

    On a CPU, `groups` are runs of texts of one length, as (first row, texts, length), one kernel call each. On CUDA one
    kernel, `varlen`, takes all texts: `cu_seqlens` (texts + 1,) int32 on the device are the texts' first rows and the
    end, `counts` the numbers from 0 to texts. `firsts` (texts,) int64 are the first rows. `tiles` (2, tiles) int32 are
    for our own kernel: the text of each tile of queries, and its number in that text.
    """

    groups: tuple[tuple[int, int, int], ...]
    cu_seqlens: Tensor
    counts: Tensor
    firsts: Tensor
    tiles: Tensor
    longest: int
    varlen: Callable[[Tensor, Tensor, Tensor, Layout], Tensor] | None

    def queries(self, q: Tensor, k: Tensor) -> tuple[Tensor, int]:
        """(cu_seqlens, longest) of the queries, which are all rows or only each text's first."""
        return (self.cu_seqlens, self.longest) if len(q) == len(k) else (self.counts, 1)


Varlen = Callable[[Tensor, Tensor, Tensor, Layout], Tensor]  # (q, k, v, layout) -> (rows of q, dim)


def layout_of(batch: Batch, device: str, *, varlen: Varlen | None) -> Layout:
    """The layout of a batch, its tensors on the device."""
    cu_seqlens = place(batch.cu_seqlens, device)
    return Layout(
        groups=() if varlen is not None else _groups(batch),
        cu_seqlens=cu_seqlens,
        counts=place(np.arange(len(batch.cu_seqlens), dtype=np.int32), device),
        firsts=cu_seqlens.narrow(0, 0, len(batch.indices)).to(torch.int64),
        tiles=place(_tiles(batch), device),
        longest=int(batch.lengths.max()),
        varlen=varlen,
    )


def place(array: npt.NDArray[np.generic], device: str) -> Tensor:
    """An array on the device. From pinned memory, so that the copy does not wait for a busy GPU."""
    tensor = torch.from_numpy(array)
    return tensor if device == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


def _tiles(batch: Batch) -> npt.NDArray[np.int32]:
    counts = -(-batch.lengths // TILE_QUERIES)
    texts = np.repeat(np.arange(len(counts)), counts)
    return np.stack([texts, np.arange(len(texts)) - (np.cumsum(counts) - counts)[texts]]).astype(np.int32)


def _groups(batch: Batch) -> tuple[tuple[int, int, int], ...]:
    groups, start = [], 0
    for length, run in groupby(batch.lengths.tolist()):
        texts = sum(1 for _ in run)
        groups.append((start, texts, length))
        start += texts * length
    return tuple(groups)
