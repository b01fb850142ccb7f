"""The packed path gives Hugging Face's numbers, whatever else is in the batch and in whatever order."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BartForSequenceClassification,
    BartModel,
    MBartConfig,
    MBartForConditionalGeneration,
    MBartModel,
)

from jdq.worker.encoder import attention, linear, loading
from jdq.worker.encoder.batch import pack
from jdq.worker.encoder.budget import TokenBudget
from jdq.worker.encoder.errors import UnsupportedEncoder
from jdq.worker.encoder.identity import read_files
from jdq.worker.encoder.loading import least_cosine, load_encoder
from jdq.worker.encoder.packed import PackedBart
from jdq.worker.encoder.shape import BartShape
from jdq.worker.encoder.structure import read_structure
from jdq.worker.encoder.tiny import make_tiny_bart
from tests.encoder.conftest import BART_SIZES, VOCABULARY, Reference, SaveModel, random_tokens
from tests.encoder.plain_fused import PlainFused

TOLERANCE = 1e-5
ALL_KINDS_OF_LENGTHS = [1, 2, 3, 7, 7, 7, 31, 64, 65, 128, 129, 255, 300, 512, 777, 1023, 1024]


def test_every_length_from_one_token_to_the_limit_equals_the_reference(tiny: Path, reference: Reference) -> None:
    tokens = random_tokens(ALL_KINDS_OF_LENGTHS)
    encoder = load_encoder(str(tiny))
    assert encoder.path == "packed"
    assert np.abs(encoder.encode(tokens) - reference(tiny, tokens)).max() <= TOLERANCE


@pytest.mark.parametrize(("dim", "heads", "layers"), [(96, 12, 6), (128, 16, 12)], ids=["bart-base", "bart-large"])
def test_the_published_shapes_scaled_down_equal_the_reference(
    dim: int, heads: int, layers: int, save_model: SaveModel, reference: Reference
) -> None:
    sizes = BART_SIZES | {"d_model": dim, "encoder_layers": layers, "encoder_ffn_dim": 4 * dim}
    sizes |= {"encoder_attention_heads": heads, "decoder_attention_heads": heads}
    torch.manual_seed(1)
    folder = save_model(BartModel(BartConfig(**sizes, init_std=0.05)))
    tokens = random_tokens([1, 2, 19, 257, 640, 1024])
    error = np.abs(load_encoder(str(folder)).encode(tokens) - reference(folder, tokens)).max()
    # Rounding grows with depth: after 12 layers the reference itself is 6e-6 from the same sums in float64.
    assert error <= TOLERANCE * layers / 6


def test_a_feature_does_not_depend_on_the_other_texts_or_their_order(tiny: Path) -> None:
    encoder = load_encoder(str(tiny))
    texts = [f"{'word ' * n}number {n}" for n in (1, 200, 3, 40, 3, 800, 0, 17)]
    together = encoder.encode(encoder.tokenize(texts))
    alone = np.concatenate([encoder.encode(encoder.tokenize([text])) for text in texts])
    reversed_order = encoder.encode(encoder.tokenize(texts[::-1]))[::-1]
    assert np.abs(together - alone).max() <= TOLERANCE
    assert np.abs(together - reversed_order).max() <= TOLERANCE


def test_ten_thousand_mixed_lengths_packed_equal_padded(tmp_path: Path) -> None:
    from jdq.worker.encoder.plain import PlainEncoder, load_network

    folder = make_tiny_bart(tmp_path / "b", dim=16, layers=2)
    lengths = np.random.default_rng(3).gamma(2.0, 12.0, 10_000).astype(int).clip(1, 200)
    tokens = random_tokens(lengths.tolist())
    packed = load_encoder(str(folder))
    plain = PlainEncoder(load_network(folder), pad_id=1, precision="float32", device="cpu")
    padded = dataclasses.replace(packed, network=plain, budget=TokenBudget(8_192))
    assert np.abs(packed.encode(tokens) - padded.encode(tokens)).max() <= TOLERANCE


@pytest.mark.parametrize(
    "network",
    [
        lambda: BartForSequenceClassification(BartConfig(**BART_SIZES)),
        lambda: BartForConditionalGeneration(BartConfig(**BART_SIZES, activation_function="relu")),
        lambda: BartModel(BartConfig(**BART_SIZES, scale_embedding=True)),
        lambda: MBartForConditionalGeneration(MBartConfig(**BART_SIZES, scale_embedding=True)),
    ],
    ids=["classifier", "relu", "scaled-embedding", "mbart"],
)
def test_other_barts_take_the_packed_path_and_equal_the_reference(
    network: object, save_model: SaveModel, reference: Reference
) -> None:
    torch.manual_seed(2)
    assert callable(network)
    folder = save_model(network())
    tokens = random_tokens([1, 5, 5, 130, 400])
    encoder = load_encoder(str(folder))
    assert encoder.path == "packed"
    assert np.abs(encoder.encode(tokens) - reference(folder, tokens)).max() <= TOLERANCE


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_stored_in_half_precision_are_computed_with_in_float32(
    dtype: torch.dtype, save_model: SaveModel, reference: Reference
) -> None:
    folder = save_model(BartModel(BartConfig(**BART_SIZES)).to(dtype))
    tokens = random_tokens([4, 90])
    assert np.abs(load_encoder(str(folder)).encode(tokens) - reference(folder, tokens)).max() <= TOLERANCE


def test_weights_in_several_files_are_read_together(save_model: SaveModel, reference: Reference) -> None:
    folder = save_model(BartModel(BartConfig(**BART_SIZES)), max_shard_size="300KB")
    assert (folder / "model.safetensors.index.json").is_file()
    tokens = random_tokens([4, 90])
    encoder = load_encoder(str(folder))
    assert encoder.path == "packed"
    assert np.abs(encoder.encode(tokens) - reference(folder, tokens)).max() <= TOLERANCE


def test_a_bart_with_an_unknown_activation_takes_the_plain_path(save_model: SaveModel, reference: Reference) -> None:
    folder = save_model(BartModel(BartConfig(**BART_SIZES, activation_function="gelu_new")))
    tokens = random_tokens([4, 90])
    encoder = load_encoder(str(folder))
    assert encoder.path == "plain"
    assert np.abs(encoder.encode(tokens) - reference(folder, tokens)).max() <= TOLERANCE


def test_without_onednn_the_numbers_are_the_same(
    tiny: Path, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "has_onednn", lambda precision: False)
    tokens = random_tokens(ALL_KINDS_OF_LENGTHS)
    assert np.abs(load_encoder(str(tiny)).encode(tokens) - reference(tiny, tokens)).max() <= TOLERANCE


def test_bfloat16_on_the_cpu_points_the_same_way(tiny: Path, reference: Reference) -> None:
    tokens = random_tokens([3, 50, 400])
    features = load_encoder(str(tiny), precision="bfloat16").encode(tokens)
    expected = reference(tiny, tokens)
    cosine = (features * expected).sum(1) / np.linalg.norm(features, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosine.min() >= 0.9999


def packed_of(folder: Path, precision: str, **options: Any) -> PackedBart:
    """The packed network by itself, also in a precision that load_encoder gives to a GPU only."""
    structure = read_structure(folder)
    assert structure.shape is not None
    tensors = structure.tensors
    return PackedBart(
        structure.shape, lambda n: tensors[n].load(), precision=precision, device="cpu", rows=512, **options
    )


@pytest.mark.parametrize("activation", ["gelu", "relu"])
@pytest.mark.parametrize("fused", [None, PlainFused()])
@pytest.mark.parametrize(("precision", "cosine"), [("bfloat16", 0.9999), ("float8", 0.9997)])
def test_what_cuda_computes_points_nearly_the_same_way_where_it_is_emulated(
    precision: str, cosine: float, fused: Any, activation: str, save_model: SaveModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(5)
    folder = save_model(BartModel(BartConfig(**BART_SIZES, activation_function=activation, init_std=0.05)))
    for module in ("packed", "linear"):
        monkeypatch.setattr(f"jdq.worker.encoder.{module}.fused_kernels", lambda device: fused)
    batch = pack(random_tokens([3, 50, 400]), np.arange(3))
    exact = packed_of(folder, "float32").pooled(batch)
    for options in ({}, {"all_in_float8": False}):
        found = packed_of(folder, precision, **options).pooled(batch).float()
        assert float(torch.cosine_similarity(exact, found).min()) >= cosine


@pytest.mark.parametrize(
    ("cosines", "precision", "all_in_float8"),
    [([0.9995], "float8", [True]), ([0.9985, 0.9995], "float8", [True, False]), ([0.9995], "int8", [True])],
)
def test_the_fastest_network_that_is_close_enough_is_loaded(
    cosines: list[float], precision: str, all_in_float8: list[bool], tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[bool] = []

    def network(files: object, device: str, asked: str, *, all_in_float8: bool = True) -> str:
        if asked == precision:
            made.append(all_in_float8)
        return asked

    monkeypatch.setattr(loading, "_network", network)
    monkeypatch.setattr(loading, "check_device", lambda files, device: None)
    monkeypatch.setattr(loading, "least_cosine", lambda found, expected, files: cosines[len(made) - 1])
    files = read_files(tiny, max_length=None, precision=precision)
    assert loading.build_encoder(files, device="cpu").identity.precision == precision
    assert made == all_in_float8


@pytest.mark.parametrize(("precision", "reference"), [("float8", "bfloat16"), ("int8", "float32")])
@pytest.mark.parametrize("cosine", [0.9985, float("nan")])
def test_8_bit_precisions_are_refused_where_they_turn_the_features(
    cosine: float, precision: str, reference: str, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "check_device", lambda files, device: None)
    monkeypatch.setattr(loading, "least_cosine", lambda found, expected, files: cosine)
    files = read_files(tiny, max_length=None, precision=precision)
    message = rf"(?s)in {precision} this .* cosine of only {cosine:.4f} .*in {reference}.*try: --precision {reference}"
    with pytest.raises(UnsupportedEncoder, match=message):
        loading.build_encoder(files, device="cpu")


def test_the_cosine_is_the_least_of_all_texts_and_nan_where_a_feature_is(tiny: Path, tmp_path: Path) -> None:
    other = make_tiny_bart(tmp_path / "other", dim=64, layers=3, seed=9)
    files = read_files(tiny, max_length=None, precision="float32")
    network = packed_of(tiny, "float32")
    assert least_cosine(network, packed_of(tiny, "bfloat16"), files) > 0.999
    assert least_cosine(network, packed_of(other, "float32"), files) < 0.9
    broken = packed_of(tiny, "float32")
    broken._tokens[0] = float("nan")  # <s>, which begins every text but the random words
    assert math.isnan(least_cosine(network, broken, files))


def text_by_text(
    q: Tensor, k: Tensor, v: Tensor, cu_seqlens_q: Tensor, cu_seqlens_k: Tensor, *longest: int, dropout: float
) -> Tensor:
    """What CUDA's variable-length kernels compute and require, text by text on the CPU."""
    assert cu_seqlens_q.dtype == cu_seqlens_k.dtype == torch.int32
    assert len(cu_seqlens_q) == len(cu_seqlens_k)
    assert (int(cu_seqlens_q.diff().max()), int(cu_seqlens_k.diff().max())) == longest
    assert (int(cu_seqlens_q[-1]), int(cu_seqlens_k[-1])) == (len(q), len(k))
    assert all(part.stride(-1) == 1 for part in (q, k, v))
    out = torch.empty_like(q, memory_format=torch.contiguous_format)
    pairs = zip(
        cu_seqlens_q.tolist(), cu_seqlens_q[1:].tolist(), cu_seqlens_k.tolist(), cu_seqlens_k[1:].tolist(), strict=False
    )
    for q_start, q_end, k_start, k_end in pairs:
        parts = (q[q_start:q_end], k[k_start:k_end], v[k_start:k_end])
        query, key, value = (part.transpose(0, 1) for part in parts)
        seen = torch.nn.functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
        out[q_start:q_end] = seen.transpose(0, 1)
    return out


