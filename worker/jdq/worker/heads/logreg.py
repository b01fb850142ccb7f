"""The head `logreg`: scikit-learn's LogisticRegression, and for large datasets the same optimum by blocks of rows.

scikit-learn multiplies float32 features with float64 coefficients, which numpy does through a float64 copy of the
features in each step. In blocks of float32 a step takes a fraction of that time (benchmarks/heads.py), and needs the
features in memory only if they fit.
"""

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.utils.class_weight import compute_class_weight

from jdq.worker.heads.errors import BadParameter
from jdq.worker.heads.features import float32_bytes, in_float32, mean_and_std
from jdq.worker.heads.fitted import FitContext, Fitted
from jdq.worker.heads.options import ParameterValue
from jdq.worker.heads.predictors import LayersPredictor, linear, link_of
from jdq.worker.heads.softmax_regression import Objective, Progress, minimise

DEFAULTS: dict[str, ParameterValue] = {"C": 1.0, "max_iter": 1000, "scale": False}
BLOCK_PARAMS = {"C", "max_iter", "scale", "tol"}
# Below this many numbers scikit-learn's own solver is as fast.
BLOCK_VALUES = 4_000_000

# The bias of a class that no train row has: its probability is exactly 0 after a softmax in float32.
NEVER = -1e4


def fit_logreg(context: FitContext) -> Fitted:
    """Raises BadParameter for names and values that LogisticRegression does not take."""
    params = DEFAULTS | context.options.params
    out_of_core = float32_bytes(context.train, context.X) > context.options.memory_bytes
    mean, std = mean_and_std(context.X, context.train) if params["scale"] else (None, None)
    if out_of_core or _is_for_blocks(context, params):
        coefficients, intercept, iterations = _fit_in_blocks(context, params, mean, std, in_memory=not out_of_core)
    else:
        coefficients, intercept, iterations = _fit_in_memory(context, params, mean, std)
    link = link_of(multi_label=context.targets.multi_label)
    predictor = linear(coefficients, intercept, link=link, mean=mean, std=std)
    if not context.targets.multi_label:
        predictor = with_absent_classes(predictor, context)
    warnings = (
        *(memory_warnings(context) if out_of_core else ()),
        *convergence_warnings(iterations, int(params["max_iter"] or 0)),
    )
    return Fitted(predictor=predictor, params=params, out_of_core=out_of_core, warnings=warnings)


def memory_warnings(context: FitContext) -> tuple[str, ...]:
    """Of training out of core."""
    return (
        f"{float32_bytes(context.train, context.X) >> 20} MiB of float32 features are more than the memory bound "
        f"of {context.options.memory_bytes >> 20} MiB: trained out of core, in blocks of rows",
    )


def convergence_warnings(iterations: int, max_iter: int) -> tuple[str, ...]:
    """Of a solver that stopped too early."""
    if iterations < max_iter:
        return ()
    return (f"stopped after {iterations} iterations, before it converged: --param max_iter={2 * iterations}",)


def with_absent_classes(predictor: LayersPredictor, context: FitContext) -> LayersPredictor:
    """The same head with a column of probability 0 for each class that no train row has."""
    present, n_classes = context.present(), len(context.targets.classes)
    if len(present) == n_classes:
        return predictor
    weights, bias = predictor.layers[-1]
    wide = np.zeros((weights.shape[0], n_classes), dtype=np.float32)
    wide_bias = np.full(n_classes, NEVER, dtype=np.float32)
    wide[:, present], wide_bias[present] = weights, bias
    return LayersPredictor(layers=(*predictor.layers[:-1], (wide, wide_bias)), link=predictor.link)


Coefficients = tuple[npt.NDArray[Any], npt.NDArray[Any], int]


def _fit_in_memory(
    context: FitContext, params: dict[str, ParameterValue], mean: npt.NDArray[Any] | None, std: npt.NDArray[Any] | None
) -> Coefficients:
    X = in_float32(context.X, context.train)
    if mean is not None and std is not None:
        X -= mean.astype(np.float32)
        X /= std.astype(np.float32)
    if not context.targets.multi_label:
        return _fit_one(X, context.train_codes, context, params)
    fits = []
    for i, column in enumerate(context.train_codes.T):
        context.check(i, context.train_codes.shape[1])
        fits.append(_fit_one(X, column, context, params))
    return np.vstack([f[0] for f in fits]), np.concatenate([f[1] for f in fits]), max(f[2] for f in fits)


