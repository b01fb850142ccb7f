"""The kernels in Triton equal PyTorch's calls: on a GPU, or by Triton's interpreter, which multiplies float32 only."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from jdq.worker.encoder.batch import pack
from jdq.worker.encoder.layout import layout_of
from tests.encoder.conftest import random_tokens
from tests.encoder.plain_fused import PlainFused

pytest.importorskip("triton")
from jdq.worker.encoder import triton_kernels

pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered in exp2")  # GELU of large negative numbers
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
PLAIN = PlainFused()


def drawn(*size: int) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(0)).to(DEVICE, torch.bfloat16)


def assert_close(found: Tensor, expected: Tensor, near: float = 0.005) -> None:
    """To one or two steps of bfloat16. Triton's interpreter rounds towards zero."""
    torch.testing.assert_close(found, expected, rtol=1 / 64, atol=near)


@pytest.mark.parametrize("dim", [48, 64, 1024])
def test_the_norm_of_a_sum_is_layer_norms(dim: int) -> None:
    x, residual, gain, bias = drawn(5, dim), 3 * drawn(7, dim)[2:], 1 + drawn(dim) / 4, drawn(dim)
    found, expected = (each.normed_sum(x, residual, gain, bias, 1e-2) for each in (triton_kernels, PLAIN))
    assert_close(found, expected)
    assert torch.equal(x, drawn(5, dim))


@pytest.mark.parametrize("size", [(1, 16), (3, 1504)])
def test_gelu_is_the_tanh_formula_in_place(size: tuple[int, int]) -> None:
    x = drawn(*size) * 3
    expected = PLAIN.gelu(x.clone())
    found = triton_kernels.gelu(x)
    assert found.data_ptr() == x.data_ptr()
    assert_close(found, expected)


@pytest.mark.parametrize("dim", [48, 3072])
@pytest.mark.parametrize("activate", [False, True])
def test_float8_rows_have_each_rows_largest_value_as_scale(dim: int, activate: bool) -> None:
    x = drawn(6, dim) * torch.tensor([1e-3, 1, 30, 0, 5, 1], device=DEVICE, dtype=torch.bfloat16)[:, None]
    found, scale = triton_kernels.float8_rows(x, activate=activate)
    expected, expected_scale = PLAIN.float8_rows(x, activate=activate)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    torch.testing.assert_close(scale, expected_scale, rtol=1e-3, atol=1e-12)
    far = (found.float() - expected.float()).abs() > 0.02 + expected.float().abs() / 8
    # Triton's interpreter loses the carry where rounding leads to the next power of 2.
    assert float(far.float().mean()) <= (0 if DEVICE == "cuda" else 0.05)


@pytest.mark.parametrize("dim", [48, 1024])
def test_the_norm_of_a_sum_comes_in_float8_too(dim: int) -> None:
    x, residual, gain, bias = drawn(5, dim), 3 * drawn(7, dim)[2:], 1 + drawn(dim) / 4, drawn(dim)
    y, rows = triton_kernels.float8_normed_sum(x, residual, gain, bias, 1e-2)
    assert torch.equal(y, triton_kernels.normed_sum(x, residual, gain, bias, 1e-2))
    expected = triton_kernels.float8_rows(y)
    assert torch.equal(rows.numbers.view(torch.uint8), expected.numbers.view(torch.uint8))
    assert torch.equal(rows.scales, expected.scales)


@pytest.mark.parametrize("head_dim", [16, 64])
def test_attention_sees_each_texts_own_rows(head_dim: int) -> None:
    lengths = [256, 200, 129, 128, 127, 65, 64, 63, 2, 1]  # around whole tiles
    layout = layout_of(pack(random_tokens(lengths), np.arange(len(lengths))), DEVICE, varlen=triton_kernels.attention)
    rows = 4 * drawn(sum(lengths), 3, 2, head_dim).to(torch.bfloat16 if DEVICE == "cuda" else torch.float32)
    q, k, v = rows.unbind(1)
    for asking in (q, q.index_select(0, layout.firsts)):  # all rows, or each text's first
        # On a GPU the softmax's weights are rounded to bfloat16.
        found, expected = (each.attention(asking, k, v, layout) for each in (triton_kernels, PLAIN))
        assert_close(found, expected, near=0.03)
