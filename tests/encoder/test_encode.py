"""Encoding survives memory that runs out, reports its progress, and never returns a number that is none."""

from __future__ import annotations

import dataclasses
import gc
import shutil
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from jdq.worker.encoder.batch import MOST_TEXTS, Batch, count_within, longest_first, pack
from jdq.worker.encoder.budget import CPU_TOKENS, PASSES_UNTIL_GROWTH, TokenBudget, is_out_of_memory, release_memory
from jdq.worker.encoder.cache import EncoderCache
from jdq.worker.encoder.encoder import Encoder
from jdq.worker.encoder.errors import NotFiniteFeatures, OutOfMemory, TokenizerMismatch, UnsupportedEncoder
from jdq.worker.encoder.forward_pool import open_forward_pool
from jdq.worker.encoder.loading import load_encoder
from tests.encoder.conftest import random_tokens


class SmallMemory:
    """A network on a device that holds so many tokens; each feature is its text's first ids."""

    padded = False
    device = "cpu"
    size_bytes = 0

    def __init__(self, tokens: int, error: Exception | None = None) -> None:
        self.tokens, self.passes = tokens, list[int]()
        self.error = error or torch.OutOfMemoryError("CUDA out of memory")

    def pooled(self, batch: Batch) -> Tensor:
        self.passes.append(len(batch.ids))
        if len(batch.ids) > self.tokens:
            raise self.error
        rows = [
            np.resize(batch.ids[start:end], 64)
            for start, end in zip(batch.cu_seqlens, batch.cu_seqlens[1:], strict=False)
        ]
        return torch.from_numpy(np.stack(rows))


def with_network(encoder: Encoder, network: SmallMemory, budget: int) -> Encoder:
    return dataclasses.replace(encoder, network=network, budget=TokenBudget(budget))


