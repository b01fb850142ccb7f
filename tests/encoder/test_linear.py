"""Every kind of linear layer computes act(x W^T + b) and x W^T + b + residual, to its precision."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from jdq.worker.encoder import linear
from jdq.worker.encoder.linear import (
    Float8Linear,
    FusedGeluLinear,
    Int8Linear,
    Linear,
    OneDnnLinear,
    TorchLinear,
    bfloat16_is_faster,
    has_int8,
    has_onednn,
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


@pytest.mark.skipif(not has_onednn("float32"), reason="this PyTorch was built without oneDNN")
@pytest.mark.parametrize(
    ("capability", "activation", "in_product"),
    [("AVX2", "gelu", "none"), ("AVX2", "relu", "relu"), ("AVX512", "gelu", "gelu"), ("DEFAULT", "gelu", "gelu")],
)
def test_gelu_is_computed_apart_where_the_product_is_slow_at_it(
    capability: str, activation: str, in_product: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    weight, bias, x, _ = factors()
    product = OneDnnLinear(weight, bias, activation, rows=ROWS)
    called: list[str] = []

    def counted(*arguments: object) -> object:
        called.append(str(arguments[3]))
        return torch.ops.mkldnn._linear_pointwise(*arguments)

    monkeypatch.setattr(product, "_product", counted)
    found = product.activated(x)
    assert called == [in_product]
    torch.testing.assert_close(found, ACTIVATIONS[activation](F.linear(x, weight, bias)), rtol=0, atol=1e-5)


def test_the_layer_is_the_fastest_one_of_its_precision() -> None:
    fast = {precision: OneDnnLinear if has_onednn(precision) else TorchLinear for precision in ("float32", "bfloat16")}
    kinds = {**fast, "float8": Float8Linear, **({"int8": Int8Linear} if has_int8() else {})}
    assert {precision: type(layer(precision)) for precision in kinds} == kinds


def test_onednn_needs_its_build_and_a_cpu_that_computes_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    mkldnn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    for supported in (False, True):
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda supported=supported: supported)
        assert has_onednn("bfloat16") == (mkldnn and supported)
        assert has_onednn("float32") == mkldnn
    monkeypatch.setattr(torch._C, "_has_mkldnn", False)
    assert not has_onednn("float32")


@pytest.mark.parametrize(
    ("supported", "float32_s", "faster"),
    [(True, 1.9, True), (True, 1.1, False), (True, 0.5, False), (False, 1.9, False)],
)
def test_bfloat16_is_worth_it_where_it_was_measured_to_be_faster(
    supported: bool, float32_s: float, faster: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "has_onednn", lambda precision: supported)
    monkeypatch.setattr(linear, "_seconds", {"float32": float32_s, "bfloat16": 1.0}.__getitem__)
    assert bfloat16_is_faster.__wrapped__() == faster


@pytest.mark.skipif(not has_onednn("bfloat16"), reason="this CPU does not compute bfloat16")
def test_products_are_measured_on_this_cpu() -> None:
    assert all(0 < linear._seconds(precision) < 60 for precision in ("float32", "bfloat16"))


def test_cuda_adds_gelu_to_the_product_in_bfloat16_only() -> None:
    with FakeTensorMode():
        weight, bias = torch.empty(OUTSIDE, INSIDE), torch.empty(OUTSIDE)
        kinds = {
            (precision, activation): type(
                make_linear(weight, bias, activation=activation, precision=precision, device="cuda:0", rows=ROWS)
            )
            for precision in ("bfloat16", "float32")
            for activation in ACTIVATIONS
        }
    assert [key for key, kind in kinds.items() if kind is FusedGeluLinear] == [("bfloat16", "gelu")]


def test_the_tanh_formula_of_cuda_is_within_bfloat16s_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    def as_on_cuda(bias: Tensor, x: Tensor, weight: Tensor, *, use_gelu: bool) -> Tensor:
        assert use_gelu
        return F.gelu(torch.addmm(bias.float(), x.float(), weight.float()), approximate="tanh").to(x.dtype)

    monkeypatch.setattr(torch, "_addmm_activation", as_on_cuda)
    weight, bias, x, _ = (part.to(torch.bfloat16) for part in factors())
    exact = F.gelu(F.linear(x.double(), weight.double(), bias.double()))
    found = FusedGeluLinear(weight, bias, "gelu").activated(x)
    assert found.dtype == torch.bfloat16
    assert float(F.cosine_similarity(found.double(), exact, dim=0).min()) >= 0.9999


@pytest.mark.parametrize(
    ("precision", "weight_bytes", "bias_bytes"),
    [("float32", 4, 4), ("bfloat16", 2, 2), ("float8", 1, 2), pytest.param("int8", 1, 4, marks=NEEDS_INT8)],
)
def test_a_layer_knows_its_size(precision: str, weight_bytes: int, bias_bytes: int) -> None:
    assert layer(precision).size_bytes == OUTSIDE * INSIDE * weight_bytes + OUTSIDE * bias_bytes
