"""Fitting one predictor and measuring it: once in `train`, many times in cross-validation."""

from collections.abc import Callable, Sequence

from jdq.worker.heads.errors import OneClassOnly
from jdq.worker.heads.features import Features
from jdq.worker.heads.fitted import FitContext, Fitted
from jdq.worker.heads.labels import Targets
from jdq.worker.heads.metrics import Metrics, metrics_of
from jdq.worker.heads.options import CHOOSING
from jdq.worker.heads.predictors import Float32, Predictor, in_blocks
from jdq.worker.heads.split import Rows


def as_learnt(context: FitContext) -> FitContext:
    """The context whose train rows are all rows from which its head learns."""
    if context.options.head not in CHOOSING:
        return context
    from jdq.worker.heads.auto import with_validation

    return with_validation(context)


def fit(context: FitContext) -> Fitted:
    """The predictor that `context.options` asks for; only its own packages are imported."""
    if len(context.present()) < 2:
        raise OneClassOnly(f"the {len(context.train)} rows to train on have one class only")
    context.check(0, 1)
    fitted = _fitter(context.options.head)(context)
    context.check(1, 1)
    return fitted


def _fitter(head: str) -> Callable[[FitContext], Fitted]:
    if head in CHOOSING:
        from jdq.worker.heads.auto import fit_auto

        return fit_auto
    if head == "mlp":
        from jdq.worker.heads.mlp import fit_mlp

        return fit_mlp
    if head == "logreg":
        from jdq.worker.heads.logreg import fit_logreg

        return fit_logreg
    from jdq.worker.heads.estimators import fit_estimator

    return fit_estimator


def measure(
    predictor: Predictor, X: Features, targets: Targets, rows: Rows, thresholds: Sequence[float] = ()
) -> Metrics:
    """The metrics of the rows, for label sets by these thresholds; empty if there are none."""
    if not len(rows):
        return {}
    return metrics_of(targets.codes[rows], probabilities_of(predictor, X, rows), targets.classes, thresholds)


def probabilities_of(predictor: Predictor, X: Features, rows: Rows) -> Float32:
    """Probabilities (len(rows), classes); the features are read a block at a time."""
    return in_blocks(predictor.predict_block, predictor, X, rows)
