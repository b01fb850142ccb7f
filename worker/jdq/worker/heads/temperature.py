"""The temperature by which scores are divided, so that their probabilities are calibrated."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

LOWEST, HIGHEST = 0.01, 100.0


def best_temperature(scores: npt.NDArray[Any], codes: npt.NDArray[Any], link: str) -> float:
    """The temperature of the least log loss, between 0.01 and 100, searched on a logarithmic scale."""
    best = minimize_scalar(
        lambda log_t: log_loss(scores / np.exp(log_t), codes, link),
        bounds=(np.log(LOWEST), np.log(HIGHEST)),
        method="bounded",
    )
    return float(np.exp(best.x))


def log_loss(scores: npt.NDArray[Any], codes: npt.NDArray[Any], link: str) -> float:
    """The mean log loss of the probabilities that the link makes of scores (rows, classes)."""
    scores = scores.astype(np.float64)
    if link == "sigmoid":
        return float((np.logaddexp(0, scores) - scores * codes).mean())
    return float((logsumexp(scores, axis=1) - scores[np.arange(len(codes)), codes]).mean())
