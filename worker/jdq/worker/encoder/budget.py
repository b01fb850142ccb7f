"""How many tokens a forward pass takes: estimated from free memory, halved when memory runs out, then kept."""

from __future__ import annotations

import torch

# On a CPU the activations of a pass should stay near the caches; each core runs its own pass (forward_pool.py).
CPU_TOKENS = 1_024
CUDA_MOST_TOKENS = 131_072  # more gains nothing on a GPU, and a cancelled job waits longer
LEAST_TOKENS = 256
# Rows of `dim` numbers per token that are in memory at one time in a layer: 4 of the feed-forward, and the kernels'.
LIVE_ROWS_PER_TOKEN = 24
SHARE_OF_FREE_MEMORY = 0.6


class TokenBudget:
    """The number of tokens of a forward pass on one device. Belongs to a loaded encoder, so it outlives a chunk."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens

    @classmethod
    def for_device(cls, device: str, *, dim: int) -> TokenBudget:
        """The first estimate, made after the weights are loaded; `dim` is the width of the hidden states."""
        if not device.startswith("cuda"):
            return cls(CPU_TOKENS)
        free_bytes, _ = torch.cuda.mem_get_info(torch.device(device))
        fitting = int(free_bytes * SHARE_OF_FREE_MEMORY) // (LIVE_ROWS_PER_TOKEN * dim * 4)
        return cls(max(LEAST_TOKENS, min(CUDA_MOST_TOKENS, fitting)))

    def halve_below(self, tokens: int) -> None:
        """A pass of `tokens` tokens ran out of memory: from now on, take at most half of that."""
        self.tokens = max(1, min(self.tokens, tokens) // 2)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of a forward pass means that memory ran out, on a GPU or on the CPU."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def release_memory(device: str) -> None:
    """Free what a failed pass left in PyTorch's cache, so that the next, smaller one can use it."""
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
