"""Forward passes side by side: ending together, as many as the work needs, and with the same result."""

import heapq
from pathlib import Path

import numpy as np
import pytest
import torch

from jdq.worker.encoder.batch import pack
from jdq.worker.encoder.forward_pool import open_forward_pool
from jdq.worker.encoder.loading import load_encoder
from jdq.worker.encoder.tokens import Tokens
from tests.encoder.conftest import random_tokens
from tests.encoder.small_memory import SmallMemory, passes_at_a_time, with_network


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
    single = torch.cat([encoder.network.pooled(batch) for batch in batches]).numpy()
    assert np.abs(together - single).max() <= 1e-5


def test_an_error_in_one_of_several_passes_reaches_the_caller(tiny: Path) -> None:
    network = SmallMemory(0, RuntimeError("device-side assert"))
    before = torch.get_num_threads()
    with pytest.raises(RuntimeError, match="device-side assert"):
        with_network(load_encoder(str(tiny)), network, 200).encode(random_tokens([100] * 20))
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("budget", "passes"),
    [(10_000, [500, 300, 300, 200, 100, 100, 100, 100, 100, 100, 100]), (300, [300, 300, 300, 200, 200, 100])],
)
def test_passes_become_shorter_towards_the_end(tiny: Path, budget: int, passes: list[int]) -> None:
    """20 texts of 100 tokens on four cores: each pass takes a quarter of what is left, or what the budget allows."""
    reported = passes_of(tiny, random_tokens([100] * 20), cores=4, budget=budget)
    assert reported[: len(passes)] == passes
    assert sum(reported) == 2_000


@pytest.mark.parametrize("texts", [8, 16, 64])
@pytest.mark.parametrize("cores", [2, 4])
def test_all_cores_end_at_about_the_same_time(tiny: Path, cores: int, texts: int) -> None:
    """Each pass on the core that is free first: at the end, none waits for longer than a text or a short pass takes."""
    lengths = np.random.default_rng(texts).integers(50, 400, texts)
    ends = [0] * cores
    for tokens in passes_of(tiny, random_tokens(lengths.tolist()), cores=cores, budget=1_024):
        heapq.heapreplace(ends, ends[0] + tokens)
    assert max(ends) - min(ends) <= lengths.max()


def passes_of(folder: Path, tokens: Tokens, *, cores: int, budget: int) -> list[int]:
    """Tokens of each pass, in the order of their start."""
    reported: list[int] = []
    encoder = with_network(load_encoder(str(folder)), SmallMemory(10_000), budget)
    with passes_at_a_time(cores):
        encoder.encode(tokens, after_batch=lambda texts, tokens: reported.append(tokens))
    return reported


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
