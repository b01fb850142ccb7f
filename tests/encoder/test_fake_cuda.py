"""Without a GPU: every CUDA branch passes PyTorch's own checks of shapes, dtypes and devices, and its guards."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import current_flash_attention_impl
from transformers import BartConfig, BartModel

from jdq.worker.encoder import attention
from jdq.worker.encoder.attention import flash_attention, memory_efficient_attention, varlen_kernel
from jdq.worker.encoder.batch import pack
from jdq.worker.encoder.budget import CUDA_MOST_TOKENS, TokenBudget
from jdq.worker.encoder.errors import UnsupportedEncoder
from jdq.worker.encoder.float8 import Float8Rows
from jdq.worker.encoder.forward_pool import open_forward_pool
from jdq.worker.encoder.identity import describe, read_files
from jdq.worker.encoder.loading import check_device
from jdq.worker.encoder.packed import PackedBart
from jdq.worker.encoder.shape import BartShape
from tests.encoder.conftest import BART_SIZES, SaveModel, random_tokens
from tests.encoder.plain_fused import PlainFused

Card = Callable[[int, int], None]


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Card:
    """Sets the compute capability that PyTorch reports."""

    def of_capability(major: int, minor: int) -> None:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (major, minor))

    return of_capability


@pytest.fixture(autouse=True)
def fused(monkeypatch: pytest.MonkeyPatch) -> dict[str, PlainFused]:
    """The fused kernels that a device takes: none, until a test puts some in."""
    found: dict[str, PlainFused] = {}
    for module in ("attention", "linear", "packed"):
        monkeypatch.setattr(f"jdq.worker.encoder.{module}.fused_kernels", found.get)
    return found


@pytest.fixture
def fake_cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tensors without memory, on a device that need not be there. They know neither pinning nor inference mode."""
    monkeypatch.setattr(Tensor, "pin_memory", lambda self: self)
    monkeypatch.setattr(torch.cuda, "device_of", lambda tensor: nullcontext())
    inference_mode = torch.inference_mode
    monkeypatch.setattr(torch, "inference_mode", lambda mode=True: inference_mode(False))
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield


