"""The text keys of the tests of splits."""

import numpy as np
import numpy.typing as npt


def keys_of(texts: list[int]) -> npt.NDArray[np.uint8]:
    keys = np.zeros((len(texts), 16), dtype=np.uint8)
    keys[:, :8] = np.array(texts, dtype=np.uint64).view(np.uint8).reshape(-1, 8)
    return keys
