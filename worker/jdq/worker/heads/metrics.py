"""How good predictions are: scikit-learn's functions, weighted, macro and per class, as JSON values."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn import metrics as sk

from jdq.worker.heads.decision import predicted_sets

Metrics = dict[str, Any]
Floats = npt.NDArray[np.floating[Any]]

# A confusion matrix of more classes is listed as [true, predicted, count] where the count is not 0.
DENSE_CLASSES = 100
CALIBRATION_BINS = 10


def metrics_of(
    true: npt.NDArray[Any], probabilities: Floats, classes: Sequence[str], thresholds: Sequence[float] = ()
) -> Metrics:
    """The metrics of single labels, `true` (rows,) int64, or of label sets, (rows, classes) bool, by `thresholds`."""
    if true.ndim == 1:
        return evaluate_codes(true, probabilities, classes)
    return evaluate_sets(true, probabilities, classes, thresholds)


def evaluate_codes(true: npt.NDArray[np.int64], probabilities: Floats, classes: Sequence[str]) -> Metrics:
    """The metrics of single-label predictions: `true` (rows,) are positions in `classes`, and the most probable class
    of `probabilities` (rows, classes) is the predicted one.

    Macro means are over the classes that occur in the truth or the predictions, as scikit-learn's are; classes that
    the truth does not have are listed in `absent_classes`. ROC AUC is null where it is not defined, and `notes` say
    why.
    """
    predicted = probabilities.argmax(axis=1)
    support = np.bincount(true, minlength=len(classes))
    absent = [classes[i] for i in np.flatnonzero(support == 0).tolist()]
    auc, auc_per_class, notes = _roc_auc(true, probabilities, classes)
    if absent:
        notes.append(f"{len(absent)} of {len(classes)} classes do not occur in these rows: {', '.join(absent[:8])}")
    return {
        "rows": len(true),
        "accuracy": float(sk.accuracy_score(true, predicted)),
        "balanced_accuracy": _balanced_accuracy(true, predicted, support),
        **_averages(true, predicted),
        "roc_auc": auc,
        "log_loss": float(sk.log_loss(true, _clipped(probabilities), labels=np.arange(len(classes)))),
        "calibration_error": calibration_error(probabilities.max(axis=1), predicted == true),
        "majority_share": float(support.max() / max(1, len(true))),
        "per_class": _per_class(true, predicted, classes, auc_per_class),
        "confusion": _confusion(true, predicted, classes),
        "absent_classes": absent,
        "notes": notes,
    }


def evaluate_sets(
    true: npt.NDArray[np.bool_], probabilities: Floats, classes: Sequence[str], thresholds: Sequence[float] = ()
) -> Metrics:
    """The metrics of multi-label predictions, chosen by `predicted_sets`.

    `true` and `probabilities` are (rows, classes); accuracy is that of complete label sets, log loss the mean over
    labels. `without_label`: the share of rows that are predicted to have no label.
    """
    predicted = predicted_sets(probabilities, thresholds)
    support = true.sum(axis=0)
    per_class_auc = [_binary_auc(true[:, i], probabilities[:, i]) for i in range(len(classes))]
    defined = [auc for auc in per_class_auc if auc is not None]
    absent = [classes[i] for i in np.flatnonzero(support == 0).tolist()]
    micro = sk.precision_recall_fscore_support(true, predicted, average="micro", zero_division=0)
    return {
        "rows": len(true),
        "accuracy": float(sk.accuracy_score(true, predicted)),
        "hamming_loss": float(sk.hamming_loss(true, predicted)),
        **_averages(true, predicted),
        "micro_precision": float(micro[0]),
        "micro_recall": float(micro[1]),
        "micro_f1": float(micro[2]),
        "roc_auc": float(np.mean(defined)) if defined else None,
        "log_loss": float(-np.log(np.clip(np.where(true, probabilities, 1 - probabilities), 1e-15, None)).mean()),
        "calibration_error": calibration_error(probabilities.ravel(), true.ravel()),
        "without_label": float((~predicted.any(axis=1)).mean()),
        "per_class": _per_class(true, predicted, classes, per_class_auc),
        "absent_classes": absent,
        "notes": _notes_on_sets(true, predicted, absent),
    }


def _notes_on_sets(true: npt.NDArray[np.bool_], predicted: npt.NDArray[np.bool_], absent: Sequence[str]) -> list[str]:
    notes = [f"{len(absent)} of {true.shape[1]} labels do not occur in these rows"] if absent else []
    without, truly = int((~predicted.any(axis=1)).sum()), int((~true.any(axis=1)).sum())
    if without:
        notes.append(f"{without} of {len(true)} rows are predicted to have no label ({truly} truly have none)")
    return notes


def calibration_error(sure: Floats, right: npt.NDArray[np.bool_]) -> float:
    """The expected calibration error: the mean gap between probability and share of right ones, over 10 equal bins."""
    bins = np.minimum((sure * CALIBRATION_BINS).astype(np.intp), CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, weights=sure.astype(np.float64) - right, minlength=CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / max(1, len(sure)))


def _averages(true: npt.NDArray[Any], predicted: npt.NDArray[Any]) -> dict[str, float]:
    averages: dict[str, float] = {}
    for average, prefix in (("weighted", ""), ("macro", "macro_")):
        values = sk.precision_recall_fscore_support(true, predicted, average=average, zero_division=0)
        averages |= {
            prefix + name: float(value) for name, value in zip(("precision", "recall", "f1"), values, strict=False)
        }
    return averages


def _balanced_accuracy(
    true: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], support: npt.NDArray[np.int64]
) -> float:
    # The mean recall of the classes that occur; scikit-learn's function warns about predictions of other classes.
    present = np.flatnonzero(support)
    return float(sk.recall_score(true, predicted, labels=present, average="macro", zero_division=0))


def _roc_auc(
    true: npt.NDArray[np.int64], probabilities: Floats, classes: Sequence[str]
) -> tuple[float | None, list[float | None], list[str]]:
    if len(classes) == 2:
        auc = _binary_auc(true == 1, probabilities[:, 1])
        notes = [] if auc is not None else ["ROC AUC is not defined: these rows have one class only"]
        return auc, [auc, auc], notes
    per_class = [_binary_auc(true == i, probabilities[:, i]) for i in range(len(classes))]
    defined = [auc for auc in per_class if auc is not None]
    if not defined:
        return None, per_class, ["ROC AUC is not defined: these rows have one class only"]
    notes = (
        [] if len(defined) == len(classes) else [f"ROC AUC is the mean over {len(defined)} of {len(classes)} classes"]
    )
    return float(np.mean(defined)), per_class, notes


def _binary_auc(true: npt.NDArray[np.bool_], scores: Floats) -> float | None:
    return float(sk.roc_auc_score(true, scores)) if true.any() and not true.all() else None


def _clipped(probabilities: Floats) -> Floats:
    # The sum of a row that is 1 in float32 differs from 1 in float64 by more than log_loss tolerates without a warning.
    exact = np.clip(probabilities.astype(np.float64), 1e-15, None)
    rows: Floats = exact / exact.sum(axis=1, keepdims=True)
    return rows


def _per_class(
    true: npt.NDArray[Any], predicted: npt.NDArray[Any], classes: Sequence[str], auc: Sequence[float | None]
) -> list[dict[str, Any]]:
    labels = np.arange(len(classes))
    precision, recall, f1, support = sk.precision_recall_fscore_support(
        true, predicted, labels=labels, average=None, zero_division=0
    )
    return [
        {
            "label": name,
            "precision": float(precision[i]),
            "recall": float(recall[i]),
            "f1": float(f1[i]),
            "support": int(support[i]),
            "roc_auc": auc[i],
        }
        for i, name in enumerate(classes)
    ]


def _confusion(true: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], classes: Sequence[str]) -> dict[str, Any]:
    counts = sk.confusion_matrix(true, predicted, labels=np.arange(len(classes)))
    if len(classes) <= DENSE_CLASSES:
        return {"labels": list(classes), "counts": counts.tolist()}
    rows, columns = np.nonzero(counts)
    cells = [[int(r), int(c), int(counts[r, c])] for r, c in zip(rows, columns, strict=True)]
    return {"labels": list(classes), "cells": cells}
