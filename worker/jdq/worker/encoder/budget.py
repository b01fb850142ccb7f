"""How many tokens a forward pass takes: estimated from free memory, halved when memory runs out, grown again later."""

from __future__ import annotations

import torch

# On a CPU the activations of a pass should fit the caches; each core runs its own pass (forward_pool.py).
CPU_TOKENS = 1_024
CPU_INT8_TOKENS = 512  # with more, more of the time goes into reading and writing activations
CUDA_MOST_TOKENS = 65_536  # more gains nothing on an H200 (benchmarks/gpu.py), and a cancelled job waits longer
LEAST_TOKENS = 256
# Rows of `dim` numbers per token that are in memory at one time in a layer: 4 of the feed-forward, and the kernels'.
LIVE_ROWS_PER_TOKEN = 24
SHARE_OF_FREE_MEMORY = 0.6
# Successful passes after which a halved budget is doubled; each time that memory runs out, twice as many are needed.
PASSES_UNTIL_GROWTH = 64
# CUDA's libraries and the allocators of pinned and of ordinary memory raise a plain RuntimeError.
OUT_OF_MEMORY = (
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "ALLOCATION_FAILED",  # cuDNN 9, of the device and of the host
    "can't allocate memory",
)


class TokenBudget:
    """The number of tokens of a forward pass on one device. Belongs to a loaded encoder, so it outlives a chunk."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self._estimate = tokens
        self._passes_until_growth = PASSES_UNTIL_GROWTH
        self._good_passes = 0

    @classmethod
    def for_device(cls, device: str, *, dim: int, precision: str) -> TokenBudget:
        """The first estimate, made after the weights are loaded; `dim` is the width of the hidden states."""
        if not device.startswith("cuda"):
            return cls(CPU_INT8_TOKENS if precision == "int8" else CPU_TOKENS)
        free_bytes, _ = torch.cuda.mem_get_info(torch.device(device))
        fitting = int(free_bytes * SHARE_OF_FREE_MEMORY) // (LIVE_ROWS_PER_TOKEN * dim * 4)
        return cls(max(LEAST_TOKENS, min(CUDA_MOST_TOKENS, fitting)))

    def halve_below(self, tokens: int) -> None:
        """A pass of `tokens` tokens ran out of memory: from now on, passes take at most half of that."""
        self.tokens = max(1, min(self.tokens, tokens) // 2)
        self._passes_until_growth *= 2
        self._good_passes = 0

    def pass_succeeded(self) -> None:
        """A pass had enough memory: after many of them, whatever took the memory may be gone."""
        self._good_passes += 1
        if self._good_passes == self._passes_until_growth:
            self.tokens = min(self._estimate, 2 * self.tokens)
            self._good_passes = 0


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of a forward pass means that memory ran out, on a GPU or on the CPU."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in OUT_OF_MEMORY)


def release_memory(error: BaseException, device: str) -> None:
    """Free what a failed pass has left in its frames and in PyTorch's cache, so that the next, smaller one can use it.

    The error's traceback refers to the pass's frames, and they to its tensors; its future refers to the error.
    """
    cause: BaseException | None = error
    while cause is not None:
        cause.__traceback__, cause = None, cause.__context__
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
