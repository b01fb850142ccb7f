"""Compiles the Triton kernels for one compute capability, such as 90, without a GPU, and prints their PTX as JSON.

In a process of its own: where Triton interprets its kernels, it does not compile them. The kernels are called as on a
GPU, with tensors of a CPU, but not started: what is compiled is what such a call needs.
"""

import json
import sys
from typing import Any

import numpy as np
import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime.jit import JITFunction

from jdq.worker.encoder import triton_kernels
from jdq.worker.encoder.batch import pack
from jdq.worker.encoder.layout import layout_of
from jdq.worker.encoder.tokens import Tokens


class Card:
    """What Triton asks a GPU's driver before it compiles."""

    def __init__(self, capability: int) -> None:
        self.capability = capability

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self.capability, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


def main(capability: int) -> None:
    """Calls every kernel that such a card takes."""
    triton.runtime.driver.set_active(Card(capability))
    compiled: list[tuple[str, str]] = []
    run = JITFunction.run

    def only_compiled(kernel: Any, *arguments: object, warmup: bool, **options: object) -> None:
        compiled.append((kernel.__name__, run(kernel, *arguments, warmup=True, **options).asm["ptx"]))

    JITFunction.run = only_compiled
    x = torch.zeros(300, 1024, dtype=torch.bfloat16)
    triton_kernels.normed_sum(x, x, x[0], x[0], 1e-5)
    triton_kernels.gelu(x)
    if capability >= 89:
        triton_kernels.float8_normed_sum(x, x, x[0], x[0], 1e-5)
        triton_kernels.float8_rows(x)
        triton_kernels.float8_rows(x, activate=True)
    compile_attention()
    json.dump(compiled, sys.stdout)


def compile_attention() -> None:
    """For all rows, and for each text's first."""
    n_tokens = np.array([100, 200], dtype=np.uint32)
    lengths = n_tokens.astype(np.int64)
    tokens = Tokens(ids=np.zeros(300, np.int32), lengths=lengths, n_tokens=n_tokens, n_unknown=n_tokens)
    layout = layout_of(pack(tokens, np.arange(2)), "cpu", varlen=triton_kernels.attention)
    q, k, v = torch.zeros(300, 3, 16, 64, dtype=torch.bfloat16).unbind(1)
    triton_kernels.attention(q, k, v, layout)
    triton_kernels.attention(q[layout.firsts], k, v, layout)


if __name__ == "__main__":
    main(int(sys.argv[1]))
