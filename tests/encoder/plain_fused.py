"""The fused kernels by PyTorch's own calls: what `triton_kernels` is compared with, on any device."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from jdq.worker.encoder.float8 import Float8Rows
from jdq.worker.encoder.layout import Layout


class PlainFused:
    """Computes in float32, like the kernels, and rounds once."""

    def attention(self, q: Tensor, k: Tensor, v: Tensor, layout: Layout) -> Tensor:
        """Text by text."""
        cu_seqlens, _ = layout.queries(q, k)
        sizes = (cu_seqlens.diff().tolist(), *[layout.cu_seqlens.diff().tolist()] * 2)
        texts = zip(*(torch.split(part, size) for part, size in zip((q, k, v), sizes, strict=True)), strict=True)
        seen = [F.scaled_dot_product_attention(*(part.transpose(0, 1).float() for part in text)) for text in texts]
        return torch.cat([text.transpose(0, 1).flatten(1) for text in seen]).to(q.dtype)

    def normed_sum(self, x: Tensor, residual: Tensor, gain: Tensor, bias: Tensor, eps: float) -> Tensor:
        """LayerNorm(x + residual)."""
        return F.layer_norm(x.float() + residual.float(), gain.shape, gain.float(), bias.float(), eps).to(x.dtype)

    def float8_normed_sum(
        self, x: Tensor, residual: Tensor, gain: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Float8Rows]:
        """The same, and its rows in float8."""
        y = self.normed_sum(x, residual, gain, bias, eps)
        return y, self.float8_rows(y, activate=False)

    def gelu(self, x: Tensor) -> Tensor:
        """GELU, in place."""
        return x.copy_(F.gelu(x.float(), approximate="tanh"))

    def float8_rows(self, x: Tensor, *, activate: bool) -> Float8Rows:
        """Rows, or their GELU, in float8."""
        rows = F.gelu(x.float(), approximate="tanh") if activate else x.float()
        scale = rows.abs().amax(1, keepdim=True).clamp(min=1e-9) / 448
        return Float8Rows((rows / scale).to(torch.float8_e4m3fn), scale)
