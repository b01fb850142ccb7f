"""Training one head from stored features: fit on the train part, choose on validation, measure on test."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from jdq.worker.heads.calibration import fit_calibrated
from jdq.worker.heads.certainty import Certainty
from jdq.worker.heads.conformal import choose_certainty
from jdq.worker.heads.crossval import cross_validate
from jdq.worker.heads.decision import best_thresholds
from jdq.worker.heads.errors import BadSplit
from jdq.worker.heads.features import Check, Features, no_check
from jdq.worker.heads.fitted import FitContext, Fitted, Keys, row_keys
from jdq.worker.heads.fitting import measure, probabilities_of
from jdq.worker.heads.head import TrainedHead
from jdq.worker.heads.intervals import Interval, bootstrap
from jdq.worker.heads.labels import Labels, Targets, read_targets
from jdq.worker.heads.options import HeadOptions, check_head
from jdq.worker.heads.predictors import Predictor
from jdq.worker.heads.record import HeadRecord, Origin, installed_versions
from jdq.worker.heads.sampling import per_class_rows
from jdq.worker.heads.split import TEST, TRAIN, VALIDATION, Rows, Split


def train_head(
    X: Features,
    y: Labels,
    split: Split,
    options: HeadOptions | None = None,
    *,
    origin: Origin | None = None,
    keys: Keys | None = None,
    allowed: Sequence[str] = (),
    check: Check = no_check,
) -> TrainedHead:
    """A head trained on the split's train part and measured on its test part.

    X: (rows, dim) features in the order of the labels `y`. keys: (rows, 16) uint8 text keys, by which
    cross-validation and few-shot sampling know equal texts; without them every row counts as a separate text.
    allowed: dotted names of further classifiers. check(done, total) is called often and may raise to stop.
    Raises the errors of this package: UnknownHead, BadParameter, OneClassOnly, BadSplit, MissingLabels.
    """
    started = time.perf_counter()
    options = options or HeadOptions()
    check_head(options.head, allowed)
    targets = read_targets(y, label_separator=options.label_separator)
    keys = row_keys(targets.rows) if keys is None else keys
    context = make_fit_context(X, targets, split, options, keys, check)
    cv = cross_validate(context, keys, options.cv) if options.cv is not None else None
    fitted, calibration = fit_calibrated(context)
    record = HeadRecord(
        **_option_fields(context),
        **_fitted_fields(fitted, context, split, keys),
        cv=cv,
        calibration=calibration,
        origin=origin or Origin(),
        device="cpu",
        wall_time_s=round(time.perf_counter() - started, 4),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=installed_versions(),
    )
    return TrainedHead(predictor=fitted.predictor, record=record)


def _option_fields(context: FitContext) -> dict[str, Any]:
    """The record's fields about the options and the targets."""
    options = context.options
    return {
        "head": options.head,
        "seed": options.seed,
        "classes": context.targets.classes,
        "dim": context.X.shape[1],
        "multi_label": context.targets.multi_label,
        "label_separator": options.label_separator,
        "class_weight": options.class_weight,
        "per_class": options.per_class,
    }


def _fitted_fields(fitted: Fitted, context: FitContext, split: Split, keys: Keys) -> dict[str, Any]:
    """The record's fields about the predictor and its metrics."""
    predictor, X, targets = fitted.predictor, context.X, context.targets
    learns_validation = fitted.trained_rows is not None
    thresholds = fitted.thresholds if learns_validation else _thresholds(predictor, context)
    # Metrics on rows that were learnt would be too good.
    validation = split.rows(VALIDATION)[:0] if learns_validation else split.rows(VALIDATION)
    return {
        "trained_rows": len(context.train if fitted.trained_rows is None else fitted.trained_rows),
        "choice": fitted.choice,
        "params": fitted.params,
        "out_of_core": fitted.out_of_core,
        "history": fitted.history,
        "warnings": (*split.warnings, *fitted.warnings),
        "split_digest": split.digest,
        "rows": split.counts(),
        "thresholds": thresholds,
        "certainty": _certainty(fitted, context, thresholds),
        "metrics": measure(predictor, X, targets, split.rows(TEST), thresholds),
        "validation_metrics": measure(predictor, X, targets, validation, thresholds) or None,
        "intervals": _intervals(predictor, X, targets, split.rows(TEST), keys, thresholds),
    }


def make_fit_context(
    X: Features, targets: Targets, split: Split, options: HeadOptions, keys: Keys, check: Check
) -> FitContext:
    """The split's rows as a context. Raises BadSplit."""
    if not X.shape[0] == targets.rows == len(split.parts) == len(keys):
        raise BadSplit(
            f"{X.shape[0]} rows of features, {targets.rows} labels, {len(keys)} text keys "
            f"and a split of {len(split.parts)} rows"
        )
    train = split.rows(TRAIN)
    if options.per_class is not None:
        train = per_class_rows(targets, train, options.per_class, seed=options.seed, keys=keys)
    return FitContext(
        X=X, targets=targets, train=train, validation=split.rows(VALIDATION), options=options, check=check, keys=keys
    )


def _certainty(fitted: Fitted, context: FitContext, thresholds: tuple[float, ...]) -> Certainty | None:
    """Chosen on rows that the predictor did not learn from: those of the cross-validation, or the validation part."""
    held = fitted.cross_fitted
    if held is not None:
        return choose_certainty(held.codes, held.probabilities, held.keys, thresholds)
    if fitted.trained_rows is not None:
        return None
    rows = context.validation
    probabilities = probabilities_of(fitted.predictor, context.X, rows)
    return choose_certainty(context.targets.codes[rows], probabilities, context.keys[rows], thresholds)


def _thresholds(predictor: Predictor, context: FitContext) -> tuple[float, ...]:
    """Of label sets, chosen on the validation part; none without one."""
    if not context.targets.multi_label or not len(context.validation):
        return ()
    codes = context.targets.codes[context.validation].astype(bool)
    return best_thresholds(codes, probabilities_of(predictor, context.X, context.validation))


def _intervals(
    predictor: Predictor, X: Features, targets: Targets, rows: Rows, keys: Keys, thresholds: Sequence[float]
) -> dict[str, Interval]:
    probabilities = probabilities_of(predictor, X, rows)
    return bootstrap(targets.codes[rows], probabilities, keys=keys[rows], thresholds=thresholds)
