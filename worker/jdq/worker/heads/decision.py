"""From probabilities to labels: the most probable class, or every class that reaches the threshold."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from jdq.worker.heads.options import LABEL_SEPARATOR

THRESHOLD = 0.5


def predicted_sets(probabilities: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Which labels each row of multi-label probabilities (rows, classes) has."""
    sets: npt.NDArray[np.bool_] = probabilities >= THRESHOLD
    return sets


def predicted_labels(
    probabilities: npt.NDArray[Any], classes: Sequence[str], *, multi_label: bool, label_separator: str | None
) -> list[str]:
    """One cell per row of (rows, classes); the labels of a set are joined by the separator."""
    if not multi_label:
        return [classes[i] for i in probabilities.argmax(axis=1)]
    joined = label_separator or LABEL_SEPARATOR
    return [joined.join(classes[i] for i in np.flatnonzero(row).tolist()) for row in predicted_sets(probabilities)]
