"""How many tokens one forward pass takes: guessed from free memory, halved when memory runs out, remembered."""

from __future__ import annotations

import torch

# On a CPU the activations of a pass should stay near the caches; each core has a pass of its own (forward_pool.py).
CPU_TOKENS = 1_024
CUDA_MOST_TOKENS = 131_072  # beyond this a GPU gains nothing, and a cancelled job waits longer
LEAST_TOKENS = 256
# Rows of `dim` numbers that live at once in a layer, with the feed-forward's 4 and room for the kernels' own.
LIVE_ROWS_A_TOKEN = 24
SHARE_OF_FREE_MEMORY = 0.6


class TokenBudget:
    """The number of tokens of a forward pass on one device. Belongs to a loaded encoder, and so outlives a chunk."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens

    @classmethod
    def for_device(cls, device: str, *, dim: int) -> TokenBudget:
        """The first guess, after the weights are loaded; `dim` is the width of the hidden states."""
        if not device.startswith("cuda"):
            return cls(CPU_TOKENS)
        free_bytes, _ = torch.cuda.mem_get_info(torch.device(device))
        fitting = int(free_bytes * SHARE_OF_FREE_MEMORY) // (LIVE_ROWS_A_TOKEN * dim * 4)
        return cls(max(LEAST_TOKENS, min(CUDA_MOST_TOKENS, fitting)))

    def halve_below(self, tokens: int) -> None:
        """A pass of `tokens` tokens ran out of memory: from now on take at most half of that."""
        self.tokens = max(1, min(self.tokens, tokens) // 2)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of a forward pass says that memory did not suffice, on a GPU or for PyTorch on the CPU."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def release_memory(device: str) -> None:
    """Hand back what a failed pass left in PyTorch's cache, so that the next, smaller one finds it."""
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
