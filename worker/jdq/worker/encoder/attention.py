"""Attention over packed texts: each text sees only its own rows, and no row is padding."""

from __future__ import annotations

from contextlib import suppress

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import activate_flash_attention_impl, current_flash_attention_impl

from jdq.worker.encoder.fused import fused_kernels
from jdq.worker.encoder.layout import Layout, Varlen

NEWER_FLASH = {9: "FA3", 10: "FA4"}  # by the card's generation; PyTorch's own kernel is FlashAttention 2
HOPPER = 9
HEAD_DIMS = (16, 32, 64, 128)  # of the attention in `triton_kernels`
NO_MASK = 0  # of the memory-efficient kernel's kinds of masks


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
