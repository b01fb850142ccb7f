"""Stratified cross-validation over the train part; rows of equal text are in one fold."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from jdq.worker.heads.calibration import fit_calibrated
from jdq.worker.heads.fitted import FitContext
from jdq.worker.heads.fitting import probabilities_of
from jdq.worker.heads.folds import fold_rows
from jdq.worker.heads.metrics import metrics_of
from jdq.worker.heads.options import METRICS
from jdq.worker.heads.predictors import Float32
from jdq.worker.heads.split import Rows

LOWER_IS_BETTER = ("log_loss", "hamming_loss")


def cross_validate(
    context: FitContext,
    keys: npt.NDArray[np.uint8],
    folds: int,
    is_enough: Callable[[dict[str, list[float]], Rows, Float32], bool] = lambda *_: False,
) -> dict[str, Any]:
    """The mean, the standard deviation and each fold's value of each metric, over folds of the train part.

    keys: the text keys of all rows. is_enough(values of the folds so far, the last one's rows, their probabilities)
    ends it. Raises BadParameter for fewer than 2 folds, TooFewRows.
    """
    values: dict[str, list[float]] = {}
    for number, (train, held_out) in enumerate(fold_rows(context, keys, folds)):
        context.check(number, folds)
        predictor = fit_calibrated(dataclasses.replace(context, train=train))[0].predictor
        probabilities = probabilities_of(predictor, context.X, held_out)
        measured = metrics_of(context.targets.codes[held_out], probabilities, context.targets.classes)
        for name, value in measured.items():
            if name in METRICS and value is not None:
                values.setdefault(name, []).append(value)
        if is_enough(values, held_out, probabilities):
            break
    return {"folds": folds, "metrics": {name: summary(per_fold) for name, per_fold in values.items()}}


def summary(values: list[float]) -> dict[str, Any]:
    """The mean, the standard deviation and the values, as a record has them."""
    return {"mean": float(np.mean(values)), "std": float(np.std(values)), "folds": values}
