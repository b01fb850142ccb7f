"""The most similar rows of features by cosine similarity: exact, block by block, in bounded memory."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]

QUERY_ROWS, OTHER_ROWS = 2048, 8192  # their product in float32 is 64 MiB
RANDOM_PAIRS = 2000
DECIMALS = 6


class Rows(Protocol):
    """Features in a fixed order, (rows, dim): `FeatureRows`, or an array."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, which: Any, /) -> npt.NDArray[Any]: ...


def unit_rows(rows: npt.NDArray[Any]) -> Float32:
    """The rows in float32 with the length 1; a row of zeros stays one, and is similar to none."""
    rows = np.asarray(rows, dtype=np.float32)
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64)).astype(np.float32)
    unit: Float32 = rows / np.maximum(lengths, np.float32(1e-30))[:, None]
    return unit


def most_similar(
    rows: Rows, others: Rows, *, earlier: bool = False, check: Callable[[int, int], object] = max
) -> tuple[Places, Float32]:
    """For each row the place of the most similar of the others, and its cosine; of equal ones the first.

    earlier: the others are the same rows, and only those before a row count; the first has none, and the place -1.
    check(done, total) is called after each block, and may raise to stop; the default does nothing.
    """
    n_rows, n_others = rows.shape[0], others.shape[0]
    places, best = np.full(n_rows, -1, dtype=np.int64), np.full(n_rows, -2, dtype=np.float32)
    for start in range(0, n_rows, QUERY_ROWS):
        queries = unit_rows(rows[start : start + QUERY_ROWS])
        stop = start + len(queries)
        for first, cosines in _cosines(queries, others, min(n_others, stop) if earlier else n_others):
            if earlier and first + cosines.shape[1] > start:
                cosines[np.arange(first, first + cosines.shape[1]) >= np.arange(start, stop)[:, None]] = -2
            place = cosines.argmax(axis=1)
            found = cosines[np.arange(len(queries)), place]
            better = np.flatnonzero(found > best[start:stop])
            places[start + better], best[start + better] = first + place[better], found[better]
        check(stop, n_rows)
    return places, np.minimum(best, np.float32(1))


def nearest(query: npt.NDArray[Any], others: Rows, k: int) -> tuple[Places, Float32]:
    """The places of the k most similar of the others to one row (dim,), most similar first, and their cosines."""
    cosines = np.concatenate([block[0] for _, block in _cosines(unit_rows(query[None]), others, others.shape[0])])
    order = np.argsort(-cosines, kind="stable")[:k]
    return order.astype(np.int64), np.minimum(cosines[order], np.float32(1))


def typical_similarity(rows: Rows, seed: int = 0) -> float:
    """The median cosine of two different rows, over a sample: how similar any two texts are in this feature space."""
    drawn = np.random.default_rng(seed).integers(rows.shape[0], size=(2, RANDOM_PAIRS))
    first, second = (unit_rows(rows[np.asarray(places)]) for places in drawn)
    cosines = np.einsum("ij,ij->i", first, second)[drawn[0] != drawn[1]]
    return float(np.median(cosines)) if len(cosines) else 0.0


def _cosines(queries: Float32, others: Rows, stop: int) -> Iterator[tuple[int, Float32]]:
    """(first of the others, cosines (queries, others of the block)) up to `stop`."""
    for first in range(0, stop, OTHER_ROWS):
        cosines = queries @ unit_rows(others[first : min(first + OTHER_ROWS, stop)]).T
        # Where a row is in a block changes its last bit; equal rows must be equally similar.
        yield first, np.round(cosines, DECIMALS, out=cosines)