OUT_OF_MEMORY = [
    None,
    RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    MemoryError(),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_memory_that_runs_out_halves_the_budget_and_loses_nothing(tiny: Path, error: Exception | None) -> None:
    tokens = random_tokens([5, 300, 40, 40, 90, 12, 7, 250])
    large = with_network(load_encoder(str(tiny)), SmallMemory(10_000), 10_000)
    small = with_network(large, SmallMemory(310, error), 10_000)
    assert np.array_equal(small.encode(tokens), large.encode(tokens))
    assert small.budget.tokens < 744


def test_a_budget_that_was_halved_is_remembered(tiny: Path) -> None:
    network = SmallMemory(310)
    encoder = with_network(load_encoder(str(tiny)), network, 10_000)
    encoder.encode(random_tokens([100] * 20))
    network.passes.clear()
    encoder.encode(random_tokens([100] * 20))
    assert max(network.passes) <= 310


class Activations:
    """What a forward pass holds in memory."""


class SharedMemory(SmallMemory):
    """A network whose next pass only fits if nothing refers to the activations of the failed one."""

    def __init__(self) -> None:
        super().__init__(150)
        self.held: list[weakref.ref[Activations]] = []

    def pooled(self, batch: Batch) -> Tensor:
        assert [ref for ref in self.held if ref() is not None] == []
        activations = Activations()
        try:
            return super().pooled(batch)
        except torch.OutOfMemoryError as error:
            self.held.append(weakref.ref(activations))
            raise RuntimeError("CUDA error: out of memory") from error


@pytest.mark.parametrize("lengths", [[100, 100], [100, 90, 80, 70, 60, 50]])
def test_a_pass_that_ran_out_of_memory_leaves_nothing_in_it(tiny: Path, lengths: list[int]) -> None:
    network = SharedMemory()
    encoder = with_network(load_encoder(str(tiny)), network, 10_000)
    torch.set_num_threads(1)  # one pass at a time
    gc.disable()  # a garbage collection may come too late
    try:
        with passes_at_a_time(1):
            encoder.encode(random_tokens(lengths))
    finally:
        gc.enable()
    assert network.held


@contextmanager
def passes_at_a_time(count: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jdq.worker.encoder.forward_pool.cores", lambda: count)
        yield


def test_a_budget_that_was_halved_grows_again_after_many_good_passes() -> None:
    budget = TokenBudget(1_000)
    budget.halve_below(900)
    passes = 2 * PASSES_UNTIL_GROWTH
    for _ in range(passes - 1):
        budget.pass_succeeded()
    assert budget.tokens == 450
    budget.pass_succeeded()
    assert budget.tokens == 900
    for _ in range(passes):
        budget.pass_succeeded()
    assert budget.tokens == 1_000  # never more than the first estimate
    budget.halve_below(1_000)
    for _ in range(2 * passes - 1):
        budget.pass_succeeded()
    assert budget.tokens == 500
    budget.pass_succeeded()
    assert budget.tokens == 1_000


def test_a_pass_takes_no_more_texts_than_a_kernel_does() -> None:
    lengths = np.ones(70_000, dtype=np.int64)
    assert count_within(lengths, 100_000, padded=False) == MOST_TEXTS == 65_535
    assert count_within(lengths, 100_000, padded=True) == MOST_TEXTS


def test_one_text_that_does_not_fit_is_named(tiny: Path) -> None:
    encoder = with_network(load_encoder(str(tiny)), SmallMemory(299), 10_000)
    with pytest.raises(OutOfMemory, match=r"position 1 \(300 tokens\)"):
        encoder.encode(random_tokens([5, 300, 40]))


def test_other_errors_of_a_pass_are_not_taken_for_memory(tiny: Path) -> None:
    network = SmallMemory(0, RuntimeError("device-side assert"))
    with pytest.raises(RuntimeError, match="device-side assert"):
        with_network(load_encoder(str(tiny)), network, 10_000).encode(random_tokens([5]))
    assert network.passes == [5]


def test_every_pass_is_reported_and_may_be_the_last(tiny: Path) -> None:
    encoder = dataclasses.replace(load_encoder(str(tiny)), budget=TokenBudget(100))
    tokens = random_tokens([60, 50, 50, 10, 3])
    reported: list[tuple[int, int]] = []
    encoder.encode(tokens, after_batch=lambda texts, n: reported.append((texts, n)))
    assert reported == [(1, 60), (2, 100), (2, 13)]

    def stop(texts: int, n: int) -> None:
        raise InterruptedError(f"cancelled after {texts} texts, {n} tokens")

    with pytest.raises(InterruptedError, match="after 1 texts, 60 tokens"):
        encoder.encode(tokens, after_batch=stop)


def test_passes_side_by_side_give_the_same_and_leave_the_threads_as_they_were(tiny: Path) -> None:
    encoder = load_encoder(str(tiny))
    tokens = random_tokens([700, 300, 90, 90, 40, 5] * 4)
    before = torch.get_num_threads()
    with open_forward_pool(encoder.network, len(tokens), len(tokens.ids)) as pool:
        assert pool.count == min(before, 24)
        assert torch.get_num_threads() == (1 if pool.count > 1 else before)
    together = encoder.encode(tokens)
    assert torch.get_num_threads() == before
    batches = [pack(tokens, np.array([position])) for position in range(len(tokens))]
    alone = torch.cat([encoder.network.pooled(batch) for batch in batches]).numpy()
    assert np.abs(together - alone).max() <= 1e-5


def test_an_error_in_one_of_several_passes_reaches_the_caller(tiny: Path) -> None:
    network = SmallMemory(0, RuntimeError("device-side assert"))
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="device-side assert"):
        with_network(load_encoder(str(tiny)), network, 200).encode(random_tokens([100] * 20))
    assert torch.get_num_threads() == before


def test_batches_go_longest_first_and_each_text_restarts_its_positions() -> None:
    tokens = random_tokens([3, 9, 1, 4])
    order = longest_first(tokens)
    assert order.tolist() == [1, 3, 0, 2]
    assert count_within(tokens.lengths[order], 13, padded=False) == 2
    assert count_within(tokens.lengths[order], 13, padded=True) == 1
    assert count_within(tokens.lengths[order], 1, padded=False) == 1
    batch = pack(tokens, order[1:])
    assert batch.positions.tolist() == [0, 1, 2, 3, 0, 1, 2, 0]
    assert batch.cu_seqlens.tolist() == [0, 4, 7, 8]
    assert batch.ids.tolist() == [*tokens.ids[13:17], *tokens.ids[0:3], *tokens.ids[12:13]]


def test_the_budget_on_a_cpu_keeps_a_batch_near_the_caches() -> None:
    assert TokenBudget.for_device("cpu", dim=768).tokens == CPU_TOKENS


def test_a_feature_that_is_not_finite_names_its_text(tiny: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny, tmp_path / "nan")
    tensors = load_file(folder / "model.safetensors")
    name = "shared.weight" if "shared.weight" in tensors else "encoder.embed_tokens.weight"
    tensors[name][77] = float("nan")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    encoder = load_encoder(str(folder))
    tokens = random_tokens([4, 4, 4, 4])
    tokens.ids[:] = 50
    tokens.ids[[5, 14]] = 77
    with pytest.raises(NotFiniteFeatures, match="positions 1, 3") as caught:
        encoder.encode(tokens)
    assert caught.value.positions == (1, 3)


def test_unknown_precisions_and_float8_on_a_cpu_are_refused(tiny: Path) -> None:
    with pytest.raises(UnsupportedEncoder, match="no precision 'float16'"):
        load_encoder(str(tiny), precision="float16")
    with pytest.raises(UnsupportedEncoder, match="float8 needs a CUDA device"):
        load_encoder(str(tiny), precision="float8")


def test_a_loaded_encoder_stays_until_its_files_change(tiny: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny, tmp_path / "copy")
    cache = EncoderCache()

    def get(max_length: int | None = None) -> Encoder:
        return cache.get(str(folder), max_length=max_length, precision="float32", device="cpu")

    first = get()
    assert get() is first
    assert get(100) is not first
    tensors = load_file(folder / "model.safetensors")
    tensors["encoder.layers.0.fc1.bias"] += 1
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert get().identity.weights != first.identity.weights


def test_the_encoders_in_memory_stay_within_the_bound(tiny: Path, tmp_path: Path) -> None:
    folders = [shutil.copytree(tiny, tmp_path / str(n)) for n in range(3)]
    one = load_encoder(str(tiny)).network.size_bytes
    assert one > 64 * 4_000 * 4
    cache = EncoderCache(max_bytes=2 * one)
    loaded = [cache.get(str(f), max_length=None, precision="float32", device="cpu") for f in folders]
    assert cache.size_bytes == 2 * one
    assert cache.get(str(folders[2]), max_length=None, precision="float32", device="cpu") is loaded[2]
    assert cache.get(str(folders[0]), max_length=None, precision="float32", device="cpu") is not loaded[0]


def test_the_least_recently_used_encoder_leaves_memory_first(tiny: Path, tmp_path: Path) -> None:
    folders = [shutil.copytree(tiny, tmp_path / str(n)) for n in range(3)]
    cache = EncoderCache(max_bytes=2 * load_encoder(str(tiny)).network.size_bytes)

    def get(number: int) -> Encoder:
        return cache.get(str(folders[number]), max_length=None, precision="float32", device="cpu")

    first, second = get(0), get(1)
    assert get(0) is first
    get(2)
    assert get(0) is first
    assert get(1) is not second


def test_an_encoder_larger_than_the_bound_stays_by_itself_and_changed_files_leave_memory(
    tiny: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny, tmp_path / "copy")
    cache = EncoderCache(max_bytes=0)
    one = cache.get(str(folder), max_length=None, precision="float32", device="cpu")
    assert cache.get(str(folder), max_length=None, precision="float32", device="cpu") is one
    large = EncoderCache()
    for text in ("first", "second"):
        (folder / "README.md").write_text(text)
        large.get(str(folder), max_length=None, precision="float32", device="cpu")
    assert large.size_bytes == one.network.size_bytes


def test_a_budget_is_never_below_one_token() -> None:
    budget = TokenBudget(10)
    budget.halve_below(1)
    assert budget.tokens == 1


def test_only_errors_of_memory_are_taken_for_them() -> None:
    assert all(is_out_of_memory(error or torch.OutOfMemoryError()) for error in OUT_OF_MEMORY)
    for other in (RuntimeError("out of cheese"), OSError("CUDA error: out of memory"), ValueError()):
        assert not is_out_of_memory(other)


@pytest.mark.parametrize(("device", "emptied"), [("cpu", 0), ("cuda:0", 1)])
def test_memory_that_pytorch_keeps_for_itself_is_freed_on_a_gpu(
    device: str, emptied: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[None] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: calls.append(None))
    release_memory(RuntimeError(), device)
    assert len(calls) == emptied


@pytest.mark.parametrize(
    ("budget", "passes"), [(10_000, [500] * 4), (500, [500] * 4), (300, [200] * 10), (100, [100] * 20)]
)
def test_passes_side_by_side_are_equally_long(tiny: Path, budget: int, passes: list[int]) -> None:
    """20 texts of 100 tokens on four cores: one round of 500 tokens each, or as many as the budget needs."""
    network = SmallMemory(10_000)
    reported: list[int] = []
    with passes_at_a_time(4):
        with_network(load_encoder(str(tiny)), network, budget).encode(
            random_tokens([100] * 20), after_batch=lambda texts, tokens: reported.append(tokens)
        )
    assert reported == passes


@pytest.mark.parametrize(
    ("device", "texts", "tokens", "count", "ahead"),
    [
        ("cpu", 9, 10_000, 4, 5),
        ("cpu", 3, 10_000, 3, 4),
        ("cpu", 9, 256, 2, 3),
        ("cpu", 9, 255, 1, 1),
        ("cpu", 1, 10_000, 1, 1),
        ("cuda:0", 9, 10_000, 1, 2),
    ],
)
def test_there_are_as_many_passes_at_a_time_as_the_work_needs(
    device: str, texts: int, tokens: int, count: int, ahead: int
) -> None:
    network = SmallMemory(10_000)
    network.device = device
    threads = torch.get_num_threads()
    with passes_at_a_time(4), open_forward_pool(network, texts, tokens) as pool:
        assert (pool.count, pool.ahead) == (count, ahead)
        assert torch.get_num_threads() == (1 if count > 1 else threads)


def test_an_empty_text_without_special_tokens_is_named(tiny: Path) -> None:
    tokens = random_tokens([3, 4])
    empty = dataclasses.replace(tokens, lengths=np.array([3, 0]))
    with pytest.raises(TokenizerMismatch, match=r"^the tokenizer finds no token in the text at position 1$"):
        load_encoder(str(tiny)).encode(empty)
