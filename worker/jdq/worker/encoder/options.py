"""The options of an encoder: its poolings and precisions, and what "auto" means. Imports no package."""

from collections.abc import Iterable
from typing import Final, Literal, TypeAlias, get_args

Precision: TypeAlias = Literal["auto", "fast", "float32", "bfloat16", "float8", "int8"]
AUTO: Final = "auto"  # precision: by the device; pooling: as the encoder's folder says, else CLS
FAST: Final = "fast"  # the fastest precision whose features are close enough to float32's
PRECISIONS: tuple[str, ...] = tuple(name for name in get_args(Precision) if name not in (AUTO, FAST))

CLS = "cls"  # the last hidden state at position 0
MEAN = "mean"  # the mean of the last hidden states of all tokens
POOLINGS = (CLS, MEAN)


def parse_poolings(text: str) -> tuple[str, ...]:
    """The names in a list separated by commas, such as "cls,mean". Raises ValueError on an unknown or repeated one."""
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in (AUTO, *POOLINGS):
            raise ValueError(f"no pooling {name!r}; choose from: {', '.join((AUTO, *POOLINGS))}")
    if len(set(names)) < len(names):
        raise ValueError(f"{text!r} names a pooling twice")
    return names


def device_kind(devices: Iterable[str]) -> str:
    """`cuda` if one of the workers' devices is a GPU, else `cpu`."""
    return "cuda" if any(device.startswith("cuda") for device in devices) else "cpu"


def automatic_precision(device: str) -> str:
    """bfloat16 on CUDA, because float16 arithmetic overflows in BART; float32 on a CPU."""
    return "bfloat16" if device.startswith("cuda") else "float32"
