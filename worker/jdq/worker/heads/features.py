"""Features as heads read them: an array, or anything that returns the requested rows."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from jdq.worker.heads.errors import WrongFeatures

Rows = npt.NDArray[np.intp]
Float32 = npt.NDArray[np.float32]

# Called often with (done, total) during long work, which stops if it raises.
Check = Callable[[int, int], None]

BLOCK_ROWS = 8192  # 8192 x 768 in float32 are 24 MiB: large enough for full matrix speed


class Features(Protocol):
    """Stored features, (rows, dim) float16 or float32: a numpy array or a memory map is one."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, rows: Any, /) -> npt.NDArray[Any]:
        """The rows of a slice or of an integer array, in the requested order."""


@dataclass(frozen=True, slots=True, eq=False)
class FeaturesAndTexts:
    """Features with their texts, for heads that read both. texts: those of the given rows, in order."""

    features: Features
    texts: Callable[[Rows], Sequence[str]]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.features.shape

    def __getitem__(self, rows: Any, /) -> npt.NDArray[Any]:
        return self.features[rows]


def with_texts(X: Features, texts: Sequence[str]) -> FeaturesAndTexts:
    """Features beside the texts of all rows."""
    return FeaturesAndTexts(X, lambda rows: [texts[row] for row in rows])


def unread(rows: int, dim: int) -> npt.NDArray[np.float32]:
    """In place of features for a head that does not read them: (rows, dim) zeros that take no memory."""
    return np.broadcast_to(np.zeros((), dtype=np.float32), (rows, dim))


def texts_of(X: Features, rows: Rows) -> Sequence[str]:
    """Raises WrongFeatures if X has none."""
    if not isinstance(X, FeaturesAndTexts):
        raise WrongFeatures("this head reads texts beside the features, and none were given")
    return X.texts(rows)


def no_check(done: int, total: int) -> None:
    """Ignores progress, and never cancels."""


def float32_bytes(rows: Rows, X: Features) -> int:
    return len(rows) * X.shape[1] * 4


def float32_blocks(X: Features, rows: Rows) -> Iterator[tuple[int, Float32]]:
    """(position of the block's first row in `rows`, its float32 features), in order.

    Adjacent float32 rows come as a view: copy a block before changing it.
    """
    for start in range(0, len(rows), BLOCK_ROWS):
        block = rows[start : start + BLOCK_ROWS]
        together = block[-1] - block[0] == len(block) - 1 and bool((np.diff(block) == 1).all())
        yield start, np.asarray(X[slice(block[0], block[-1] + 1) if together else block], dtype=np.float32)


def in_float32(X: Features, rows: Rows) -> Float32:
    """A float32 copy of the rows. float16 handed to scikit-learn would become float64: 5x slower, 5x the memory."""
    copy = np.empty((len(rows), X.shape[1]), dtype=np.float32)
    for start, block in float32_blocks(X, rows):
        copy[start : start + len(block)] = block
    return copy


def mean_and_std(X: Features, rows: Rows) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Per column, over the rows; a constant column has the standard deviation 1, because features are divided by it."""
    total = np.zeros(X.shape[1])
    for _, block in float32_blocks(X, rows):
        total += block.sum(axis=0, dtype=np.float64)
    mean = total / len(rows)
    squares = np.zeros(X.shape[1])
    for _, block in float32_blocks(X, rows):
        squares += np.square(block - mean.astype(np.float32)).sum(axis=0, dtype=np.float64)
    std = np.sqrt(squares / len(rows))
    std[std < 1e-12] = 1.0
    return mean, std