def flash_on_a_cpu(*arguments: Any) -> tuple[Tensor]:
    *operands, dropout, causal, debug = arguments
    assert not causal and not debug
    return (text_by_text(*operands, dropout=dropout),)


def memory_efficient_on_a_cpu(*arguments: Any) -> tuple[Tensor]:
    q, k, v, bias, *operands, dropout, mask = arguments
    assert bias is None and mask == 0
    return (text_by_text(q[0], k[0], v[0], *operands, dropout=dropout)[None],)


KERNELS = {
    "_flash_attention_forward": (attention.flash_attention, flash_on_a_cpu),
    "_efficient_attention_forward": (attention.memory_efficient_attention, memory_efficient_on_a_cpu),
}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("kind", ["bart", "mbart"])
def test_the_variable_length_kernels_are_called_by_their_contract(
    kind: str, kernel: str, tiny: Path, save_model: SaveModel, reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, on_a_cpu = KERNELS[kernel]
    monkeypatch.setattr(torch.ops.aten, kernel, on_a_cpu)
    monkeypatch.setattr("jdq.worker.encoder.packed.varlen_kernel", lambda *_: ours)
    folder = tiny if kind == "bart" else save_model(MBartForConditionalGeneration(MBartConfig(**BART_SIZES)))
    tokens = random_tokens([1, 5, 5, 130, 400])
    features = load_encoder(str(folder)).encode(tokens)
    assert np.abs(features - reference(folder, tokens)).max() <= TOLERANCE


def test_a_full_size_bart_base_equals_the_reference(tmp_path: Path, tiny: Path, reference: Reference) -> None:
    from transformers import AutoTokenizer

    torch.manual_seed(4)
    sizes = {"d_model": 768, "encoder_layers": 6, "decoder_layers": 1, "encoder_ffn_dim": 3072}
    heads = {"encoder_attention_heads": 12, "decoder_attention_heads": 12, "decoder_ffn_dim": 64}
    BartModel(BartConfig(**sizes, **heads, vocab_size=VOCABULARY)).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny).save_pretrained(tmp_path)
    tokens = random_tokens([1, 30, 211, 211, 1024])
    assert np.abs(load_encoder(str(tmp_path)).encode(tokens) - reference(tmp_path, tokens)).max() <= TOLERANCE


