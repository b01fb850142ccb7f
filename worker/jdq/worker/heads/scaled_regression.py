"""Logistic regression on scaled features."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jdq.worker.heads.features import Rows, in_float32
from jdq.worker.heads.fitted import FitContext
from jdq.worker.heads.labels import Targets
from jdq.worker.heads.logreg import NEVER, dense_codes, outputs_of, row_weights
from jdq.worker.heads.softmax_regression import Float64, Objective, Progress, Solution, minimise


def in_memory(context: FitContext, rows: Rows) -> FitContext:
    """The context of only these rows, in this order, with their features in float32."""
    targets = Targets(classes=context.targets.classes, codes=context.targets.codes[rows])
    return dataclasses.replace(
        context,
        X=in_float32(context.X, rows),
        targets=targets,
        keys=context.keys[rows],
        train=np.arange(len(rows)),
        validation=np.arange(0),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Regression:
    """mean, scale: (dim,). moments: of the features as they are."""

    mean: Float64
    scale: Float64
    moments: tuple[Float64, Float64]

    def fit(
        self,
        context: FitContext,
        start: Solution | None = None,
        *,
        C: float,
        max_iter: int,
        tol: float,
        progress: Progress,
    ) -> Solution:
        """On the context's train rows."""
        codes = dense_codes(context)
        objective = Objective(
            X=context.X,
            rows=context.train,
            codes=codes,
            outputs=outputs_of(codes),
            row_weights=row_weights(context),
            C=C,
            mean=self.mean,
            std=self.scale,
            check=progress.at_block,
        )
        return minimise(
            objective, max_iter=max_iter, tol=tol, moments=self.moments, start=start, at_share=progress.at_share
        )

    def coefficients(self, context: FitContext, solution: Solution) -> tuple[Float64, Float64]:
        """(dim, classes) and (classes,): of the features as they are, a column for each class."""
        W = solution.coefficients.T / self.scale[:, None]
        return all_classes(context, W, solution.intercepts - self.mean @ W)

    def scores(self, context: FitContext, solution: Solution, held_out: slice) -> npt.NDArray[np.float32]:
        """(rows, classes) of rows that are in memory."""
        W, b = self.coefficients(context, solution)
        scores: npt.NDArray[np.float32] = context.X[held_out] @ W.astype(np.float32) + b.astype(np.float32)
        return scores


def all_classes(context: FitContext, W: Float64, b: Float64) -> tuple[Float64, Float64]:
    """With a column for each class: the first of a binary regression's two is 0, absent ones are never predicted."""
    if context.targets.multi_label:
        return W, b
    if W.shape[1] == 1:
        W, b = np.hstack([np.zeros_like(W), W]), np.concatenate([[0.0], b])
    n_classes = len(context.targets.classes)
    wide, wide_b = np.zeros((len(W), n_classes)), np.full(n_classes, NEVER)
    wide[:, context.present()], wide_b[context.present()] = W, b
    return wide, wide_b
