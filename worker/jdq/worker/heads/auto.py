"""The head `auto`: logistic regression whose C cross-validation chooses, calibrated by the scores of the folds."""

import dataclasses
from typing import Any

import numpy as np

from jdq.worker.heads.errors import BadParameter
from jdq.worker.heads.features import float32_bytes, mean_and_std
from jdq.worker.heads.fitted import FitContext, Fitted
from jdq.worker.heads.logreg import convergence_warnings, memory_warnings, positive
from jdq.worker.heads.options import ParameterValue
from jdq.worker.heads.predictors import LayersPredictor, link_of
from jdq.worker.heads.regularization_path import PATH, choose
from jdq.worker.heads.scaled_regression import Regression, in_memory
from jdq.worker.heads.softmax_regression import Float64, Progress, sampled_moments

DEFAULTS: dict[str, ParameterValue] = {"C": None, "scaling": None, "max_iter": 1000}
TOLERANCE = 1e-4

# One scale for all columns keeps what an encoder was trained for, the angles between texts. Where few columns have most
# of the variance (below this share of even columns; position 0 of many encoders), they would be all that is seen.
COMMON, COLUMNS = "common", "columns"
EVEN = 0.5


def fit_auto(context: FitContext) -> Fitted:
    """Raises BadParameter."""
    params = checked_params("auto", DEFAULTS, context.options.params)
    context = with_validation(context)
    moments = sampled_moments(context.X, context.train)
    mean, std = mean_and_std(context.X, context.train)
    scaling, scale = scale_of(params["scaling"], std, moments)
    regression = Regression(mean, scale, moments)
    choice = choose(context, regression, (params["C"],) if params["C"] else PATH)
    out_of_core = float32_bytes(context.train, context.X) > context.options.memory_bytes
    whole = context if out_of_core else in_memory(context, context.train)
    progress = Progress(context.check, first=50)
    solution = regression.fit(whole, C=choice.C, max_iter=int(params["max_iter"]), tol=TOLERANCE, progress=progress)
    W, b = (part / choice.temperature for part in regression.coefficients(context, solution))
    layer = (W.astype(np.float32), b.astype(np.float32))
    return Fitted(
        predictor=LayersPredictor(layers=(layer,), link=link_of(multi_label=context.targets.multi_label)),
        params={"C": choice.C, "scaling": scaling, "max_iter": params["max_iter"]},
        out_of_core=out_of_core,
        trained_rows=context.train,
        choice=choice.record(scaling),
        calibration=choice.calibration(),
        thresholds=choice.thresholds,
        warnings=(
            *(memory_warnings(context) if out_of_core else ()),
            *convergence_warnings(solution.iterations, int(params["max_iter"])),
        ),
    )


def checked_params(head: str, defaults: dict[str, ParameterValue], given: dict[str, ParameterValue]) -> dict[str, Any]:
    """All parameters. Raises BadParameter."""
    unknown = set(given) - set(defaults)
    if unknown:
        raise BadParameter(f"{head} has no parameter {', '.join(sorted(unknown))}; it has: {', '.join(defaults)}")
    params = defaults | given
    if params["C"] is not None:
        positive(head, params, "C")
    positive(head, params, "max_iter")
    if params["scaling"] not in (None, COMMON, COLUMNS):
        raise BadParameter(f"{head}'s scaling must be {COMMON} or {COLUMNS}, not {params['scaling']!r}")
    return params


def scale_of(scaling: str | None, std: Float64, moments: tuple[Float64, Float64]) -> tuple[str, Float64]:
    """COMMON or COLUMNS, as requested or as the columns want, and what each column is divided by."""
    variance = moments[1] if moments[1].ndim == 1 else moments[1].diagonal()
    scaling = scaling or scaling_of(variance)
    return scaling, std if scaling == COLUMNS else np.full_like(std, np.sqrt(variance.mean() or 1.0))


def with_validation(context: FitContext) -> FitContext:
    """The validation rows are trained on, too: cross-validation chooses. Few-shot training keeps to its few texts."""
    if context.options.per_class is not None:
        return context
    rows = np.sort(np.concatenate([context.train, context.validation]))
    return dataclasses.replace(context, train=rows, validation=np.arange(0))


def scaling_of(variance: Float64) -> str:
    """COMMON, or COLUMNS where the columns' variances are uneven: sum(v)^2 / (n sum(v^2)) is 1 for equal ones."""
    return COMMON if variance.sum() ** 2 >= EVEN * len(variance) * np.square(variance).sum() else COLUMNS
