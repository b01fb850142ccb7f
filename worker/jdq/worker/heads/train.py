"""Training one head from stored features: fit on the train part, choose on validation, measure on test."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from jdq.worker.heads.errors import BadSplit, OneClassOnly
from jdq.worker.heads.features import Check, Features, float32_blocks, no_check
from jdq.worker.heads.fitted import Fitted, Lesson
from jdq.worker.heads.head import TrainedHead
from jdq.worker.heads.labels import Labels, Targets, read_targets
from jdq.worker.heads.metrics import Metrics, evaluate_codes, evaluate_sets
from jdq.worker.heads.options import HeadOptions, check_head
from jdq.worker.heads.predictors import Float32, Predictor
from jdq.worker.heads.record import HeadRecord, Origin, installed_versions
from jdq.worker.heads.split import PARTS, TEST, TRAIN, VALIDATION, Rows, Split


def train_head(
    X: Features,
    y: Labels,
    split: Split,
    options: HeadOptions | None = None,
    *,
    origin: Origin | None = None,
    allowed: Sequence[str] = (),
    check: Check = no_check,
) -> TrainedHead:
    """A head trained on the split's train part and measured on its test part.

    X: (rows, dim) features in the order of the labels `y`. allowed: dotted names of further classifiers.
    check(done, total) is called often and may raise to stop.
    Raises the errors of this package: UnknownHead, BadParameter, OneClassOnly, BadSplit, MissingLabels.
    """
    started = time.perf_counter()
    options = options or HeadOptions()
    check_head(options.head, allowed)
    targets = read_targets(y, separator=options.separator)
    lesson = _lesson(X, targets, split, options, check)
    fitted = fit(lesson)
    record = HeadRecord(
        head=options.head,
        params=fitted.params,
        seed=options.seed,
        classes=targets.classes,
        dim=X.shape[1],
        origin=origin or Origin(),
        split_digest=split.digest,
        rows=split.counts(),
        trained_rows=len(lesson.train),
        multi_label=targets.multi_label,
        separator=options.separator,
        class_weight=options.class_weight,
        out_of_core=fitted.out_of_core,
        device="cpu",
        wall_time_s=round(time.perf_counter() - started, 4),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=installed_versions(),
        metrics=measure(fitted.predictor, X, targets, split.rows(TEST)),
        validation_metrics=measure(fitted.predictor, X, targets, split.rows(VALIDATION)) or None,
        history=fitted.history,
        warnings=(*split.warnings, *fitted.warnings),
    )
    return TrainedHead(predictor=fitted.predictor, record=record)


def _lesson(X: Features, targets: Targets, split: Split, options: HeadOptions, check: Check) -> Lesson:
    if not X.shape[0] == targets.rows == len(split.parts):
        raise BadSplit(f"{X.shape[0]} rows of features, {targets.rows} labels and a split of {len(split.parts)} rows")
    train = split.rows(TRAIN)
    lesson = Lesson(X=X, targets=targets, train=train, validation=split.rows(VALIDATION), options=options, check=check)
    if len(lesson.present()) < 2:
        raise OneClassOnly(f"the {len(train)} rows of the {PARTS[TRAIN]} part have one class only")
    return lesson


def fit(lesson: Lesson) -> Fitted:
    """The predictor that `lesson.options` asks for; only its own packages are imported."""
    lesson.check(0, 1)
    fitted = _fitter(lesson.options.head)(lesson)
    lesson.check(1, 1)
    return fitted


def _fitter(head: str) -> Callable[[Lesson], Fitted]:
    if head == "mlp":
        from jdq.worker.heads.mlp import fit_mlp

        return fit_mlp
    if head == "logreg":
        from jdq.worker.heads.logreg import fit_logreg

        return fit_logreg
    from jdq.worker.heads.estimators import fit_estimator

    return fit_estimator


def measure(predictor: Predictor, X: Features, targets: Targets, rows: Rows) -> Metrics:
    """The metrics of the rows; empty where there are none."""
    if not len(rows):
        return {}
    probabilities = probabilities_of(predictor, X, rows)
    codes: npt.NDArray[Any] = targets.codes[rows]
    if targets.multi_label:
        return evaluate_sets(codes, probabilities, targets.classes)
    return evaluate_codes(codes, probabilities.argmax(axis=1), probabilities, targets.classes)


def probabilities_of(predictor: Predictor, X: Features, rows: Rows) -> Float32:
    """Probabilities (len(rows), classes); the features are read a block at a time."""
    return np.vstack([predictor.predict_block(block) for _, block in float32_blocks(X, rows)])
