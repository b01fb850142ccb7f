"""Where forward passes run: one after another, or on a CPU side by side, each on its own core.

On a CPU, several passes of one thread each are faster than one pass of several threads: no core waits for another
between two layers, which matters most if the machine does other work, too. `benchmarks/extract.py` prints both rates.
"""

import functools
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor

from jdq.worker.encoder.batch import Batch

# Below this many tokens per core, one pass with all cores is at least as fast.
LEAST_TOKENS_PER_PASS = 128


class Network(Protocol):
    """Computes the pooled states of a batch: the packed or the plain path. Thread-safe."""

    padded: bool
    device: str
    size_bytes: int

    def pooled(self, batch: Batch) -> Tensor:
        """(texts, poolings x dim), on the device, in the order of the batch: the poolings are side by side."""


class Pending(Protocol):
    """A forward pass in progress."""

    def result(self) -> Tensor:
        """Waits; the pooled states in float32 on the CPU. Raises what the pass raised."""


class CopiedStates:
    """States on a CUDA device that are copied to pinned memory on the device's stream.

    Waiting for their event does not wait for passes that were started later.
    """

    def __init__(self, states: Tensor) -> None:
        self._host = torch.empty(states.shape, dtype=torch.float32, pin_memory=True)
        self._host.copy_(states.float(), non_blocking=True)
        self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._copied.record(torch.cuda.current_stream(states.device))

    def result(self) -> Tensor:
        """Waits for the copy."""
        self._copied.synchronize()
        return self._host


class ForwardPool:
    """Takes batches, returns their pooled states to wait for. `ahead` passes should be in progress at any time."""

    def __init__(self, network: Network, pool: ThreadPoolExecutor | None, count: int) -> None:
        self._network, self._pool, self.count = network, pool, count
        # On a GPU, as with a pool, the next pass is submitted before the last one's result is fetched.
        self.ahead = count + 1 if pool is not None or network.device != "cpu" else 1

    def start(self, batch: Batch) -> Pending:
        """One forward pass; its result raises what the pass raises."""
        if self._pool is not None:
            return self._pool.submit(self._pooled, batch)
        future: Future[Tensor] = Future()
        try:
            if self._network.device.startswith("cuda"):
                return CopiedStates(self._network.pooled(batch))
            future.set_result(self._pooled(batch))
        except (RuntimeError, MemoryError) as error:
            future.set_exception(error)
        return future

    def _pooled(self, batch: Batch) -> Tensor:
        return self._network.pooled(batch).float()


@functools.cache
def cores() -> int:
    """PyTorch's number of threads before a pool first changed it, which later threads could not find out."""
    return torch.get_num_threads()


@contextmanager
def open_forward_pool(network: Network, n_texts: int, n_tokens: int) -> Iterator[ForwardPool]:
    """A pool for this much work. While it has several threads, PyTorch uses one thread in each and in this one."""
    count = min(cores(), n_texts, n_tokens // LEAST_TOKENS_PER_PASS)
    if network.device != "cpu" or count < 2:
        yield ForwardPool(network, None, 1)
        return
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(count, thread_name_prefix="jdq-forward")
    try:
        yield ForwardPool(network, pool, count)
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(cores())
