"""The Triton kernels compile for every generation of cards, by Triton's compiler and NVIDIA's assembler."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")
BFLOAT16 = ["_attention", "_attention", "_gelu", "_normed_sum"]
FLOAT8 = ["_float8_rows", "_float8_rows", "_normed_sum"]


@pytest.mark.parametrize(
    ("capability", "kernels", "product"),
    [(80, BFLOAT16, "mma.sync"), (89, BFLOAT16 + FLOAT8, "mma.sync"), (90, BFLOAT16 + FLOAT8, "wgmma.mma_async"),
     (100, BFLOAT16 + FLOAT8, "tcgen05.mma")],
)  # fmt: skip
def test_kernels_compile_without_a_gpu_and_multiply_by_the_cards_own_instructions(
    capability: int, kernels: list[str], product: str, tmp_path: Path
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.encoder.compile_kernels", str(capability)],
        env=environment | {"TRITON_CACHE_DIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        check=True,
    )
    compiled = json.loads(done.stdout)
    assert sorted(name for name, _ in compiled) == sorted(kernels)
    assert all(product in ptx for name, ptx in compiled if name == "_attention")
