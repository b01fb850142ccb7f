"""What `gpu.py` times by itself: each call of a layer of the packed encoder, and its alternatives."""

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import torch
import torch.nn.functional as F
from extract_ways import Subject  # the file beside this one

from jdq.worker.encoder.attention import attend, flash_attention, varlen_kernel
from jdq.worker.encoder.batch import Batch
from jdq.worker.encoder.fused import fused_kernels
from jdq.worker.encoder.layout import layout_of
from jdq.worker.encoder.linear import make_linear
from jdq.worker.encoder.packed import PackedBart


def kernels_of(subject: Subject, batch: Batch, device: str) -> dict[str, Callable[[], object]]:
    """By what it computes, each call on rows of this batch."""
    bart, dtype = cast(PackedBart, subject.encoder.network).shape, torch.float32 if device == "cpu" else torch.bfloat16
    d, f, rows = bart.dim, bart.ffn_dim, len(batch.ids)

    def drawn(*size: int) -> torch.Tensor:
        return torch.randn(*size, device=device, dtype=dtype)

    x, residual, hidden = drawn(rows, d), drawn(rows, d), drawn(rows, f)
    q, k, v = drawn(rows, 3, bart.heads, d // bart.heads).unbind(1)
    gain, fc1, fc2, bias, qkv_weight = drawn(d), drawn(f, d) / 32, drawn(d, f) / 32, drawn(f), drawn(3 * d, d)
    layout = layout_of(batch, device, varlen=varlen_kernel(device, dtype, d // bart.heads))
    ways: dict[str, Callable[[], object]] = {
        "qkv": lambda: F.linear(x, qkv_weight),
        "fc1": lambda: F.linear(x, fc1, bias),
        "fc1, then gelu": lambda: F.gelu(F.linear(x, fc1, bias)),
        "fc1 with gelu in its epilogue (tanh)": lambda: torch._addmm_activation(bias, x, fc1.t(), use_gelu=True),
        "fc2, then add": lambda: F.linear(hidden, fc2).add_(residual),
        "fc2 with the residual in its epilogue": lambda: torch.addmm(residual, hidden, fc2.t()),
        "add, then layer norm": lambda: F.layer_norm(x + residual, (d,), gain, gain),
        "gelu": lambda: F.gelu(hidden),
        "attention": lambda: attend(q, k, v, layout),
    }
    fused = fused_kernels(device)
    if fused is not None:
        options = {"activation": "", "precision": "float8", "device": device, "rows": rows}
        product = make_linear(fc1.float(), bias.float(), **options)
        second = make_linear(fc2.float(), gain.float(), input_activation="gelu", **options)
        ways |= {
            "attention, PyTorch's": lambda: attend(q, k, v, replace(layout, varlen=flash_attention)),
            "norm of a sum, fused": lambda: fused.normed_sum(x, residual, gain, gain, 1e-5),
            "norm of a sum, also to float8, fused": lambda: fused.float8_normed_sum(x, residual, gain, gain, 1e-5),
            "gelu, fused": lambda: fused.gelu(hidden),
            "rows to float8, fused": lambda: fused.float8_rows(x, activate=False),
            "gelu and rows to float8, fused": lambda: fused.float8_rows(hidden, activate=True),
            "fc1 in float8": lambda: product(x),
            "gelu, then fc2 in float8": lambda: second(hidden),
        }
    return ways
