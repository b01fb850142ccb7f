"""Whether a device computes correctly: a matrix product whose result is known exactly."""

import numpy as np

SIZE = 1024


class DeviceFault(Exception):
    """The device cannot compute, or computes wrong numbers."""


def check_device(device: str) -> None:
    """Raises DeviceFault. Uses small integers, because sums of their products are exact in float32 in any order."""
    import torch

    left, right = np.random.default_rng(0).integers(-7, 8, (2, SIZE, SIZE)).astype(np.float32)
    try:
        product = (torch.from_numpy(left).to(device) @ torch.from_numpy(right).to(device)).cpu().numpy()
    except (RuntimeError, AssertionError) as error:  # torch raises AssertionError if it was built without CUDA
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise DeviceFault(f"{device} does not compute: {first_line}") from error
    wrong = int((product != left @ right).sum())
    if wrong:
        raise DeviceFault(f"{wrong} of {SIZE * SIZE} numbers of a matrix product on {device} are wrong")
