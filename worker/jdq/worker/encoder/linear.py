"""Linear layers: y = act(x W^T + b) (+ residual), by the fastest exact product on the device.

On x86 CPUs oneDNN multiplies with weights that are rearranged once, and adds the activation or the residual while a
tile of the result is still in cache. PyTorch's own `linear` uses MKL, which on AMD processors reaches half of oneDNN's
rate (`benchmarks/extract.py` prints both).
"""

from __future__ import annotations

import functools
import timeit
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from jdq.worker.encoder.float8 import LEAST_SCALE, Float8Rows, Rows, to_float8
from jdq.worker.encoder.fused import FusedKernels, fused_kernels

INT8_LARGEST = 127
INT8_ZERO = 128
FASTER = 1.2  # by which bfloat16 must be faster than float32 to be worth it
NUMBERS_IN_CACHE = 196_608


class Linear(Protocol):
    """One linear layer of a network that is not trained: rows in, rows out, (tokens, inside) -> (tokens, outside).

    Where it multiplies in float8, `x` may be Float8Rows.
    """

    size_bytes: int

    def __call__(self, x: Any) -> Tensor:
        """x W^T + b."""

    def activated(self, x: Any) -> Tensor:
        """act(x W^T + b)."""

    def added(self, x: Tensor, residual: Tensor) -> Tensor:
        """x W^T + b + residual. Changes neither argument."""


class TorchLinear:
    """PyTorch's product, in the weights' dtype and on their device."""

    def __init__(self, weight: Tensor, bias: Tensor, activation: str) -> None:
        self._weight, self._bias = weight, bias
        self._activation = F.gelu if activation == "gelu" else torch.relu
        self.size_bytes = weight.nbytes + bias.nbytes

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self._weight, self._bias)

    def activated(self, x: Tensor) -> Tensor:
        return self._activation(F.linear(x, self._weight, self._bias))

    def added(self, x: Tensor, residual: Tensor) -> Tensor:
        return F.linear(x, self._weight, self._bias).add_(residual)


class FusedGeluLinear(TorchLinear):
    """CUDA's product with GELU in its epilogue, for bfloat16: cuBLASLt has the tanh formula, exact to 0.0005."""

    def activated(self, x: Tensor) -> Tensor:
        y: Tensor = torch._addmm_activation(self._bias, x, self._weight.t(), use_gelu=True)
        return y


class OneDnnLinear:
    """oneDNN's product with its own layout of the weights, which replaces the plain one. The rows have its dtype."""

    def __init__(self, weight: Tensor, bias: Tensor, activation: str, *, rows: int) -> None:
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), rows)
        self._bias = bias.contiguous()
        self._activation = activation
        # Without AVX-512, oneDNN's GELU takes longer than a pass of PyTorch's over the result.
        self._gelu_apart = activation == "gelu" and torch.backends.cpu.get_cpu_capability() == "AVX2"
        self._product = torch.ops.mkldnn._linear_pointwise
        self.size_bytes = weight.nbytes + bias.nbytes

    def __call__(self, x: Tensor) -> Tensor:
        y: Tensor = self._product(x, self._weight, self._bias, "none", [], "")
        return y

    def activated(self, x: Tensor) -> Tensor:
        y: Tensor
        if self._gelu_apart:
            y = torch.ops.aten.gelu_(self(x))
        else:
            y = self._product(x, self._weight, self._bias, self._activation, [], "none")
        return y

    def added(self, x: Tensor, residual: Tensor) -> Tensor:
        y: Tensor = self._product.binary(x, residual, self._weight, self._bias, "add")
        return y


class Int8Linear:
    """oneDNN's product of 8-bit integers, for a float32 network on a CPU.

    Each row of the input has a scale of its own, so that a text's feature does not depend on its batch; each output of
    the weights has one. Inputs are unsigned, around INT8_ZERO: oneDNN has no fast product of two signed factors.
    """

    def __init__(self, weight: Tensor, bias: Tensor, activation: str, *, rows: int) -> None:
        self._scale = weight.abs().amax(1).clamp_(min=LEAST_SCALE) / INT8_LARGEST
        quantized = (weight / self._scale[:, None]).round_().to(torch.int8)
        self._weight = torch.ops.onednn.qlinear_prepack(quantized, [rows, weight.shape[1]])
        self._zeros = torch.zeros(len(weight), dtype=torch.int32)
        self._bias = bias
        self._activation = torch.ops.aten.gelu_ if activation == "gelu" else torch.relu_
        self._product = torch.ops.onednn.qlinear_pointwise
        self.size_bytes = quantized.nbytes + bias.nbytes

    def __call__(self, x: Tensor) -> Tensor:
        quantized, scale = _to_int8(x)
        y: Tensor = self._product(
            *(quantized, 1.0, INT8_ZERO, self._weight, self._scale, self._zeros),
            *(None, 1.0, 0, torch.float32, "none", [], ""),
        )
        return torch.addcmul(self._bias, y, scale, out=y)

    def activated(self, x: Tensor) -> Tensor:
        y: Tensor = self._activation(self(x))
        return y

    def added(self, x: Tensor, residual: Tensor) -> Tensor:
        return self(x).add_(residual)


