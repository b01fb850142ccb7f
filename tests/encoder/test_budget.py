"""Memory that runs out makes the next passes smaller, and loses nothing."""

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from jdq.worker.encoder.batch import Batch
from jdq.worker.encoder.budget import (
    CPU_INT8_TOKENS,
    CPU_TOKENS,
    PASSES_UNTIL_GROWTH,
    TokenBudget,
    is_out_of_memory,
    release_memory,
)
from jdq.worker.encoder.errors import OutOfMemory
from jdq.worker.encoder.loading import load_encoder
from tests.encoder.conftest import random_tokens
from tests.encoder.small_memory import SmallMemory, passes_at_a_time, with_network

OUT_OF_MEMORY = [
    None,
    RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    MemoryError(),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_memory_that_runs_out_halves_the_budget_and_loses_nothing(tiny: Path, error: Exception | None) -> None:
    tokens = random_tokens([5, 300, 40, 40, 90, 12, 7, 250])
    large = with_network(load_encoder(str(tiny)), SmallMemory(10_000), 10_000)
    small = with_network(large, SmallMemory(310, error), 10_000)
    with passes_at_a_time(1):
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


def test_a_budget_that_was_halved_grows_again_after_many_good_passes() -> None:
    budget = TokenBudget(1_000)
    budget.halve_below(900)
    passes = 2 * PASSES_UNTIL_GROWTH
    for _ in range(passes - 1):
        budget.pass_succeeded()
    assert budget.tokens == 450
    budget.pass_succeeded()
    assert budget.tokens == 900
    for _ in range(passes - 1):
        budget.pass_succeeded()
    assert budget.tokens == 900
    budget.pass_succeeded()
    assert budget.tokens == 1_000  # never more than the first estimate
    budget.halve_below(1_000)
    for _ in range(2 * passes - 1):
        budget.pass_succeeded()
    assert budget.tokens == 500
    budget.pass_succeeded()
    assert budget.tokens == 1_000


def test_one_text_that_does_not_fit_is_named(tiny: Path) -> None:
    encoder = with_network(load_encoder(str(tiny)), SmallMemory(299), 10_000)
    with pytest.raises(OutOfMemory, match=r"position 1 \(300 tokens\)"):
        encoder.encode(random_tokens([5, 300, 40]))


def test_other_errors_of_a_pass_are_not_taken_for_memory(tiny: Path) -> None:
    network = SmallMemory(0, RuntimeError("device-side assert"))
    with pytest.raises(RuntimeError, match="device-side assert"):
        with_network(load_encoder(str(tiny)), network, 10_000).encode(random_tokens([5]))
    assert network.passes == [5]


def test_the_budget_on_a_cpu_keeps_a_batch_near_the_caches() -> None:
    assert TokenBudget.for_device("cpu", dim=768, precision="bfloat16").tokens == CPU_TOKENS
    assert TokenBudget.for_device("cpu", dim=768, precision="int8").tokens == CPU_INT8_TOKENS < CPU_TOKENS


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
