"""From probabilities to labels: the most probable class, or every class that reaches its threshold."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from jdq.worker.heads.options import LABEL_SEPARATOR

THRESHOLD = 0.5
# With fewer rows, a label's own threshold cannot be estimated: it gets that of all labels together.
LEAST_ROWS = 5


def predicted_sets(probabilities: npt.NDArray[Any], thresholds: Sequence[float] = ()) -> npt.NDArray[np.bool_]:
    """Which labels each row of multi-label probabilities (rows, classes) has: those that reach their thresholds.

    thresholds: one per class; none is 0.5 for all.
    """
    least = np.asarray(thresholds or THRESHOLD, dtype=np.float64)
    sets: npt.NDArray[np.bool_] = probabilities >= least
    return sets


def best_thresholds(true: npt.NDArray[np.bool_], probabilities: npt.NDArray[Any]) -> tuple[float, ...]:
    """For each label the threshold of its highest F1 on these rows, (rows, classes) each.

    A label with fewer than 5 rows gets the threshold of the highest micro-F1 of all labels. None without rows.
    """
    if not true.any():
        return ()
    shared = _best(true.ravel(), probabilities.ravel())
    return tuple(
        _best(true[:, label], probabilities[:, label]) if true[:, label].sum() >= LEAST_ROWS else shared
        for label in range(true.shape[1])
    )


def _best(true: npt.NDArray[np.bool_], probabilities: npt.NDArray[Any]) -> float:
    """The threshold of the highest F1, halfway between two probabilities; in a tie the highest."""
    order = np.argsort(-probabilities, kind="stable")
    ordered = probabilities[order].astype(np.float64)
    f1 = 2 * np.cumsum(true[order]) / (np.arange(1, len(order) + 1) + true.sum())
    f1[:-1][ordered[:-1] == ordered[1:]] = -1.0  # equal probabilities are on one side
    last = int(np.argmax(f1))
    following = ordered[last + 1] if last + 1 < len(ordered) else 0.0
    return float((ordered[last] + following) / 2)


def predicted_labels(
    probabilities: npt.NDArray[Any],
    classes: Sequence[str],
    *,
    multi_label: bool,
    label_separator: str | None,
    thresholds: Sequence[float] = (),
    least: float = 0.0,
) -> list[str]:
    """One cell per row of (rows, classes); the labels of a set are joined by the separator.

    least: less probable labels are left out, which may leave an empty cell.
    """
    if not multi_label:
        best, enough = probabilities.argmax(axis=1).tolist(), (probabilities.max(axis=1) >= least).tolist()
        return [classes[i] if sure else "" for i, sure in zip(best, enough, strict=True)]
    joined = label_separator or LABEL_SEPARATOR
    sets = predicted_sets(probabilities, thresholds) & (probabilities >= least)
    return [joined.join(classes[i] for i in np.flatnonzero(row).tolist()) for row in sets]