def _fit_one(X: npt.NDArray[Any], codes: npt.NDArray[Any], context: FitContext, params: dict[str, Any]) -> Coefficients:
    if (codes == codes[0]).all():  # of one label of many: always there, or never
        return np.zeros((1, X.shape[1])), np.array([-NEVER if codes[0] else NEVER]), 0
    own = {name: value for name, value in params.items() if name != "scale"}
    try:
        model = LogisticRegression(random_state=context.options.seed, class_weight=context.options.class_weight, **own)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the record says so, with the next command
            model.fit(X, codes)
    except (TypeError, ValueError) as error:
        raise BadParameter(f"logreg does not take these parameters: {error}") from error
    return model.coef_, model.intercept_, int(np.max(model.n_iter_))


def _is_for_blocks(context: FitContext, params: dict[str, ParameterValue]) -> bool:
    weighted_sets = context.targets.multi_label and context.options.class_weight is not None
    large = len(context.train) * context.X.shape[1] > BLOCK_VALUES
    return large and set(params) <= BLOCK_PARAMS and not weighted_sets


def _fit_in_blocks(
    context: FitContext,
    params: dict[str, Any],
    mean: npt.NDArray[Any] | None,
    std: npt.NDArray[Any] | None,
    *,
    in_memory: bool,
) -> Coefficients:
    unknown = set(params) - BLOCK_PARAMS
    if unknown:
        raise BadParameter(
            f"logreg out of core takes {', '.join(sorted(BLOCK_PARAMS))}, not {', '.join(sorted(unknown))}\n"
            "  try: a larger memory bound, or without these parameters"
        )
    codes, dim = dense_codes(context), context.X.shape[1]
    progress = Progress(context.check)
    objective = Objective(
        X=in_float32(context.X, context.train) if in_memory else context.X,
        rows=np.arange(len(context.train)) if in_memory else context.train,
        codes=codes,
        outputs=outputs_of(codes),
        row_weights=row_weights(context),
        C=positive("logreg", params, "C"),
        mean=np.zeros(dim) if mean is None else mean,
        std=np.ones(dim) if std is None else std,
        check=progress.at_block,
    )
    max_iter, tol = int(positive("logreg", params, "max_iter")), positive("logreg", {"tol": 1e-4} | params, "tol")
    solution = minimise(objective, max_iter=max_iter, tol=tol, at_share=progress.at_share)
    return solution.coefficients, solution.intercepts, solution.iterations


def positive(head: str, params: dict[str, Any], name: str) -> float:
    """The parameter's value. Raises BadParameter."""
    value = params[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise BadParameter(f"{head}'s {name} must be a number above 0, not {value!r}")
    return float(value)


def dense_codes(context: FitContext) -> npt.NDArray[Any]:
    """Codes without gaps, as `with_absent_classes` expects; of two classes one column of 0 and 1."""
    if context.targets.multi_label:
        return context.train_codes
    present = context.present()
    codes = np.searchsorted(present, context.train_codes)
    return (codes == 1)[:, None] if len(present) == 2 else codes


def outputs_of(codes: npt.NDArray[Any]) -> int:
    """How many scores a row has."""
    return int(codes.shape[1] if codes.ndim == 2 else codes.max() + 1)


def row_weights(context: FitContext) -> npt.NDArray[np.float32] | None:
    """(train rows,), by class weight. Raises BadParameter."""
    if context.options.class_weight is None:
        return None
    if context.targets.multi_label:
        raise BadParameter("out of core, class weights are not supported for multi-label targets")
    present = context.present()
    weights = compute_class_weight(context.options.class_weight, classes=present, y=context.train_codes)
    by_class = np.zeros(len(context.targets.classes), dtype=np.float32)
    by_class[present] = weights
    return by_class[context.train_codes]