@pytest.mark.parametrize("poolings", [("cls",), ("mean",), ("cls", "mean")])
@pytest.mark.parametrize("model_type", ["bart", "mbart"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float8"])
@pytest.mark.parametrize("heads", [4, 8])
@pytest.mark.parametrize("with_fused", [False, True])
@pytest.mark.usefixtures("fake_cuda")
def test_every_precision_and_shape_passes_the_kernels_checks(
    with_fused: bool,
    precision: str,
    model_type: str,
    heads: int,
    poolings: tuple[str, ...],
    card: Card,
    fused: dict[str, PlainFused],
) -> None:
    card(8, 9)
    if with_fused:
        fused["cuda:0"] = PlainFused()
    sizes = {**BART_SIZES, "encoder_attention_heads": heads, "max_position_embeddings": 1024}
    shape = BartShape.of(sizes | {"model_type": model_type})
    assert shape is not None
    tensors = {name: torch.empty(size) for name, size in shape.tensors().items()}
    network = PackedBart(shape, tensors.__getitem__, precision=precision, device="cuda:0", rows=1024, poolings=poolings)
    for lengths in ([1], [1, 5, 5, 130, 400], [1024]):
        states = network.pooled(pack(random_tokens(lengths), np.arange(len(lengths))))
        assert states.device.type == "cuda"
        assert states.shape == (len(lengths), len(poolings) * shape.dim)


class CountedFloat8(PlainFused):
    """Counts the rows that become float8 in a pass of their own."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def float8_rows(self, x: Tensor, *, activate: bool) -> Float8Rows:
        self.rows.append(len(x))
        return super().float8_rows(x, activate=activate)

    def float8_normed_sum(
        self, x: Tensor, residual: Tensor, gain: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Float8Rows]:
        y = self.normed_sum(x, residual, gain, bias, eps)
        return y, super().float8_rows(y, activate=False)


@pytest.mark.parametrize(
    ("poolings", "rows"),
    [
        (("mean",), [12, 12, 12, 12, 12]),  # embeddings, then attention's result and the activation of each layer
        (("cls",), [12, 12, 12, 2, 2, 2]),  # the last layer's queries come by themselves, and end at the first rows
    ],
)
@pytest.mark.usefixtures("fake_cuda")
def test_normed_rows_become_float8_where_they_are_normed(
    poolings: tuple[str, ...], rows: list[int], card: Card, fused: dict[str, PlainFused]
) -> None:
    card(8, 9)
    fused["cuda:0"] = counted = CountedFloat8()
    shape = BartShape.of(BART_SIZES | {"model_type": "bart", "encoder_layers": 2})
    assert shape is not None
    tensors = {name: torch.empty(size) for name, size in shape.tensors().items()}
    network = PackedBart(shape, tensors.__getitem__, precision="float8", device="cuda:0", rows=1024, poolings=poolings)
    network.pooled(pack(random_tokens([5, 7]), np.arange(2)))
    assert counted.rows == rows


@pytest.mark.parametrize(
    ("capability", "dtype", "head_dim", "kernel"),
    [
        ((9, 0), torch.bfloat16, 64, flash_attention),
        ((8, 0), torch.bfloat16, 256, flash_attention),
        ((8, 0), torch.bfloat16, 264, memory_efficient_attention),
        ((8, 0), torch.bfloat16, 12, memory_efficient_attention),
        ((7, 5), torch.bfloat16, 64, memory_efficient_attention),
        ((9, 0), torch.float32, 64, memory_efficient_attention),
    ],
)
def test_one_kernel_takes_all_texts_on_every_card(
    capability: tuple[int, int], dtype: torch.dtype, head_dim: int, kernel: object, card: Card
) -> None:
    card(*capability)
    assert varlen_kernel("cuda", dtype, head_dim) is kernel
    assert varlen_kernel("cpu", dtype, head_dim) is None


@pytest.mark.parametrize(
    ("capability", "dtype", "head_dim", "ours"),
    [
        ((9, 0), torch.bfloat16, 64, True),
        ((9, 0), torch.bfloat16, 128, True),
        ((9, 0), torch.bfloat16, 80, False),
        ((9, 0), torch.float32, 64, False),
        ((8, 9), torch.bfloat16, 64, False),
        ((10, 0), torch.bfloat16, 64, False),
    ],
)
def test_hopper_takes_our_own_kernel_where_it_computes_these_heads(
    capability: tuple[int, int],
    dtype: torch.dtype,
    head_dim: int,
    ours: bool,
    card: Card,
    fused: dict[str, PlainFused],
) -> None:
    fused["cuda"] = PlainFused()
    card(*capability)
    assert (varlen_kernel("cuda", dtype, head_dim) == fused["cuda"].attention) == ours


@pytest.mark.parametrize(
    ("capability", "installed", "activated"),
    [((9, 0), True, ["FA3"]), ((10, 3), True, ["FA4"]), ((8, 9), True, []), ((9, 0), False, [])],
)
def test_a_newer_flash_attention_is_taken_where_its_package_is_installed(
    capability: tuple[int, int],
    installed: bool,
    activated: list[str],
    card: Card,
    fused: dict[str, PlainFused],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[str] = []

    def activate(name: str) -> None:
        if not installed:
            raise ModuleNotFoundError("No module named 'flash_attn_interface'")
        calls.append(name)

    monkeypatch.setattr(attention, "activate_flash_attention_impl", activate)
    monkeypatch.setattr(attention, "current_flash_attention_impl", lambda: calls[-1] if calls else None)
    card(*capability)
    fused["cuda"] = PlainFused()
    for _ in range(2):
        ours = capability == (9, 0) and not installed
        assert varlen_kernel("cuda", torch.bfloat16, 64) == (fused["cuda"].attention if ours else flash_attention)
    varlen_kernel("cuda", torch.float32, 64)
    assert calls == activated


def test_without_its_package_pytorchs_own_flash_attention_stays(card: Card) -> None:
    card(9, 0)
    assert varlen_kernel("cuda", torch.bfloat16, 64) is flash_attention
    assert current_flash_attention_impl() is None


@pytest.mark.parametrize(
    ("capability", "precision", "message"),
    [
        ((7, 5), "bfloat16", "bfloat16 needs a GPU of compute capability 8.0, not 7.5\n  try: --precision float32"),
        ((7, 5), "float8", "float8 needs a GPU of compute capability 8.9, not 7.5\n  try: --precision float32"),
        ((8, 6), "float8", "float8 needs a GPU of compute capability 8.9, not 8.6\n  try: --precision bfloat16"),
    ],
)
def test_a_card_without_the_products_is_refused_before_the_job(
    capability: tuple[int, int], precision: str, message: str, tiny: Path, card: Card
) -> None:
    card(*capability)
    with pytest.raises(UnsupportedEncoder) as caught:
        check_device(read_files(tiny, max_length=None, precision=precision), "cuda")
    assert str(caught.value) == message


def test_a_card_with_the_products_is_taken(tiny: Path, card: Card) -> None:
    for capability, precision in (((7, 0), "float32"), ((8, 0), "bfloat16"), ((8, 9), "float8"), ((10, 0), "float8")):
        card(*capability)
        check_device(read_files(tiny, max_length=None, precision=precision), "cuda:1")


@pytest.mark.parametrize("sizes", [{"d_model": 72, "encoder_attention_heads": 4}, {"encoder_ffn_dim": 120}])
def test_float8_refuses_sizes_that_its_product_does_not_take_when_the_job_is_planned(
    sizes: dict[str, int], save_model: SaveModel
) -> None:
    folder = str(save_model(BartModel(BartConfig(**BART_SIZES | sizes))))
    with pytest.raises(UnsupportedEncoder, match=r"(?s)sizes divisible by 16, not .*try: --precision bfloat16"):
        describe(folder, precision="float8")
    assert describe(folder, precision="bfloat16").precision == "bfloat16"


def test_float8_refuses_what_takes_the_plain_path_when_the_job_is_planned(save_model: SaveModel) -> None:
    folder = str(save_model(BartModel(BartConfig(**BART_SIZES, activation_function="gelu_new"))))
    with pytest.raises(UnsupportedEncoder, match=r"(?s)float8 needs BART's packed path.*try: --precision auto"):
        describe(folder, precision="float8")


class Stream:
    """The order of a device's work: each event is the number of copies before it."""

    def __init__(self) -> None:
        self.copied = 0
        self.waited: list[int] = []


def test_a_result_is_waited_for_by_its_own_event_not_by_the_passes_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream()

    class Event:
        def record(self, on: object) -> None:
            assert on == "the device's stream"
            stream.copied += 1
            self.position = stream.copied

        def synchronize(self) -> None:
            stream.waited.append(self.position)

    empty = torch.empty
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: "the device's stream")
    monkeypatch.setattr(torch, "empty", lambda *size, pin_memory, **options: empty(*size, **options))
    network = SimpleNamespace(
        device="cuda:0", pooled=lambda batch: torch.full((1, 3), float(batch.ids[0]), dtype=torch.bfloat16)
    )
    tokens = dataclasses.replace(random_tokens([1, 1]), ids=np.array([7, 9], dtype=np.int32))
    with open_forward_pool(network, 2, 2) as pool:
        assert pool.ahead == 2
        first, second = (pool.start(pack(tokens, np.array([i]))) for i in range(2))
        assert (first.result().tolist(), stream.waited) == ([[7.0] * 3], [1])
        assert (second.result().tolist(), stream.waited) == ([[9.0] * 3], [1, 2])
        assert first.result().dtype == torch.float32


def test_the_budget_of_a_gpu_follows_its_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    for free, expected in ((0, 256), (2**30, 8_738), (80 * 2**30, CUDA_MOST_TOKENS)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", {torch.device("cuda:1"): (free, free)}.__getitem__)
        assert TokenBudget.for_device("cuda:1", dim=768, precision="bfloat16").tokens == expected
