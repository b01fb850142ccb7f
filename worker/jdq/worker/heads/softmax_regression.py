"""Logistic regression in blocks of rows: scikit-learn's objective, without all features in memory, in few passes.

L-BFGS takes many steps where features are correlated, as those of encoders are. It works here on coefficients of
decorrelated features: with A = L L' near the Hessian (one class's share of the features' covariance, plus the penalty),
the coefficients are W = inverse(L') V, and the Hessian of V is near the identity. The minimum is the same.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import minimize
from threadpoolctl import ThreadpoolController

from jdq.worker.heads.features import Check, Features, Rows, float32_blocks, mean_and_std

Float64 = npt.NDArray[np.float64]

# The covariance is that of this many rows per column, spread evenly: with more, the steps are no better.
ROWS_PER_COLUMN = 32
MOST_COLUMNS = 5120  # decorrelating takes time with their third power
MEMORY = 10  # steps that L-BFGS remembers: 2 MEMORY vectors of all variables


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """coefficients: (outputs, dim). intercepts: (outputs,). iterations: of L-BFGS."""

    coefficients: Float64
    intercepts: Float64
    iterations: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Objective:
    """The mean loss of the rows plus |W|^2 / (2 C rows); the intercept is not penalized.

    codes: (rows,) class numbers for the softmax, or (rows, labels) bool for independent sigmoids. mean, std: (dim,);
    the features are centred by one and divided by the other. The same as
    sklearn.linear_model.LogisticRegression(penalty l2, solver lbfgs), to its tolerance.
    """

    X: Features
    rows: Rows
    codes: npt.NDArray[Any]
    outputs: int
    row_weights: npt.NDArray[np.float32] | None
    C: float
    mean: Float64
    std: Float64
    check: Check

    @property
    def weight(self) -> float:
        """The sum of the rows' weights."""
        return float(len(self.rows) if self.row_weights is None else self.row_weights.sum(dtype=np.float64))

    @property
    def penalty(self) -> float:
        """What half the squared coefficients are multiplied by."""
        return 1.0 / (self.C * self.weight)

    def value_and_gradient(self, W: Float64, b: Float64) -> tuple[float, Float64, Float64]:
        """At W (dim, outputs) and b (outputs,), with the gradients of both; reads the features once."""
        loss, products, sums = 0.0, np.zeros_like(W), np.zeros_like(b)
        # The coefficients of the features as they are: scaling those would copy each block.
        raw_W = W / self.std[:, None]
        raw_b = b - self.mean @ raw_W
        W32, b32 = raw_W.astype(np.float32), raw_b.astype(np.float32)
        for start, block in float32_blocks(self.X, self.rows):
            self.check(start, len(self.rows))
            here = slice(start, start + len(block))
            block_loss, residual = self._loss_and_residual(block @ W32 + b32, here)
            loss += block_loss
            products += block.T @ residual
            sums += residual.sum(axis=0, dtype=np.float64)
        value = loss / self.weight + 0.5 * self.penalty * float(np.vdot(W, W))
        grad_W = (products - np.outer(self.mean, sums)) / self.std[:, None]
        return value, grad_W / self.weight + self.penalty * W, sums / self.weight

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
    own = scores[index, codes]
    exponents = np.exp(scores, out=scores)
    sums = exponents.sum(axis=1)
    losses = np.log(sums) - own
    exponents /= sums[:, None]
    exponents[index, codes] -= 1
    return losses, exponents


def _sigmoid_loss(scores: npt.NDArray[np.float32], true: npt.NDArray[Any]) -> tuple[Any, Any]:
    losses = (np.logaddexp(0, scores) - scores * true).sum(axis=1)
    probabilities = np.float32(0.5) * (1 + np.tanh(scores * np.float32(0.5)))
    return losses, probabilities - true.astype(np.float32)


