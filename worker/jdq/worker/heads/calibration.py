"""Calibration: one temperature, learnt on the validation part, that turns scores into calibrated probabilities.

Dividing scores by a temperature changes no prediction of a softmax head. (Guo et al., 2017, "On Calibration of Modern
Neural Networks".)
"""

import dataclasses
from typing import Any

import numpy as np

from jdq.worker.heads.estimators import EstimatorPredictor
from jdq.worker.heads.fitted import FitContext, Fitted
from jdq.worker.heads.fitting import fit
from jdq.worker.heads.predictors import LayersPredictor, in_blocks
from jdq.worker.heads.temperature import best_temperature, log_loss


def fit_calibrated(context: FitContext) -> tuple[Fitted, dict[str, Any] | None]:
    """Fitted, and calibrated if requested or if the head has scores but no probabilities."""
    fitted = fit(context)
    if fitted.calibration:
        return fitted, fitted.calibration
    if not (context.options.calibrate or fitted.uncalibrated):
        return fitted, None
    return calibrate(fitted, context)


def calibrate(fitted: Fitted, context: FitContext) -> tuple[Fitted, dict[str, Any]]:
    """The same predictor at the temperature of the lowest validation loss, and what its record says about it.

    Without a validation part the predictor stays as it is, and the record says that too.
    """
    predictor = fitted.predictor
    assert isinstance(predictor, LayersPredictor | EstimatorPredictor)
    if not len(context.validation):
        return fitted, {"method": "none", "reason": "no validation part"}
    scores = in_blocks(predictor.scores, predictor, context.X, context.validation)
    codes = context.targets.codes[context.validation]
    temperature = best_temperature(scores, codes, predictor.link)
    report = {
        "method": "temperature",
        "temperature": temperature,
        "rows": len(codes),
        "log_loss_before": log_loss(scores, codes, predictor.link),
        "log_loss_after": log_loss(scores / temperature, codes, predictor.link),
    }
    return dataclasses.replace(fitted, predictor=at_temperature(predictor, temperature)), report


def at_temperature(
    predictor: LayersPredictor | EstimatorPredictor, temperature: float
) -> LayersPredictor | EstimatorPredictor:
    """A predictor of layers takes the temperature into its last layer; an estimator's scores are divided by it."""
    if isinstance(predictor, EstimatorPredictor):
        return dataclasses.replace(predictor, temperature=temperature)
    weights, bias = predictor.layers[-1]
    last = ((weights / temperature).astype(np.float32), (bias / temperature).astype(np.float32))
    return dataclasses.replace(predictor, layers=(*predictor.layers[:-1], last))
