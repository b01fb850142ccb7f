"""How much a metric depends on which rows are in the test part: 95 % bootstrap intervals."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

Interval = tuple[float, float]

RESAMPLES = 1000
# Each resample of ranks costs rows x classes: larger test parts get fewer resamples, but at least 100.
AUC_BUDGET = 10_000_000
DRAWS_AT_ONCE = 2_000_000  # 16 MiB of float64


def bootstrap(
    true: npt.NDArray[np.int64], probabilities: npt.NDArray[Any], *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Interval]:
    """The 2.5 and 97.5 % quantiles of accuracy, precision, recall, F1, their macro means and ROC AUC.

    Drawing test rows with replacement is drawing the confusion matrix's cells from a multinomial distribution, which
    is what is done: exact, and independent of the number of rows.
    """
    rng = np.random.default_rng(seed)
    n_classes = probabilities.shape[1]
    cells = true * n_classes + probabilities.argmax(axis=1)
    counts = np.bincount(cells, minlength=n_classes**2)
    occupied = np.flatnonzero(counts)
    draws = rng.multinomial(len(true), counts[occupied] / len(true), size=resamples)
    intervals = {name: _quantiles(values) for name, values in _of_draws(draws, occupied, n_classes).items()}
    auc = _auc_draws(true, probabilities, rng, resamples)
    return intervals | ({"roc_auc": _quantiles(auc)} if len(auc) else {})


def _quantiles(values: npt.NDArray[Any]) -> Interval:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def _of_draws(
    draws: npt.NDArray[np.int64], occupied: npt.NDArray[np.intp], n_classes: int
) -> Mapping[str, npt.NDArray[Any]]:
    """Each metric of each resample; the same definitions as scikit-learn's, zero where it divides by zero."""
    rows, columns = np.divmod(occupied, n_classes)
    support = _sums(draws, rows, n_classes)
    predicted = _sums(draws, columns, n_classes)
    hits = _sums(draws * (rows == columns), rows, n_classes)
    precision, recall = _ratio(hits, predicted), _ratio(hits, support)
    f1 = _ratio(2 * hits, support + predicted)
    total, seen = support.sum(axis=1), (support + predicted) > 0
    scores = {"accuracy": hits.sum(axis=1) / total}
    for name, values in (("precision", precision), ("recall", recall), ("f1", f1)):
        scores[name] = (values * support).sum(axis=1) / total
        scores["macro_" + name] = values.sum(axis=1) / seen.sum(axis=1)
    return scores


def _sums(draws: npt.NDArray[np.int64], class_of_cell: npt.NDArray[np.intp], n_classes: int) -> npt.NDArray[np.float64]:
    cells = np.arange(len(class_of_cell))
    indicator = csr_array((np.ones(len(cells)), (cells, class_of_cell)), shape=(len(cells), n_classes))
    sums: npt.NDArray[np.float64] = draws @ indicator
    return sums


def _ratio(over: npt.NDArray[Any], under: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    ratio: npt.NDArray[np.float64] = np.divide(over, under, out=np.zeros_like(over), where=under > 0)
    return ratio


def _auc_draws(
    true: npt.NDArray[np.int64], probabilities: npt.NDArray[Any], rng: np.random.Generator, resamples: int
) -> npt.NDArray[np.float64]:
    """The (one-against-the-rest mean) ROC AUC of each resample; none where it is not defined."""
    present = np.unique(true)
    if len(present) < 2:
        return np.empty(0)
    classes = [1] if probabilities.shape[1] == 2 else present.tolist()
    times = max(100, min(resamples, AUC_BUDGET // (len(true) * len(classes))))
    at_once = max(1, DRAWS_AT_ONCE // len(true))
    aucs = []
    for start in range(0, times, at_once):
        even = np.full(len(true), 1 / len(true))
        weights = rng.multinomial(len(true), even, size=min(at_once, times - start)).astype(np.float64)
        per_class = np.stack([weighted_auc(true == c, probabilities[:, c], weights) for c in classes])
        aucs.append(_mean_of_defined(per_class))
    return np.concatenate(aucs)


def _mean_of_defined(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Over the classes; a resample may have lost a rare class, and its AUC with it."""
    defined = np.isfinite(values)
    means = _ratio(np.where(defined, values, 0).sum(axis=0), defined.sum(axis=0).astype(np.float64))
    return means[defined.any(axis=0)]


def weighted_auc(
    positive: npt.NDArray[np.bool_], scores: npt.NDArray[Any], weights: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """The ROC AUC at each row of weights (resamples, rows); NaN where one side has no weight.

    The share of pairs of a positive and a negative that are ordered right, ties counted half (Mann and Whitney).
    """
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.concatenate(([True], np.diff(scores[order]) > 0)))
    weights = weights[:, order]
    of_positive = np.add.reduceat(weights * positive[order], starts, axis=1)
    of_negative = np.add.reduceat(weights * ~positive[order], starts, axis=1)
    below = np.cumsum(of_negative, axis=1) - of_negative / 2
    pairs = of_positive.sum(axis=1) * of_negative.sum(axis=1)
    ordered = (of_positive * below).sum(axis=1)
    auc: npt.NDArray[np.float64] = np.divide(ordered, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
    return auc
