"""Whether a device computes: a matrix product whose result is known exactly."""

from __future__ import annotations

import numpy as np

SIZE = 1024


class DeviceFault(Exception):
    """The device cannot compute, or computes wrong numbers."""


def check_device(device: str) -> None:
    """Raises DeviceFault. Small integers: their products' sums are exact in float32, in whichever order."""
    import torch

    left = (np.arange(SIZE * SIZE, dtype=np.int64) * 31 % 15 - 7).reshape(SIZE, SIZE)
    right = (np.arange(SIZE * SIZE, dtype=np.int64) * 17 % 13 - 6).reshape(SIZE, SIZE)
    try:
        on_device = [torch.from_numpy(side).to(device=device, dtype=torch.float32) for side in (left, right)]
        product = (on_device[0] @ on_device[1]).cpu().numpy()
    except (RuntimeError, AssertionError) as error:  # torch raises AssertionError where it was built without CUDA
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise DeviceFault(f"{device} does not compute: {first_line}") from error
    wrong = int((product != left.astype(np.float32) @ right.astype(np.float32)).sum())
    if wrong:
        raise DeviceFault(f"{wrong} of {SIZE * SIZE} numbers of a matrix product on {device} are wrong")
