"""Calibration: one temperature, learnt on the validation part, that turns scores into calibrated probabilities.

Dividing scores by a temperature changes no prediction of a softmax head. (Guo et al., 2017, "On Calibration of Modern
Neural Networks".)
"""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from jdq.worker.heads.estimators import EstimatorPredictor
from jdq.worker.heads.features import float32_blocks
from jdq.worker.heads.fitted import FitContext, Fitted
from jdq.worker.heads.fitting import fit
from jdq.worker.heads.predictors import LayersPredictor

LOWEST, HIGHEST = 0.01, 100.0


def fit_calibrated(context: FitContext) -> tuple[Fitted, dict[str, Any] | None]:
    """Fitted, and calibrated if requested or if the head has scores but no probabilities."""
    fitted = fit(context)
    if not (context.options.calibrate or fitted.uncalibrated):
        return fitted, None
    return calibrate(fitted, context)


def calibrate(fitted: Fitted, context: FitContext) -> tuple[Fitted, dict[str, Any]]:
    """The same predictor at the temperature of the least validation loss, and what its record says about it.

    Without a validation part the predictor stays as it is, and the record says that too.
    """
    predictor = fitted.predictor
    assert isinstance(predictor, LayersPredictor | EstimatorPredictor)
    if not len(context.validation):
        return fitted, {"method": "none", "reason": "no validation part"}
    scores = np.vstack([predictor.scores(block) for _, block in float32_blocks(context.X, context.validation)])
    codes = context.targets.codes[context.validation]
    temperature = best_temperature(scores, codes, predictor.link)
    report = {
        "method": "temperature",
        "temperature": temperature,
        "rows": len(codes),
        "log_loss_before": _log_loss(scores, codes, predictor.link),
        "log_loss_after": _log_loss(scores / temperature, codes, predictor.link),
    }
    return dataclasses.replace(fitted, predictor=at_temperature(predictor, temperature)), report


def best_temperature(scores: npt.NDArray[Any], codes: npt.NDArray[Any], link: str) -> float:
    """The temperature of the least log loss, between 0.01 and 100, searched on a logarithmic scale."""
    best = minimize_scalar(
        lambda log_t: _log_loss(scores / np.exp(log_t), codes, link),
        bounds=(np.log(LOWEST), np.log(HIGHEST)),
        method="bounded",
    )
    return float(np.exp(best.x))


def at_temperature(
    predictor: LayersPredictor | EstimatorPredictor, temperature: float
) -> LayersPredictor | EstimatorPredictor:
    """A predictor of layers takes the temperature into its last layer; an estimator's scores are divided by it."""
    if isinstance(predictor, EstimatorPredictor):
        return dataclasses.replace(predictor, temperature=temperature)
    weights, bias = predictor.layers[-1]
    last = ((weights / temperature).astype(np.float32), (bias / temperature).astype(np.float32))
    return dataclasses.replace(predictor, layers=(*predictor.layers[:-1], last))


def _log_loss(scores: npt.NDArray[Any], codes: npt.NDArray[Any], link: str) -> float:
    scores = scores.astype(np.float64)
    if link == "sigmoid":
        return float((np.logaddexp(0, scores) - scores * codes).mean())
    return float((logsumexp(scores, axis=1) - scores[np.arange(len(codes)), codes]).mean())
