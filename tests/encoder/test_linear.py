"""Every kind of linear layer computes act(x W^T + b) and x W^T + b + residual, to its precision."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from jdq.worker.encoder.linear import (
    Float8Linear,
    Int8Linear,
    Linear,
    OneDnnLinear,
    TorchLinear,
    has_int8,
    make_linear,
)

OUTSIDE, INSIDE, ROWS = 48, 32, 70
# By precision, how far a result of about 1 may be from the exact one.
NEAR = {"float32": 1e-5, "bfloat16": 0.05, "int8": 0.1, "float8": 0.3}
NEEDS_INT8 = pytest.mark.skipif(not has_int8(), reason="this CPU has no VNNI instructions")
PRECISIONS = ["float32", "bfloat16", "float8", pytest.param("int8", marks=NEEDS_INT8)]
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "relu": torch.relu}


def factors() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weight, bias, rows and a residual; the third row is of zeros."""
    draw = torch.Generator().manual_seed(0)
    sizes = ((OUTSIDE, INSIDE), (OUTSIDE,), (ROWS, INSIDE), (ROWS, OUTSIDE))
    weight, bias, x, residual = (torch.randn(*size, generator=draw) for size in sizes)
    x[2] = 0
    return weight / INSIDE**0.5, bias, x, residual


def layer(precision: str, activation: str = "relu") -> Linear:
    weight, bias, _, _ = factors()
    return make_linear(weight, bias, activation=activation, precision=precision, device="cpu", rows=ROWS)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_results_are_the_exact_ones_to_the_precision(precision: str, activation: str) -> None:
    weight, bias, x, residual = factors()
    dtype = torch.float32 if precision in ("float32", "int8") else torch.bfloat16
    x, residual = x.to(dtype), residual.to(dtype)
    exact = F.linear(x.double(), weight.double(), bias.double())
    product, kept = layer(precision, activation), residual.clone()
    for found, expected in (
        (product(x), exact),
        (product.activated(x), ACTIVATIONS[activation](exact)),
        (product.added(x, residual), exact + residual.double()),
    ):
        assert found.dtype == dtype
        assert float((found.double() - expected).abs().max()) <= NEAR[precision]
        assert float((found.double() - expected).abs().mean()) <= NEAR[precision] / 4
    assert torch.equal(residual, kept)


def test_the_layer_is_the_fastest_one_of_its_precision() -> None:
    mkldnn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    kinds = {"float32": OneDnnLinear if mkldnn else TorchLinear, "bfloat16": TorchLinear, "float8": Float8Linear}
    assert {precision: type(layer(precision)) for precision in kinds} == kinds
    if has_int8():
        assert type(layer("int8")) is Int8Linear


@pytest.mark.parametrize(
    ("precision", "weight_bytes", "bias_bytes"),
    [("float32", 4, 4), ("bfloat16", 2, 2), ("float8", 1, 2), pytest.param("int8", 1, 4, marks=NEEDS_INT8)],
)
def test_a_layer_knows_its_size(precision: str, weight_bytes: int, bias_bytes: int) -> None:
    assert layer(precision).size_bytes == OUTSIDE * INSIDE * weight_bytes + OUTSIDE * bias_bytes
