"""The precision of the network's arithmetic: which ones there are, and what "auto" means. Imports no package."""

AUTO = "auto"
PRECISIONS = ("float32", "bfloat16", "float8")


def automatic_precision(device: str) -> str:
    """bfloat16 on CUDA, because float16 arithmetic overflows in BART; float32 on a CPU."""
    return "bfloat16" if device.startswith("cuda") else "float32"