class Float8Linear:
    """CUDA's float8 product: one scale per weight row, one per token, bfloat16 in and out.

    `input_activation` is computed while the rows become float8; the layer before then has no activation.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor, activation: str, input_activation: str, fused: FusedKernels | None
    ) -> None:
        quantized = to_float8(weight.to(torch.bfloat16))
        self._weight = quantized.numbers.t()  # the product wants the second factor by columns
        self._weight_scale = quantized.scales.t().contiguous()
        self._bias = bias.to(torch.bfloat16)
        self._activate = _activation(activation, fused)
        self._input_activation = input_activation
        self._fused = fused
        self.size_bytes = quantized.numbers.nbytes + self._bias.nbytes

    def __call__(self, x: Rows) -> Tensor:
        rows = self._quantized(x) if isinstance(x, Tensor) else x
        return torch._scaled_mm(
            rows.numbers,
            self._weight,
            scale_a=rows.scales,
            scale_b=self._weight_scale,
            bias=self._bias,
            out_dtype=torch.bfloat16,
            use_fast_accum=True,  # the sums of a product stay below those that lose by it; the load checks the cosine
        )

    def _quantized(self, x: Tensor) -> Float8Rows:
        if self._fused is None or self._input_activation == "relu":
            x = _activation(self._input_activation, None)(x)
        if self._fused is None:
            return to_float8(x)
        return self._fused.float8_rows(x, activate=self._input_activation == "gelu")

    def activated(self, x: Rows) -> Tensor:
        return self._activate(self(x))

    def added(self, x: Tensor, residual: Tensor) -> Tensor:
        return self(x).add_(residual)


def _activation(name: str, fused: FusedKernels | None) -> Callable[[Tensor], Tensor]:
    if name == "gelu":
        return F.gelu if fused is None else fused.gelu
    return torch.relu if name == "relu" else lambda x: x


def make_linear(
    weight: Tensor,
    bias: Tensor,
    *,
    activation: str,
    precision: str,
    device: str,
    rows: int,
    input_activation: str = "",
) -> Linear:
    """The layer for float32 `weight` (outside, inside) and `bias`; `rows` is the usual number of tokens per batch."""
    if precision == "float8":
        return Float8Linear(weight.to(device), bias.to(device), activation, input_activation, fused_kernels(device))
    if precision == "int8":
        return Int8Linear(weight, bias, activation, rows=rows)
    weight, bias = (part.to(device, dtype_of(precision)) for part in (weight, bias))
    if device == "cpu" and has_onednn(precision):
        return OneDnnLinear(weight, bias, activation, rows=rows)
    fused = device != "cpu" and precision == "bfloat16" and activation == "gelu"
    return (FusedGeluLinear if fused else TorchLinear)(weight, bias, activation)


def dtype_of(precision: str) -> torch.dtype:
    """The dtype of hidden states; "float8" and "int8" are the precision of products only."""
    return torch.float32 if precision in ("float32", "int8") else torch.bfloat16


def has_int8() -> bool:
    """Whether this PyTorch and this CPU multiply 8-bit integers fast, and without overflow between two of them."""
    names = ("qlinear_prepack", "qlinear_pointwise")
    return torch.cpu._is_vnni_supported() and all(hasattr(torch.ops.onednn, name) for name in names)


def has_onednn(precision: str) -> bool:
    """Whether this PyTorch was built with the products that `OneDnnLinear` calls, and this CPU computes them."""
    names = ("_reorder_linear_weight", "_linear_pointwise")
    built: bool = torch._C._has_mkldnn  # what torch.backends.mkldnn.is_available returns
    if not built or not all(hasattr(torch.ops.mkldnn, name) for name in names):
        return False
    return precision == "float32" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


@functools.cache
def bfloat16_is_faster() -> bool:
    """Whether this CPU multiplies much faster in bfloat16 than in float32, as measured: its flags do not tell.

    AMX does; AVX512_BF16 is twice as fast as float32 on some processors, and half as fast on others.
    """
    return has_onednn("bfloat16") and _seconds("float32") > FASTER * _seconds("bfloat16")


def _seconds(precision: str) -> float:
    """The shortest of a few times of a product in this precision."""
    weight, bias, x = (torch.ones(*size, dtype=dtype_of(precision)) for size in ((768, 768), (768,), (256, 768)))
    product = OneDnnLinear(weight, bias, "relu", rows=len(x))
    return min(timeit.repeat(lambda: product(x), number=1, repeat=10))


def _to_int8(x: Tensor) -> tuple[Tensor, Tensor]:
    """Rows as unsigned 8-bit integers and their scales (rows, 1): the largest value of each row becomes 255 or 1."""
    quantized, scale = torch.empty(x.shape, dtype=torch.uint8), x.new_empty(len(x), 1)
    count = max(1, NUMBERS_IN_CACHE // x.shape[1])
    held = x.new_empty(min(count, len(x)), x.shape[1])
    for rows, into, scales in zip(*(torch.split(each, count) for each in (x, quantized, scale)), strict=True):
        part = torch.abs(rows, out=held[: len(rows)])
        torch.amax(part, 1, keepdim=True, out=scales).clamp_(min=LEAST_SCALE).div_(INT8_LARGEST)
        torch.div(rows, scales, out=part).add_(INT8_ZERO + 0.5)  # rounded down, so half more rounds to the nearest
        with np.errstate(invalid="ignore"):  # the scale of a row that is not finite makes its results that, too
            np.copyto(into.numpy(), part.numpy(), casting="unsafe")  # in a quarter of the time of PyTorch's copy_
    return quantized, scale