def sampled_moments(X: Features, rows: Rows) -> tuple[Float64, Float64]:
    """The mean (dim,) and the covariance (dim, dim) of some of the rows; of wide features, the variances (dim,)."""
    rows = rows[:: max(1, len(rows) // (ROWS_PER_COLUMN * X.shape[1]))]
    mean, std = mean_and_std(X, rows)
    if X.shape[1] > MOST_COLUMNS:
        return mean, np.square(std)
    products = np.zeros((X.shape[1],) * 2)
    for _, block in float32_blocks(X, rows):
        centred = block - mean.astype(np.float32)
        products += centred.T @ centred
    return mean, products / len(rows)


@functools.cache
def _scipys_blas() -> ThreadpoolController:
    """The BLAS that SciPy's wheels bring, if there is one.

    NumPy's wheels bring another. The threads of both wait for work by spinning, so if they are used in turns, each
    keeps the other's waiting for cores.
    """
    libraries = [each["filepath"] for each in ThreadpoolController().info() if "scipy.libs" in each["filepath"]]
    return ThreadpoolController().select(filepath=libraries)


class _Coordinates:
    """The variables that L-BFGS sees: V (dim, outputs), and the intercepts of centred features."""

    def __init__(self, objective: Objective, mean: Float64, covariance: Float64) -> None:
        scale = objective.std
        share = 0.25 if objective.codes.ndim == 2 else 1.0 / objective.outputs
        self._factor = _factor(
            share * covariance / (np.outer(scale, scale) if covariance.ndim == 2 else scale**2), objective.penalty
        )
        self._mean = (mean - objective.mean) / scale
        self._root = np.sqrt(share)
        self._shape = (len(mean), objective.outputs)

    def outside(self, flat: Float64) -> tuple[Float64, Float64]:
        """Coefficients and intercepts of the columns as they are."""
        n = self._shape[0] * self._shape[1]
        W = _divided(flat[:n].reshape(self._shape), self._factor, transposed=True)
        return W, flat[n:] / self._root - self._mean @ W

    def inside(self, start: Solution | None) -> Float64:
        """The variables at a solution, or at 0."""
        if start is None:
            return np.zeros((self._shape[0] + 1) * self._shape[1])
        W, b = start.coefficients.T, start.intercepts
        V = _times_transposed(self._factor, W)
        return np.concatenate([V.ravel(), (b + self._mean @ W) * self._root])

    def inside_gradient(self, grad_W: Float64, grad_b: Float64) -> Float64:
        grad_V = _divided(grad_W - np.outer(self._mean, grad_b), self._factor)
        return np.concatenate([grad_V.ravel(), grad_b / self._root])


def _factor(curvature: Float64, penalty: float) -> Float64:
    """L of a matrix, or of a diagonal (dim,) the roots, plus the penalty."""
    if curvature.ndim == 1:
        return np.sqrt(curvature + penalty)
    # A covariance of float32 products may lack a little to be positive.
    curvature.flat[:: len(curvature) + 1] += penalty + 1e-6 * np.trace(curvature) / len(curvature)
    factor: Float64 = cholesky(curvature, lower=True)
    return factor


def _divided(columns: Float64, factor: Float64, *, transposed: bool = False) -> Float64:
    """The inverse of L, or of L', times the columns."""
    if factor.ndim == 1:
        return columns / factor[:, None]
    divided: Float64 = solve_triangular(factor, columns, lower=True, trans="T" if transposed else "N")
    return divided


def _times_transposed(factor: Float64, columns: Float64) -> Float64:
    return factor[:, None] * columns if factor.ndim == 1 else factor.T @ columns


class Progress:
    """What a fit reports: a percentage between `first` and `last` that only grows."""

    def __init__(self, check: Check, *, first: int = 0, last: int = 100) -> None:
        self._check = check
        self._first, self._span = first, last - first
        self._done = first

    def at_block(self, *_: int) -> None:
        """Reports the last percentage again; raises what `check` raises."""
        self._check(self._done, 100)

    def at_share(self, share: float) -> None:
        """Reports how much of the work is done, between 0 and 1."""
        self._done = max(self._done, self._first + int(share * self._span))


def _share_done(first: float, now: float, tol: float) -> float:
    """How far a gradient has come on the way to the tolerance, on a logarithmic scale."""
    return float(np.clip(np.log(first / max(now, tol)) / np.log(max(first / tol, 2.0)), 0, 1)) if now > 0 else 1.0


def minimise(
    objective: Objective,
    *,
    max_iter: int,
    tol: float,
    moments: tuple[Float64, Float64] | None = None,
    start: Solution | None = None,
    at_share: Callable[[float], None] = lambda _: None,
) -> Solution:
    """The minimum, to scikit-learn's tolerance: no element of the gradient above `tol`.

    moments: of the features, by `sampled_moments`, where known. start: a nearby solution, such as that of another C.
    at_share: called after each step with how much is done, between 0 and 1.
    """
    coordinates = _Coordinates(objective, *(moments or sampled_moments(objective.X, objective.rows)))
    largest, first_largest = np.inf, 0.0

    def value_and_gradient(flat: Float64) -> tuple[float, Float64]:
        nonlocal largest, first_largest
        value, grad_W, grad_b = objective.value_and_gradient(*coordinates.outside(flat))
        largest = max(float(np.abs(grad_W).max()), float(np.abs(grad_b).max()))
        first_largest = first_largest or largest
        return value, coordinates.inside_gradient(grad_W, grad_b)

    def stop_at_tolerance(_: Float64) -> None:
        at_share(_share_done(first_largest, largest, tol))
        if largest <= tol:
            raise StopIteration

    options = {
        "maxiter": max_iter,
        "gtol": 0.0,
        "ftol": 64 * np.finfo(np.float64).eps,
        "maxls": 50,
        "maxcor": MEMORY,
    }
    with _scipys_blas().limit(limits=1):
        minimum = minimize(
            value_and_gradient,
            coordinates.inside(start),
            jac=True,
            method="L-BFGS-B",
            callback=stop_at_tolerance,
            options=options,
        )
    W, b = coordinates.outside(minimum.x)
    return Solution(coefficients=W.T, intercepts=b, iterations=int(minimum.nit))
