"""The precision of the network's arithmetic: which ones there are, and what "auto" means. Imports no package."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

Precision: TypeAlias = Literal["auto", "fast", "float32", "bfloat16", "float8", "int8"]
AUTO: Precision = "auto"
FAST: Precision = "fast"  # the fastest whose features are close enough to float32's
PRECISIONS: tuple[str, ...] = tuple(name for name in get_args(Precision) if name not in (AUTO, FAST))


def automatic_precision(device: str) -> str:
    """bfloat16 on CUDA, because float16 arithmetic overflows in BART; float32 on a CPU."""
    return "bfloat16" if device.startswith("cuda") else "float32"
