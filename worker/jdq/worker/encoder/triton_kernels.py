"""What CUDA computes between matrix products, in Triton: attention over packed texts, norms of sums, GELU, float8 rows.

PyTorch's own calls write and read each intermediate result in the GPU's memory, and its attention does not use what
Hopper cards have for matrix products. `benchmarks/gpu.py` prints these kernels beside PyTorch's. Arithmetic is in
float32; GELU is the tanh formula, exact to 0.0005, as in `FusedGeluLinear`.
"""

from __future__ import annotations

import subprocess
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton import TritonError

from jdq.worker.encoder.float8 import Float8Rows
from jdq.worker.encoder.layout import TILE_QUERIES, Layout

# What starting a kernel raises where the compiler does not know the GPU, or where it or the C compiler does not run.
CANNOT_RUN = (TritonError, RuntimeError, OSError, subprocess.SubprocessError)
FLOAT8_LARGEST = tl.constexpr(448.0)
LEAST_LARGEST = tl.constexpr(1e-9)  # for rows of zeros
LOG2_E = 1.4426950408889634
# x * sigmoid(2 * sqrt(2 / pi) * (x + 0.044715 * x ** 3)) is the tanh formula; the sigmoid is by powers of 2.
GELU_SLOPE = tl.constexpr(2 * 0.7978845608028654 * LOG2_E)
GELU_CUBIC = tl.constexpr(0.044715)
TILE_KEYS = 64
ATTENTION_OPTIONS: dict[str, Any] = {"num_warps": 4, "num_stages": 3}


def attention(q: Tensor, k: Tensor, v: Tensor, layout: Layout) -> Tensor:
    """(rows, heads, head dim) -> (rows of q, dim): each text's queries over its own keys.

    The head dim is a power of 2 from 16 to 128.
    """
    n_rows, heads, head_dim = q.shape
    out = q.new_empty(n_rows, heads * head_dim)
    cu_seqlens_q, _ = layout.queries(q, k)
    all_rows = n_rows == len(k)
    n_tiles = layout.tiles.shape[1] if all_rows else len(layout.firsts)
    _attention[(n_tiles * heads,)](
        *(q, k, v, out, cu_seqlens_q, layout.cu_seqlens, layout.tiles, n_tiles),
        *(q.stride(0), k.stride(0), v.stride(0), out.stride(0), head_dim**-0.5 * LOG2_E),
        ALL_ROWS=all_rows,
        HEADS=heads,
        DIM=head_dim,
        QUERIES=TILE_QUERIES,
        KEYS=TILE_KEYS,
        **ATTENTION_OPTIONS,
    )
    return out


def normed_sum(x: Tensor, residual: Tensor, gain: Tensor, bias: Tensor, eps: float) -> Tensor:
    """LayerNorm(x + residual): (rows, dim) each; the sum is not rounded before it is normed."""
    y = torch.empty_like(x)
    _start_normed_sum(x, residual, gain, bias, y, None, eps)
    return y


def float8_normed_sum(x: Tensor, residual: Tensor, gain: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Float8Rows]:
    """The same, and its rows in float8, as `float8_rows` gives them, but without reading them again."""
    y, quantized = torch.empty_like(x), _empty_float8_rows(x)
    _start_normed_sum(x, residual, gain, bias, y, quantized, eps)
    return y, quantized


def _start_normed_sum(
    x: Tensor, residual: Tensor, gain: Tensor, bias: Tensor, y: Tensor, quantized: Float8Rows | None, eps: float
) -> None:
    rows, dim = x.shape
    _normed_sum[(rows,)](
        *(x, residual, gain, bias, y, *(quantized or (y, y)), eps),  # of which nothing is written then
        DIM=dim,
        BLOCK=triton.next_power_of_2(dim),
        FLOAT8=quantized is not None,
        num_warps=2,
    )


def gelu(x: Tensor) -> Tensor:
    """GELU of contiguous numbers, in place."""
    block = 4_096
    _gelu[(triton.cdiv(x.numel(), block),)](x, x.numel(), BLOCK=block, num_warps=8)
    return x


def float8_rows(x: Tensor, *, activate: bool = False) -> Float8Rows:
    """Rows, or their GELU, in float8: each row's largest value becomes float8's largest."""
    (rows, dim), quantized = x.shape, _empty_float8_rows(x)
    _float8_rows[(rows,)](
        *(x, *quantized),
        DIM=dim,
        BLOCK=triton.next_power_of_2(dim),
        ACTIVATE=activate,
        num_warps=4 if dim > 2_048 else 2,
    )
    return quantized


def _empty_float8_rows(x: Tensor) -> Float8Rows:
    return Float8Rows(torch.empty_like(x, dtype=torch.float8_e4m3fn), x.new_empty(len(x), 1, dtype=torch.float32))


