"""The head `auto`: logistic regression whose C cross-validation chooses, calibrated by the scores of the folds."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from jdq.worker.heads.errors import BadParameter
from jdq.worker.heads.features import float32_bytes, mean_and_std
from jdq.worker.heads.fitted import FitContext, Fitted
from jdq.worker.heads.logreg import convergence_warnings, memory_warnings, positive
from jdq.worker.heads.options import ParameterValue
from jdq.worker.heads.predictors import LayersPredictor, Predictor, link_of
from jdq.worker.heads.regularization_path import PATH, Choice, choose
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
    best = fit_best(context, Regression(mean, scale, moments), params, PATH)
    layer = (best.W.astype(np.float32), best.b.astype(np.float32))
    predictor = LayersPredictor(layers=(layer,), link=link_of(multi_label=context.targets.multi_label))
    return best.fitted(predictor, context, params, scaling)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Best:
    """The regression with the best C on all rows. W: (columns, classes), b: (classes,), of calibrated scores."""

    choice: Choice
    W: Float64
    b: Float64
    out_of_core: bool
    warnings: tuple[str, ...]

    def fitted(
        self, predictor: Predictor, context: FitContext, params: dict[str, ParameterValue], scaling: str
    ) -> Fitted:
        """The head of this predictor, trained on the context's rows."""
        return Fitted(
            predictor=predictor,
            params=params | {"C": self.choice.C, "scaling": scaling},
            out_of_core=self.out_of_core,
            trained_rows=context.train,
            choice=self.choice.record(scaling),
            calibration=self.choice.calibration(),
            thresholds=self.choice.thresholds,
            cross_fitted=self.choice.cross_fitted,
            warnings=self.warnings,
        )


def fit_best(context: FitContext, regression: Regression, params: dict[str, Any], path: tuple[float, ...]) -> Best:
    """Chooses C on some rows, unless it is given, and fits with it on all."""
    choice = choose(context, regression, (params["C"],) if params["C"] else path)
    max_iter = int(params["max_iter"])
    out_of_core = float32_bytes(context.train, context.X) > context.options.memory_bytes
    whole = context if out_of_core else in_memory(context, context.train)
    progress = Progress(context.check, first=50)
    solution = regression.fit(whole, C=choice.C, max_iter=max_iter, tol=TOLERANCE, progress=progress)
    W, b = (part / choice.temperature for part in regression.coefficients(whole, solution))
    of_memory = memory_warnings(context) if out_of_core else ()
    warnings = (*of_memory, *convergence_warnings(solution.iterations, max_iter))
    return Best(choice=choice, W=W, b=b, out_of_core=out_of_core, warnings=warnings)


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
