"""Attention over packed texts: each text sees only its own rows, and no row is padding."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import activate_flash_attention_impl, current_flash_attention_impl

from jdq.worker.encoder.batch import Batch
from jdq.worker.encoder.fused import TILE_QUERIES, fused_kernels

NEWER_FLASH = {9: "FA3", 10: "FA4"}  # by the card's generation; PyTorch's own kernel is FlashAttention 2
HOPPER = 9
HEAD_DIMS = (16, 32, 64, 128)  # of the attention in `triton_kernels`
NO_MASK = 0  # of the memory-efficient kernel's kinds of masks


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


def varlen_kernel(device: str, dtype: torch.dtype, head_dim: int) -> Varlen | None:
    """The kernel for texts of several lengths that takes heads of this kind on this device; None on a CPU.

    Flash attention where it can; it knows neither float32 nor cards before compute capability 8.0.
    """
    if not device.startswith("cuda"):
        return None
    capability = torch.cuda.get_device_capability(torch.device(device))
    flash = dtype != torch.float32 and head_dim % 8 == 0 and head_dim <= 256 and capability >= (8, 0)
    if not flash:
        return memory_efficient_attention
    _take_newer_flash(NEWER_FLASH.get(capability[0]))
    # PyTorch's own kernel does not use Hopper's matrix instructions.
    if capability[0] == HOPPER and current_flash_attention_impl() is None and head_dim in HEAD_DIMS:
        fused = fused_kernels(device)
        return flash_attention if fused is None else fused.attention
    return flash_attention


def _take_newer_flash(name: str | None) -> None:
    """Puts the kernel of this name in the place of PyTorch's own, for this process, if its package is installed."""
    if name is not None and name != current_flash_attention_impl():
        with suppress(ImportError, RuntimeError):  # not installed, or without what PyTorch calls
            activate_flash_attention_impl(name)


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


def attend(q: Tensor, k: Tensor, v: Tensor, layout: Layout) -> Tensor:
    """Self-attention: (rows, heads, head dim) each -> (rows of q, dim). q has all rows, or only each text's first."""
    if layout.varlen is not None:
        return layout.varlen(q, k, v, layout)
    out, done = q.new_empty(q.shape), 0
    for start, texts, length in layout.groups:
        rows = slice(start, start + texts * length)
        asking = rows if len(q) == len(k) else slice(done, done + texts)
        parts = (q[asking], k[rows], v[rows])
        queries, keys, values = (part.view(texts, -1, *q.shape[1:]).transpose(1, 2) for part in parts)
        attended = F.scaled_dot_product_attention(queries, keys, values)
        out[asking] = attended.transpose(1, 2).reshape(-1, *q.shape[1:])
        done += texts
    return out.flatten(1)


def text_means(x: Tensor, layout: Layout) -> Tensor:
    """The mean of each text's rows: (tokens, dim) -> (texts, dim) float32."""
    means: Tensor = torch.segment_reduce(x.to(torch.float32), "mean", offsets=layout.cu_seqlens.to(torch.int64))
    return means


def flash_attention(q: Tensor, k: Tensor, v: Tensor, layout: Layout) -> Tensor:
    """PyTorch's variable-length kernel: (rows, heads, head dim) -> (rows of q, dim). Not by cuDNN, which would plan
    anew for every shape.
    """
    cu_seqlens_q, longest_q = layout.queries(q, k)
    attended: Tensor = torch.ops.aten._flash_attention_forward(
        q, k, v, cu_seqlens_q, layout.cu_seqlens, longest_q, layout.longest, 0.0, False, False
    )[0]
    return attended.flatten(1)


def memory_efficient_attention(q: Tensor, k: Tensor, v: Tensor, layout: Layout) -> Tensor:
    """The same by PyTorch's memory-efficient kernel, which takes float32 and older cards."""
    cu_seqlens_q, longest_q = layout.queries(q, k)
    q, k, v = (part.unsqueeze(0) for part in (q, k, v))
    attended: Tensor = torch.ops.aten._efficient_attention_forward(
        q, k, v, None, cu_seqlens_q, layout.cu_seqlens, longest_q, layout.longest, 0.0, NO_MASK
    )[0]
    return attended.squeeze(0).flatten(1)
