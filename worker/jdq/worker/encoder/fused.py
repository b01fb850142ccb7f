"""Which kernels of our own a device takes, beside PyTorch's."""

from __future__ import annotations

import functools
import logging
from typing import Protocol

import torch
from torch import Tensor

from jdq.worker.encoder.float8 import Float8Rows
from jdq.worker.encoder.layout import Layout

LEAST_CAPABILITY = (8, 0)  # of Triton's compiler
LOG = logging.getLogger(__name__)


class FusedKernels(Protocol):
    """What `triton_kernels` does in one pass over rows of bfloat16 that takes PyTorch several."""

    def attention(self, q: Tensor, k: Tensor, v: Tensor, layout: Layout) -> Tensor:
        """Each text's queries over its own keys: (rows, heads, head dim) each -> (rows of q, dim)."""

    def normed_sum(self, x: Tensor, residual: Tensor, gain: Tensor, bias: Tensor, eps: float) -> Tensor:
        """LayerNorm(x + residual)."""

    def float8_normed_sum(
        self, x: Tensor, residual: Tensor, gain: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Float8Rows]:
        """The same, and its rows in float8."""

    def gelu(self, x: Tensor) -> Tensor:
        """GELU, in place."""

    def float8_rows(self, x: Tensor, *, activate: bool) -> Float8Rows:
        """Rows, or their GELU, in float8."""


@functools.cache
def fused_kernels(device: str) -> FusedKernels | None:
    """The kernels, once one of them has run on this device; None on a CPU, an older GPU, or where Triton does not run.

    Triton comes with PyTorch's CUDA builds for Linux. It needs a C compiler and Python's headers.
    """
    if not device.startswith("cuda") or torch.cuda.get_device_capability(torch.device(device)) < LEAST_CAPABILITY:
        return None
    try:
        from jdq.worker.encoder import triton_kernels
    except ImportError as error:
        _warn(device, error)
        return None
    try:
        triton_kernels.gelu(torch.zeros(16, dtype=torch.bfloat16, device=device))
    except triton_kernels.CANNOT_RUN as error:
        _warn(device, error)
        return None
    return triton_kernels


def _warn(device: str, error: Exception) -> None:
    LOG.warning("no fused kernels on %s, the encoder is slower: Triton does not run (%s)", device, error)