SIZES = {**BART_SIZES, "max_position_embeddings": 32}


@pytest.mark.parametrize("poolings", [("cls",), ("mean",), ("cls", "mean")])
@pytest.mark.parametrize("model_type", ["bart", "mbart"])
def test_each_order_of_norms_and_each_pooling_equals_the_reference(model_type: str, poolings: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    network = (BartModel(BartConfig(**SIZES)) if model_type == "bart" else MBartModel(MBartConfig(**SIZES))).eval()
    shape = BartShape.of(network.config.to_dict())
    assert shape is not None
    encoder, state = network.get_encoder(), network.get_encoder().state_dict()
    for name, tensor in state.items():
        if "norm" in name:
            tensor.uniform_(0.5, 1.5)  # so that a norm left out, or one too many, shows
    packed = PackedBart(shape, state.__getitem__, precision="float32", device="cpu", rows=64, poolings=poolings)
    tokens = random_tokens([9, 9, 4, 1])
    features = packed.pooled(pack(tokens, np.arange(4)))
    with torch.no_grad():
        texts = torch.split(torch.from_numpy(tokens.ids.astype(np.int64)), tokens.lengths.tolist())
        states = [encoder(input_ids=text[None]).last_hidden_state[0] for text in texts]
    expected = torch.stack([torch.cat([_pooled(each, name) for name in poolings]) for each in states])
    assert float((features - expected).abs().max()) <= TOLERANCE
    kept = [tensor.nbytes for name, tensor in state.items() if "norm" not in name]
    assert packed.size_bytes == sum(kept) - 2 * shape.dim * 4  # the two rows of positions that no text uses


def _pooled(states: Tensor, name: str) -> Tensor:
    return states[0] if name == "cls" else states.mean(0)


@pytest.mark.parametrize(("all_in_float8", "of_fc2"), [(True, "float8"), (False, "bfloat16")])
def test_float8_may_leave_out_the_second_product_of_the_feed_forward(
    all_in_float8: bool, of_fc2: str, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[tuple[int, ...], str]] = []

    def make_linear(weight: Tensor, bias: Tensor, *, precision: str, **options: Any) -> Any:
        made.append((tuple(weight.shape), precision))
        return linear.make_linear(weight, bias, precision="bfloat16", **options)

    monkeypatch.setattr("jdq.worker.encoder.packed.make_linear", make_linear)
    dim, ffn_dim = 64, 256
    packed_of(tiny, "float8", all_in_float8=all_in_float8)
    assert {precision for size, precision in made if size == (dim, ffn_dim)} == {of_fc2}
    assert {precision for size, precision in made if size != (dim, ffn_dim)} == {"float8"}
