"""Stratified cross-validation over the train part; rows of equal text are in one fold."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from jdq.worker.heads.calibration import fit_calibrated
from jdq.worker.heads.fitted import FitContext
from jdq.worker.heads.fitting import measure
from jdq.worker.heads.folds import fold_rows
from jdq.worker.heads.options import METRICS

LOWER_IS_BETTER = ("log_loss", "hamming_loss")


def cross_validate(
    context: FitContext,
    keys: npt.NDArray[np.uint8],
    folds: int,
    hopeless: Callable[[dict[str, list[float]]], bool] = lambda _: False,
) -> dict[str, Any]:
    """The mean, the standard deviation and each fold's value of each metric, over folds of the train part.

    keys: the text keys of all rows. hopeless: whether the values of the folds so far are enough, so that no other is
    measured. Raises BadParameter for fewer than 2 folds, TooFewRows.
    """
    values: dict[str, list[float]] = {}
    for number, (train, held_out) in enumerate(fold_rows(context, keys, folds)):
        context.check(number, folds)
        predictor = fit_calibrated(dataclasses.replace(context, train=train))[0].predictor
        for name, value in measure(predictor, context.X, context.targets, held_out).items():
            if name in METRICS and value is not None:
                values.setdefault(name, []).append(value)
        if hopeless(values):
            break
    return {"folds": folds, "metrics": {name: summary(per_fold) for name, per_fold in values.items()}}


def summary(values: list[float]) -> dict[str, Any]:
    """The mean, the standard deviation and the values, as a record has them."""
    return {"mean": float(np.mean(values)), "std": float(np.std(values)), "folds": values}
