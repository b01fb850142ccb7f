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

# (q, k, v, cu_seqlens of q, cu_seqlens of k, longest of q, longest of k) -> (rows of q, dim)
Varlen = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, int, int], Tensor]
NEWER_FLASH = {9: "FA3", 10: "FA4"}  # by the card's generation; PyTorch's own kernel is FlashAttention 2
NO_MASK = 0  # of the memory-efficient kernel's kinds of masks


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where the texts of a packed batch are, in the forms that the attention kernels take.

    On a CPU, `groups` are runs of texts of one length, as (first row, texts, length), one kernel call each. On CUDA one
    kernel, `varlen`, takes all texts: `cu_seqlens` (texts + 1,) int32 on the device are the texts' first rows and the
    end, `counts` the numbers from 0 to texts. `firsts` (texts,) int64 are the first rows.
    """

    groups: tuple[tuple[int, int, int], ...]
    cu_seqlens: Tensor
    counts: Tensor
    firsts: Tensor
    longest: int
    varlen: Varlen | None


def layout_of(batch: Batch, device: str, *, varlen: Varlen | None) -> Layout:
    """The layout of a batch, its tensors on the device."""
    cu_seqlens = place(batch.cu_seqlens, device)
    return Layout(
        groups=() if varlen is not None else _groups(batch),
        cu_seqlens=cu_seqlens,
        counts=place(np.arange(len(batch.cu_seqlens), dtype=np.int32), device),
        firsts=cu_seqlens.narrow(0, 0, len(batch.indices)).to(torch.int64),
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
    if flash:
        _take_newer_flash(NEWER_FLASH.get(capability[0]))
    return flash_attention if flash else memory_efficient_attention


def _take_newer_flash(name: str | None) -> None:
    """Puts the kernel of this name in the place of PyTorch's own, for this process, if its package is installed."""
    if name is not None and name != current_flash_attention_impl():
        with suppress(ImportError, RuntimeError):  # not installed, or without what PyTorch calls
            activate_flash_attention_impl(name)


def place(array: npt.NDArray[np.generic], device: str) -> Tensor:
    """An array on the device. From pinned memory, so that the copy does not wait for a busy GPU."""
    tensor = torch.from_numpy(array)
    return tensor if device == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


def _groups(batch: Batch) -> tuple[tuple[int, int, int], ...]:
    groups, start = [], 0
    for length, run in groupby(batch.lengths.tolist()):
        texts = sum(1 for _ in run)
        groups.append((start, texts, length))
        start += texts * length
    return tuple(groups)


def attend(q: Tensor, k: Tensor, v: Tensor, layout: Layout) -> Tensor:
    """Self-attention: (rows, heads, head dim) each -> (rows of q, dim). q has all rows, or only each text's first."""
    all_rows = len(q) == len(k)
    if layout.varlen is not None:
        cu_seqlens_q, longest_q = (layout.cu_seqlens, layout.longest) if all_rows else (layout.counts, 1)
        return layout.varlen(q, k, v, cu_seqlens_q, layout.cu_seqlens, longest_q, layout.longest)
    out, done = q.new_empty(q.shape), 0
    for start, texts, length in layout.groups:
        rows = slice(start, start + texts * length)
        asking = rows if all_rows else slice(done, done + texts)
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


def flash_attention(
    q: Tensor, k: Tensor, v: Tensor, cu_seqlens_q: Tensor, cu_seqlens_k: Tensor, longest_q: int, longest_k: int
) -> Tensor:
    """PyTorch's variable-length kernel: (rows, heads, head dim) -> (rows of q, dim). Not by cuDNN, which would plan
    anew for every shape.
    """
    attended: Tensor = torch.ops.aten._flash_attention_forward(
        q, k, v, cu_seqlens_q, cu_seqlens_k, longest_q, longest_k, 0.0, False, False
    )[0]
    return attended.flatten(1)


def memory_efficient_attention(
    q: Tensor, k: Tensor, v: Tensor, cu_seqlens_q: Tensor, cu_seqlens_k: Tensor, longest_q: int, longest_k: int
) -> Tensor:
    """The same by PyTorch's memory-efficient kernel, which takes float32 and older cards."""
    q, k, v = (part.unsqueeze(0) for part in (q, k, v))
    attended: Tensor = torch.ops.aten._efficient_attention_forward(
        q, k, v, None, cu_seqlens_q, cu_seqlens_k, longest_q, longest_k, 0.0, NO_MASK
    )[0]
    return attended.squeeze(0).flatten(1)
