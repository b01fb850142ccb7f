"""Logistic regression in blocks of rows: scikit-learn's objective and solver, without all features in memory."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from jdq.worker.heads.features import Check, Features, Rows, float32_blocks

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Objective:
    """The mean loss of the rows plus |W|^2 / (2 C rows); the intercept is not penalised.

    codes: (rows,) class numbers for the softmax, or (rows, labels) bool for independent sigmoids.
    The same as sklearn.linear_model.LogisticRegression(penalty l2, solver lbfgs), to its tolerance.
    """

    X: Features
    rows: Rows
    codes: npt.NDArray[Any]
    row_weights: npt.NDArray[np.float32] | None
    C: float
    mean: Float64 | None
    std: Float64 | None
    check: Check

    @property
    def outputs(self) -> int:
        return int(self.codes.shape[1] if self.codes.ndim == 2 else self.codes.max() + 1)

    def value_and_gradient(self, flat: Float64) -> tuple[float, Float64]:
        """At W (dim, outputs) and b (outputs,), flattened one after the other; reads the features once."""
        dim, outputs = self.X.shape[1], self.outputs
        W, b = flat[: dim * outputs].reshape(dim, outputs), flat[dim * outputs :]
        loss, grad_W, grad_b = 0.0, np.zeros_like(W), np.zeros_like(b)
        for start, block in float32_blocks(self.X, self.rows):
            self.check(start, len(self.rows))
            block = self._scaled(block)
            here = slice(start, start + len(block))
            block_loss, residual = self._loss_and_residual(block @ W.astype(np.float32) + b.astype(np.float32), here)
            loss += block_loss
            grad_W += block.T @ residual
            grad_b += residual.sum(axis=0, dtype=np.float64)
        weight = float(len(self.rows) if self.row_weights is None else self.row_weights.sum(dtype=np.float64))
        penalty = 1.0 / (self.C * weight)
        value = loss / weight + 0.5 * penalty * float(np.vdot(W, W))
        return value, np.concatenate([(grad_W / weight + penalty * W).ravel(), grad_b / weight])

    def _scaled(self, block: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if self.mean is None or self.std is None:
            return block
        centred: npt.NDArray[np.float32] = block - self.mean.astype(np.float32)
        centred /= self.std.astype(np.float32)
        return centred

    def _loss_and_residual(self, scores: npt.NDArray[np.float32], here: slice) -> tuple[float, npt.NDArray[np.float32]]:
        codes = self.codes[here]
        losses, residual = _sigmoid_loss(scores, codes) if codes.ndim == 2 else _softmax_loss(scores, codes)
        if self.row_weights is not None:
            weights = self.row_weights[here]
            losses, residual = losses * weights, residual * weights[:, None]
        return float(losses.sum(dtype=np.float64)), residual


def _softmax_loss(scores: npt.NDArray[np.float32], codes: npt.NDArray[Any]) -> tuple[Any, Any]:
    index = np.arange(len(codes))
    scores = scores - scores.max(axis=1, keepdims=True)
    exponents = np.exp(scores)
    sums = exponents.sum(axis=1)
    losses = np.log(sums) - scores[index, codes]
    residual = exponents / sums[:, None]
    residual[index, codes] -= 1
    return losses, residual


def _sigmoid_loss(scores: npt.NDArray[np.float32], true: npt.NDArray[Any]) -> tuple[Any, Any]:
    losses = (np.logaddexp(0, scores) - scores * true).sum(axis=1)
    probabilities = np.float32(0.5) * (1 + np.tanh(scores * np.float32(0.5)))
    return losses, probabilities - true.astype(np.float32)


def minimise(objective: Objective, *, max_iter: int, tol: float) -> tuple[Float64, Float64, int]:
    """Coefficients (outputs, dim), intercepts (outputs,) and iterations, to scikit-learn's tolerances."""
    dim, outputs = objective.X.shape[1], objective.outputs
    solution = minimize(
        objective.value_and_gradient,
        np.zeros((dim + 1) * outputs),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": max_iter, "gtol": tol, "ftol": 64 * np.finfo(np.float64).eps, "maxls": 50},
    )
    W = solution.x[: dim * outputs].reshape(dim, outputs)
    return W.T, solution.x[dim * outputs :], int(solution.nit)
