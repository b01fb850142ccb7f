"""Paired tests of two classifiers on the same test rows. Uses only numpy, which the client has.

Two intervals may overlap although one classifier is better on nearly every text on which they differ.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

Z = 1.959964
RESAMPLES, LEAST_RESAMPLES, DRAWS = 1000, 200, 5_000_000  # at most this many (resamples x rows)
EXACT = 1000  # more differing texts: the binomial is normal

# The array in a job's files.
TESTED = "tested"
# The rows of a test part, in order: `text` (u8), `true` and `predicted` (class numbers, or bool per class).
Tested = npt.NDArray[np.void]


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """How another classifier differs from this one: its macro-F1 minus this one's, with a 95 % interval, and the
    probability of so uneven a division of the texts on which only one of them is right, if they were equally good.
    """

    difference: float
    low: float
    high: float
    p_value: float


def as_tested(true: npt.NDArray[Any], predicted: npt.NDArray[Any], keys: npt.NDArray[np.uint8]) -> Tested:
    """What `paired` needs of a classifier's test rows. keys: (rows, 16)."""
    kind: Any = "<i4" if true.ndim == 1 else ("?", (true.shape[1],))
    of_class = [(name, kind) if isinstance(kind, str) else (name, *kind) for name in ("true", "predicted")]
    rows = np.empty(len(true), dtype=[("text", "<u8"), *of_class])
    rows["text"] = np.ascontiguousarray(keys[:, :8]).view(">u8").ravel()
    rows["true"], rows["predicted"] = true, predicted
    return rows


def paired(this: Tested, other: Tested, *, seed: int = 0) -> Paired | None:
    """None if they were not measured on the same rows."""
    if this.dtype != other.dtype or len(this) != len(other) or (this["text"] != other["text"]).any():
        return None
    texts, text_of = np.unique(this["text"], return_inverse=True)
    difference = _macro_f1(other, None) - _macro_f1(this, None)
    rng = np.random.default_rng(seed)
    times = max(LEAST_RESAMPLES, min(RESAMPLES, DRAWS // len(this)))
    even = np.full(len(texts), 1 / len(texts))
    draws = []
    for _ in range(times):
        weights = rng.multinomial(len(texts), even)[text_of].astype(np.float64)
        draws.append(_macro_f1(other, weights) - _macro_f1(this, weights))
    half = Z * float(np.std(draws))
    right = [_right(each).astype(np.int64) for each in (this, other)]
    ahead = np.bincount(text_of, weights=right[1] - right[0])
    p_value = sign_test(int((ahead > 0).sum()), int((ahead < 0).sum()))
    return Paired(difference=difference, low=difference - half, high=difference + half, p_value=p_value)


def sign_test(first: int, second: int) -> float:
    """McNemar's test: the two-sided chance of so uneven a pair of counts, if each of them were as likely."""
    n, fewer = first + second, min(first, second)
    if n <= EXACT:
        chance: float = 2 * sum(math.comb(n, k) for k in range(fewer + 1)) / 2**n
        return min(1.0, chance)
    return 2 * NormalDist().cdf((fewer + 0.5 - n / 2) / (math.sqrt(n) / 2))


def _right(rows: Tested) -> npt.NDArray[np.bool_]:
    same: Any = rows["true"] == rows["predicted"]
    right: npt.NDArray[np.bool_] = same.reshape(len(rows), -1).all(axis=1)
    return right


def _macro_f1(rows: Tested, weights: npt.NDArray[np.float64] | None) -> float:
    """The mean F1 of the classes that occur, of label sets of all."""
    true, predicted = rows["true"], rows["predicted"]
    if true.ndim == 2:
        weight = np.ones(len(rows)) if weights is None else weights
        hits, both = weight @ (true & predicted), weight @ true + weight @ predicted
        return float(np.divide(2 * hits, both, out=np.zeros(len(hits)), where=both > 0).mean())
    n = int(max(true.max(), predicted.max())) + 1
    right = np.ones(len(rows)) if weights is None else weights
    hits = np.bincount(true, weights=right * (true == predicted), minlength=n)
    both = np.bincount(true, weights=weights, minlength=n) + np.bincount(predicted, weights=weights, minlength=n)
    return float((2 * hits[both > 0] / both[both > 0]).mean())
