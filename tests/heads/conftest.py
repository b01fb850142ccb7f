"""Features with classes that a linear head can nearly tell apart, as the store would give them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from jdq.worker.heads.split import Split, make_split


@dataclass(frozen=True, kw_only=True)
class Made:
    """A dataset with its features: X (rows, dim) float16, labels, text keys, and its split."""

    X: npt.NDArray[np.float16]
    y: npt.NDArray[np.object_]
    keys: npt.NDArray[np.uint8]
    split: Split


def random_keys(rows: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (rows, 16)).astype(np.uint8)


def make(rows: int = 300, dim: int = 16, classes: int = 4, seed: int = 0) -> Made:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, classes, rows)
    centres = rng.normal(size=(classes, dim))
    X = (centres[codes] + 1.2 * rng.normal(size=(rows, dim))).astype(np.float16)
    y = np.array([f"class {code}" for code in codes], dtype=object)
    keys = random_keys(rows, seed)
    return Made(X=X, y=y, keys=keys, split=make_split(y, keys))


@pytest.fixture(scope="session")
def made() -> Made:
    return make()


@pytest.fixture(scope="session")
def binary() -> Made:
    return make(classes=2, seed=1)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Any:
    """The test machine's cores are shared, and small nets are slower on many threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