@triton.jit(do_not_specialize=["n_tiles"])
def _attention(
    q_ptr, k_ptr, v_ptr, out_ptr, cu_q_ptr, cu_k_ptr, tiles_ptr, n_tiles,
    q_stride, k_stride, v_stride, out_stride, scale,
    ALL_ROWS: tl.constexpr, HEADS: tl.constexpr, DIM: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr,
):  # fmt: skip
    """Softmax over the keys tile by tile, with the running largest score and sum (arXiv:2307.08691)."""
    head, text, first = tl.program_id(0) % HEADS, tl.program_id(0) // HEADS, 0  # neighbours read the same rows
    if ALL_ROWS:
        first = tl.load(tiles_ptr + n_tiles + text) * QUERIES
        text = tl.load(tiles_ptr + text)
    first_q, first_k = tl.load(cu_q_ptr + text).to(tl.int64), tl.load(cu_k_ptr + text).to(tl.int64)
    n_queries = tl.load(cu_q_ptr + text + 1) - first_q - first
    n_keys = (tl.load(cu_k_ptr + text + 1) - first_k).to(tl.int32)
    dims, queries, keys = head * DIM + tl.arange(0, DIM), tl.arange(0, QUERIES), tl.arange(0, KEYS)
    asked = (queries < n_queries)[:, None]
    q_rows = q_ptr + (first_q + first) * q_stride
    q = tl.load(q_rows + queries[:, None] * q_stride + dims[None, :], mask=asked, other=0.0)
    k_tile = k_ptr + first_k * k_stride + keys[None, :] * k_stride + dims[:, None]
    v_tile = v_ptr + first_k * v_stride + keys[:, None] * v_stride + dims[None, :]
    largest = tl.full([QUERIES], float("-inf"), tl.float32)
    total = tl.zeros([QUERIES], tl.float32)
    acc = tl.zeros([QUERIES, DIM], tl.float32)
    n_whole = n_keys // KEYS * KEYS
    for start in range(0, n_whole, KEYS):
        k = tl.load(k_tile + start * k_stride)
        v = tl.load(v_tile + start * v_stride)
        acc, largest, total = _attend_to(acc, largest, total, tl.dot(q, k), v, scale)
    if n_whole < n_keys:
        there = keys < n_keys - n_whole
        k = tl.load(k_tile + n_whole * k_stride, mask=there[None, :], other=0.0)
        v = tl.load(v_tile + n_whole * v_stride, mask=there[:, None], other=0.0)
        scores = tl.where(there[None, :], tl.dot(q, k), float("-inf"))
        acc, largest, total = _attend_to(acc, largest, total, scores, v, scale)
    out = (acc / total[:, None]).to(out_ptr.dtype.element_ty)
    out_rows = out_ptr + (first_q + first) * out_stride
    tl.store(out_rows + queries[:, None] * out_stride + dims[None, :], out, mask=asked)


@triton.jit
def _attend_to(acc, largest, total, scores, v, scale):
    """One more tile of keys: what was summed is scaled to the new largest score. Scores by `scale` are powers of 2."""
    new_largest = tl.maximum(largest, tl.max(scores, 1))
    weights = tl.exp2(scores * scale - (new_largest * scale)[:, None])
    shrunk = tl.exp2((largest - new_largest) * scale)
    acc = tl.dot(weights.to(v.dtype), v, acc * shrunk[:, None])
    return acc, new_largest, total * shrunk + tl.sum(weights, 1)


@triton.jit
def _normed_sum(
    x_ptr, residual_ptr, gain_ptr, bias_ptr, y_ptr, quantized_ptr, scale_ptr, eps,
    DIM: tl.constexpr, BLOCK: tl.constexpr, FLOAT8: tl.constexpr,
):  # fmt: skip
    columns = tl.arange(0, BLOCK)
    there = columns < DIM
    row = tl.program_id(0).to(tl.int64)
    at = row * DIM + columns
    x = tl.load(x_ptr + at, mask=there, other=0.0).to(tl.float32)
    x += tl.load(residual_ptr + at, mask=there, other=0.0).to(tl.float32)
    centred = tl.where(there, x - tl.sum(x, 0) / DIM, 0.0)
    normed = centred * tl.rsqrt(tl.sum(centred * centred, 0) / DIM + eps)
    gain = tl.load(gain_ptr + columns, mask=there, other=0.0).to(tl.float32)
    bias = tl.load(bias_ptr + columns, mask=there, other=0.0).to(tl.float32)
    y = (normed * gain + bias).to(y_ptr.dtype.element_ty)
    tl.store(y_ptr + at, y, mask=there)
    if FLOAT8:
        _store_float8(tl.where(there, y.to(tl.float32), 0.0), quantized_ptr + at, scale_ptr + row, there)


@triton.jit
def _gelu(x_ptr, count, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < count, other=0.0).to(tl.float32)
    tl.store(x_ptr + at, _gelu_of(x).to(x_ptr.dtype.element_ty), mask=at < count)


@triton.jit
def _float8_rows(x_ptr, quantized_ptr, scale_ptr, DIM: tl.constexpr, BLOCK: tl.constexpr, ACTIVATE: tl.constexpr):
    columns = tl.arange(0, BLOCK)
    there = columns < DIM
    row = tl.program_id(0).to(tl.int64)
    x = tl.load(x_ptr + row * DIM + columns, mask=there, other=0.0).to(tl.float32)
    if ACTIVATE:
        x = _gelu_of(x)
    _store_float8(x, quantized_ptr + row * DIM + columns, scale_ptr + row, there)


@triton.jit
def _store_float8(x, quantized_ptrs, scale_ptr, there):
    """One row, zeros where `there` is false."""
    scale = tl.maximum(tl.max(tl.abs(x), 0), LEAST_LARGEST) / FLOAT8_LARGEST
    tl.store(scale_ptr, scale)
    tl.store(quantized_ptrs, (x * (1.0 / scale)).to(tl.float8e4nv), mask=there)


@triton.jit
def _gelu_of(x):
    return x / (1.0 + tl.exp2((x + x * x * x * GELU_CUBIC) * -GELU_SLOPE))
