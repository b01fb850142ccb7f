"""Logistic regression on scaled features, and on the terms of their texts beside them."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from jdq.worker.heads.features import Features, Rows, in_float32
from jdq.worker.heads.fitted import FitContext
from jdq.worker.heads.labels import Targets
from jdq.worker.heads.logreg import NEVER, dense_codes, outputs_of, row_weights
from jdq.worker.heads.softmax_regression import Float64, Objective, Progress, Solution, minimise


@dataclass(frozen=True, slots=True, eq=False)
class Beside:
    """Features with the weighted terms of their texts: (rows, terms)."""

    features: Features
    terms: csr_array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.features.shape

    def __getitem__(self, rows: Any, /) -> npt.NDArray[Any]:
        return self.features[rows]


def in_memory(context: FitContext, rows: Rows) -> FitContext:
    """The context of only these rows, in this order, with their features in float32."""
    X: Features = in_float32(context.X, rows)
    if isinstance(context.X, Beside):
        X = Beside(X, context.X.terms[rows])
    return restricted(dataclasses.replace(context, train=rows), X)


def restricted(context: FitContext, X: Features) -> FitContext:
    """The context of its train rows only, whose features are X, in their order."""
    rows = context.train
    targets = Targets(classes=context.targets.classes, codes=context.targets.codes[rows])
    return dataclasses.replace(
        context,
        X=X,
        targets=targets,
        keys=context.keys[rows],
        train=np.arange(len(rows)),
        validation=np.arange(0),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Regression:
    """Logistic regression on scaled features, and on terms where X has them.

    mean, scale: (columns,), 0 and 1 for terms. moments: of the features as they are.
    """

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
            terms=_terms(context.X, context.train),
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
        """(columns, classes) and (classes,): of features and terms as they are, a column for each class."""
        W = solution.coefficients.T / self.scale[:, None]
        return all_classes(context, W, solution.intercepts - self.mean @ W)

    def scores(self, context: FitContext, solution: Solution, held_out: slice) -> npt.NDArray[np.float32]:
        """(rows, classes) of rows that are in memory."""
        W, b = self.coefficients(context, solution)
        dim = context.X.shape[1]
        scores: npt.NDArray[np.float32] = context.X[held_out] @ W[:dim].astype(np.float32) + b.astype(np.float32)
        if isinstance(context.X, Beside):
            scores += context.X.terms[held_out] @ W[dim:].astype(np.float32)
        return scores


def _terms(X: Features, rows: Rows) -> csr_array | None:
    if not isinstance(X, Beside):
        return None
    return X.terms if len(rows) == X.shape[0] else X.terms[rows]


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
