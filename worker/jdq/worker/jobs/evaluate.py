"""Measuring a head or a fine-tuned model on a labelled dataset version."""

from typing import Any

import msgspec
import numpy as np

from jdq.store.datasets import DatasetVersion
from jdq.worker.heads.certainty import LEVEL, Requested
from jdq.worker.jobs.classifier import Classifier
from jdq.worker.jobs.labelled import has_label, label_column

BLOCK_TEXTS = 4096
NOTHING = Requested()


def evaluate(
    classifier: Classifier, version: DatasetVersion, column: str | None, requested: Requested = NOTHING
) -> dict[str, Any]:
    """The metrics over all labelled rows, with `intervals` and `notes`, and how well a promise is kept (`certain`).

    A label that the classifier does not know counts as a class that it never predicts. requested: levels other than
    the usual ones. Raises NoLabels, NoCertainty.
    """
    from jdq.worker.heads.intervals import bootstrap
    from jdq.worker.heads.metrics import metrics_of

    column = label_column(version, column)
    labels = version.labels(column, missing="keep")
    rows = np.arange(len(labels)) if classifier.multi_label else np.flatnonzero(has_label(labels))
    sets = [_labels_of(classifier, str(cell)) for cell in labels[rows]]
    unknown = sorted(set().union(*sets) - set(classifier.classes))
    classes = [*classifier.classes, *unknown]
    probabilities = np.pad(_probabilities(classifier, version, rows), ((0, 0), (0, len(unknown))))
    true = _targets(sets, classes, multi_label=classifier.multi_label)
    # A label that it does not know is never predicted, because no probability is above 1.
    thresholds = (*classifier.thresholds, *[2.0] * len(unknown)) if classifier.thresholds else ()
    metrics = metrics_of(true, probabilities, classes, thresholds)
    intervals = bootstrap(true, probabilities, keys=version.keys()[rows], thresholds=thresholds)
    kept = _certain(classifier, true, probabilities, version.keys()[rows], requested, thresholds)
    n_strange = sum(bool(labels_of - set(classifier.classes)) for labels_of in sets)
    strange = [f"{n_strange:,} rows have labels unknown to it: {', '.join(unknown[:8])}"] if unknown else []
    missing = len(labels) - len(rows)
    skipped = [f"{missing:,} of {len(labels):,} rows have no label and are left out"] if missing else []
    return {
        "dataset": version.name,
        "version": version.version,
        "label_column": column,
        **metrics,
        "intervals": intervals,
        **kept,
        "notes": [*skipped, *strange, *metrics["notes"]],
    }


def _certain(
    classifier: Classifier,
    true: np.ndarray,
    probabilities: np.ndarray,
    keys: np.ndarray,
    requested: Requested,
    thresholds: tuple[float, ...],
) -> dict[str, Any]:
    """Abstention and sets; empty if the classifier promises nothing and nothing was requested."""
    from jdq.worker.heads.conformal import certainty_of_rows

    if not requested and classifier.certainty is None:
        return {}
    levels = Requested(abstain_at=requested.abstain_at or LEVEL, sets=requested.sets or LEVEL)
    measured = certainty_of_rows(true, probabilities, keys, classifier.certain(levels), thresholds)
    return {"certain": {**msgspec.to_builtins(levels), **measured}}


def _labels_of(classifier: Classifier, cell: str) -> set[str]:
    from jdq.worker.heads.options import LABEL_SEPARATOR, labels_in

    return labels_in(cell, classifier.label_separator or LABEL_SEPARATOR) if classifier.multi_label else {cell}


def _targets(sets: list[set[str]], classes: list[str], *, multi_label: bool) -> np.ndarray:
    """(rows, classes) bool of label sets, (rows,) int64 of single labels."""
    place = {name: number for number, name in enumerate(classes)}
    if not multi_label:
        return np.array([place[label] for (label,) in sets], dtype=np.int64)
    targets = np.zeros((len(sets), len(classes)), dtype=bool)
    for row, labels in enumerate(sets):
        targets[row, [place[label] for label in labels]] = True
    return targets


def _probabilities(classifier: Classifier, version: DatasetVersion, rows: np.ndarray) -> np.ndarray:
    """(rows, classes) float32."""
    blocks = [rows[start : start + BLOCK_TEXTS] for start in range(0, len(rows), BLOCK_TEXTS)]
    return np.vstack([classifier.by_store(version.texts(block)) for block in blocks])
