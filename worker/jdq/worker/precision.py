"""The precision of the network's arithmetic: which ones there are, and what "auto" means. Imports no package."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias, get_args

Precision: TypeAlias = Literal["auto", "fast", "float32", "bfloat16", "float8", "int8"]
AUTO: Precision = "auto"
FAST: Precision = "fast"  # the fastest whose features are close enough to float32's
PRECISIONS: tuple[str, ...] = tuple(name for name in get_args(Precision) if name not in (AUTO, FAST))


def device_kind(devices: Iterable[str]) -> str:
    """`cuda` if one of the workers' devices is a GPU, else `cpu`."""
    return "cuda" if any(device.startswith("cuda") for device in devices) else "cpu"


def automatic_precision(device: str) -> str:
    """bfloat16 on CUDA, because float16 arithmetic overflows in BART; float32 on a CPU."""
    return "bfloat16" if device.startswith("cuda") else "float32"
