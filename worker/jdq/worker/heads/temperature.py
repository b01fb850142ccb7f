"""What scores are divided by, or how those of two models are weighted, so that their probabilities are calibrated."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, logsumexp, softmax

LOWEST, HIGHEST = 0.01, 100.0


Weights = npt.NDArray[np.float64] | None  # (rows,); None: all rows count equally


def best_temperature(scores: npt.NDArray[Any], codes: npt.NDArray[Any], link: str, weights: Weights = None) -> float:
    """The temperature of the lowest log loss, between 0.01 and 100, searched on a logarithmic scale."""
    best = minimize_scalar(
        lambda log_t: log_loss(scores / np.exp(log_t), codes, link, weights),
        bounds=(np.log(LOWEST), np.log(HIGHEST)),
        method="bounded",
    )
    return float(np.exp(best.x))


def log_loss(scores: npt.NDArray[Any], codes: npt.NDArray[Any], link: str, weights: Weights = None) -> float:
    """The mean log loss of the probabilities that the link makes of scores (rows, classes)."""
    scores = scores.astype(np.float64)
    if link == "sigmoid":
        losses = (np.logaddexp(0, scores) - scores * codes).mean(axis=1)
    else:
        losses = logsumexp(scores, axis=1) - scores[np.arange(len(codes)), codes]
    return float(np.average(losses, weights=weights))


def best_weights(
    models: Sequence[npt.NDArray[Any]], codes: npt.NDArray[Any], link: str, weights: Weights = None
) -> tuple[float, ...]:
    """The weights, none negative, with which the sum of the models' scores (rows, classes) has the lowest log loss."""
    if len(models) == 1:
        return (1 / best_temperature(models[0], codes, link, weights),)
    stacked = np.stack(models).astype(np.float64)
    units = np.array([1 / best_temperature(scores, codes, link, weights) for scores in models])
    true = codes if link == "sigmoid" else codes[:, None] == np.arange(stacked.shape[2])
    share = np.ones(len(true)) if weights is None else weights
    share = share[:, None] / (share.sum() * (true.shape[1] if link == "sigmoid" else 1))

    def loss_and_gradient(shares: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        scores = np.tensordot(shares * units, stacked, axes=1)
        error = (expit(scores) if link == "sigmoid" else softmax(scores, axis=1)) - true
        return log_loss(scores, codes, link, weights), units * np.tensordot(stacked, error * share, axes=2)

    # The loss is convex.
    start = np.full(len(models), 1 / len(models))
    best = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(models))
    return tuple((best.x * units).tolist())


def share_right(scores: npt.NDArray[Any], codes: npt.NDArray[Any]) -> float:
    """The accuracy of scores (rows, classes); of label sets the share of labels that are right at 0."""
    right = (scores > 0) == codes if codes.ndim == 2 else scores.argmax(axis=1) == codes
    return float(right.mean())
