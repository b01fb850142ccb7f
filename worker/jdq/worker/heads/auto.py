"""The head `auto`: TF-IDF of the texts, logistic regression on their features, or both, as cross-validation chooses.

Each model is fitted by itself; a hybrid is the sum of their scores, weighted by how well they predict rows from which
they did not learn. The same scores calibrate the probabilities. An encoder knows what words mean, but blurs which ones
occurred; TF-IDF knows only the latter.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from jdq.worker.heads.choice_folds import TOO_FEW, ChoiceFolds
from jdq.worker.heads.decision import best_thresholds
from jdq.worker.heads.errors import BadParameter
from jdq.worker.heads.features import FeaturesAndTexts, Rows, float32_bytes, mean_and_std
from jdq.worker.heads.fitted import CrossFitted, FitContext, Fitted
from jdq.worker.heads.hybrid_predictor import HybridPredictor
from jdq.worker.heads.logreg import convergence_warnings, memory_warnings, positive
from jdq.worker.heads.options import HYBRID, LINEAR, TFIDF, ParameterValue
from jdq.worker.heads.predictors import LayersPredictor, apply_link, link_of
from jdq.worker.heads.regularization_path import PATH, Choice, choose
from jdq.worker.heads.scaled_regression import Regression, in_memory
from jdq.worker.heads.softmax_regression import Float64, Progress, sampled_moments
from jdq.worker.heads.temperature import best_weights, log_loss, share_right
from jdq.worker.heads.tfidf import TextRows, cross_fitted, fit_svm, read_terms

DEFAULTS: dict[str, ParameterValue] = {"C": None, "scaling": None, "max_iter": 1000}
TOLERANCE = 1e-4
# From the simplest.
KINDS = (TFIDF, LINEAR, HYBRID)

# One scale for all columns keeps what an encoder was trained for, the angles between texts. Where few columns have most
# of the variance (below this share of even columns; position 0 of many encoders), they would be all that is seen.
COMMON, COLUMNS = "common", "columns"
EVEN = 0.5

# The choice uses at most this many numbers or texts: more change it little, and each takes part in dozens of fits.
CHOICE_VALUES, LEAST_CHOICE_ROWS, CHOICE_TEXTS = 6_000_000, 1000, 10_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidate:
    """One kind: the weights of its models' scores, and how good those are on the folds (None without folds)."""

    kind: str
    weights: dict[str, float]
    log_loss: float | None = None
    log_loss_before: float | None = None
    accuracy: float | None = None
    thresholds: tuple[float, ...] = ()
    cross_fitted: CrossFitted | None = None

    @property
    def record(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("kind", "log_loss", "accuracy", "weights")}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Linear:
    """The regression on scaled features, and its C."""

    regression: Regression
    scaling: str
    choice: Choice


def fit_auto(context: FitContext) -> Fitted:
    """Of the heads auto, linear, hybrid and tf-idf. Raises BadParameter, and WrongFeatures if texts are missing."""
    params = checked_params(context.options.head, context.options.params)
    context = with_validation(context)
    order = np.random.default_rng(context.options.seed).permutation(context.train)
    kinds, text = _texts(context, order)
    folds = ChoiceFolds(context, _choice_rows(context, order, text))
    linear = None if kinds == (TFIDF,) else _linear(context, folds, params)
    candidates = _candidates(kinds, folds, linear, text)
    best = chosen(candidates, int(folds.known.sum()))
    fitted = _fitted(context, best, linear, text, params)
    choice = {"kind": best.kind, "why": _why(candidates, linear, folds), "folds": len(folds.parts)}
    choice |= {"rows": len(folds.rows), "candidates": [each.record for each in candidates]}
    if linear is not None:
        path = [point.record for point in linear.choice.path]
        choice |= {"C": linear.choice.C, "scaling": linear.scaling, "path": path}
    if text is not None:
        choice["terms"] = text.terms.columns
    return dataclasses.replace(
        fitted,
        trained_rows=context.train,
        choice=choice,
        calibration=_calibration(best, len(folds.rows)),
        thresholds=best.thresholds,
        cross_fitted=best.cross_fitted,
    )


def checked_params(head: str, given: dict[str, ParameterValue]) -> dict[str, Any]:
    """All parameters. Raises BadParameter."""
    defaults = {} if head == TFIDF else DEFAULTS
    unknown = set(given) - set(defaults)
    if unknown:
        has = ", ".join(defaults) or "none"
        raise BadParameter(f"{head} has no parameter {', '.join(sorted(unknown))}; it has: {has}")
    params = DEFAULTS | given
    if params["C"] is not None:
        positive(head, params, "C")
    positive(head, params, "max_iter")
    if params["scaling"] not in (None, COMMON, COLUMNS):
        raise BadParameter(f"{head}'s scaling must be {COMMON} or {COLUMNS}, not {params['scaling']!r}")
    return params


def with_validation(context: FitContext) -> FitContext:
    """Trains on the validation rows, too, as cross-validation chooses. Few-shot training keeps to its few texts."""
    if context.options.per_class is not None:
        return context
    rows = np.sort(np.concatenate([context.train, context.validation]))
    return dataclasses.replace(context, train=rows, validation=np.arange(0))


def _texts(context: FitContext, order: Rows) -> tuple[tuple[str, ...], TextRows | None]:
    """The kinds to choose from, and the terms if one of them needs them. `auto` can do without texts or terms."""
    head = context.options.head
    if head == LINEAR or (head == "auto" and not isinstance(context.X, FeaturesAndTexts)):
        return (LINEAR,), None
    text = read_terms(context, order)
    if text.terms.columns:
        return KINDS if head == "auto" else (head,), text
    if head == "auto":
        return (LINEAR,), None
    raise BadParameter(f"{head} has nothing to learn from: no word is in two texts\n  try: --head linear")


def _choice_rows(context: FitContext, order: Rows, text: TextRows | None) -> Rows:
    """Of the first rows of the order, ascending."""
    most = max(LEAST_CHOICE_ROWS, CHOICE_VALUES // context.X.shape[1])
    return np.sort(order[: most if text is None else min(most, CHOICE_TEXTS, len(text.rows))])


def _linear(context: FitContext, folds: ChoiceFolds, params: dict[str, Any]) -> _Linear:
    moments = sampled_moments(context.X, context.train)
    mean, std = mean_and_std(context.X, context.train)
    variance = moments[1] if moments[1].ndim == 1 else moments[1].diagonal()
    scaling = params["scaling"] or scaling_of(variance)
    scale = std if scaling == COLUMNS else np.full_like(std, np.sqrt(variance.mean() or 1.0))
    regression = Regression(mean, scale, moments)
    choice = choose(folds, regression, (params["C"],) if params["C"] else PATH, context.check)
    return _Linear(regression=regression, scaling=scaling, choice=choice)


def scaling_of(variance: Float64) -> str:
    """COMMON, or COLUMNS where the columns' variances are uneven: sum(v)^2 / (n sum(v^2)) is 1 for equal ones."""
    return COMMON if variance.sum() ** 2 >= EVEN * len(variance) * np.square(variance).sum() else COLUMNS


def _candidates(
    kinds: tuple[str, ...], folds: ChoiceFolds, linear: _Linear | None, text: TextRows | None
) -> list[Candidate]:
    models = {} if linear is None else {LINEAR: linear.choice.scores}
    if text is not None:
        models[TFIDF] = cross_fitted(folds, text)
    return [_candidate(kind, {name: models[name] for name in _models_of(kind)}, folds) for kind in kinds]


def _models_of(kind: str) -> tuple[str, ...]:
    return (LINEAR, TFIDF) if kind == HYBRID else (kind,)


def _candidate(kind: str, models: dict[str, npt.NDArray[np.float32]], folds: ChoiceFolds) -> Candidate:
    if not folds.known.any():
        return Candidate(kind=kind, weights=dict.fromkeys(models, 1.0))
    codes, link, of_rows = folds.codes, link_of(multi_label=folds.context.targets.multi_label), folds.weights
    weights = dict(zip(models, best_weights(list(models.values()), codes, link, of_rows), strict=True))
    unweighted = sum(models.values(), start=np.zeros((), dtype=np.float32))
    scores = sum((weights[name] * each for name, each in models.items()), start=np.zeros((), dtype=np.float32))
    probabilities = apply_link(scores.astype(np.float32), link)
    return Candidate(
        kind=kind,
        weights=weights,
        log_loss=log_loss(scores, codes, link, of_rows),
        log_loss_before=log_loss(unweighted, codes, link, of_rows),
        accuracy=share_right(scores, codes),
        thresholds=_thresholds(codes, probabilities),
        cross_fitted=CrossFitted(keys=folds.context.keys[folds.known], codes=codes, probabilities=probabilities),
    )


def _thresholds(codes: npt.NDArray[Any], probabilities: npt.NDArray[np.float32]) -> tuple[float, ...]:
    """Of label sets; none of single labels."""
    return best_thresholds(codes.astype(np.bool_), probabilities) if codes.ndim == 2 else ()


def chosen(candidates: list[Candidate], rows: int) -> Candidate:
    """The lowest loss by Akaike's criterion: a further weight must lower the loss of all rows by more than 1.

    In a tie the simplest; without folds `linear`, if it is among them.
    """
    if candidates[0].log_loss is None:
        return next((each for each in candidates if each.kind == LINEAR), candidates[0])
    return min(candidates, key=lambda each: rows * (each.log_loss or 0.0) + len(each.weights))


def _why(candidates: list[Candidate], linear: _Linear | None, folds: ChoiceFolds) -> str:
    if candidates[0].log_loss is None:
        return TOO_FEW
    if len(candidates) > 1:
        losses = ", ".join(f"{each.kind} {each.log_loss:.3f}" for each in candidates)
        return f"the lowest log loss in {folds.described} ({losses})"
    if linear is not None and len(linear.choice.path) > 1:
        return f"the lowest log loss in {folds.described}"
    return f"requested; calibrated by {folds.described}"


def _calibration(best: Candidate, rows: int) -> dict[str, Any]:
    """As `calibrate` records it; for two models with their weights instead of a temperature."""
    if best.log_loss is None:
        return {"method": "none", "reason": TOO_FEW}
    how: dict[str, Any] = {"method": "weights", "weights": best.weights}
    if len(best.weights) == 1:
        how = {"method": "temperature", "temperature": 1 / next(iter(best.weights.values()))}
    losses = {"log_loss_before": best.log_loss_before, "log_loss_after": best.log_loss}
    return {**how, "rows": rows, "by": "cross-fitted scores", **losses}


def _fitted(
    context: FitContext, best: Candidate, linear: _Linear | None, text: TextRows | None, params: dict[str, Any]
) -> Fitted:
    """The models of the best kind on all rows, their scores weighted."""
    dim, n_classes = context.X.shape[1], len(context.targets.classes)
    W, b = np.zeros((dim, n_classes)), np.zeros(n_classes)
    used = dict(context.options.params)
    out_of_core, warnings = False, () if text is None else text.warnings
    if linear is not None and LINEAR in best.weights:
        W, b, out_of_core, of_linear = _fit_linear(context, linear, int(params["max_iter"]))
        W, b = W * best.weights[LINEAR], b * best.weights[LINEAR]
        used = params | {"C": linear.choice.C, "scaling": linear.scaling}
        warnings = (*warnings, *of_linear)
    terms = None
    if text is not None and TFIDF in best.weights:
        of_text = dataclasses.replace(context, train=text.rows)
        term_weights, term_bias = (part * best.weights[TFIDF] for part in fit_svm(of_text, text.matrix))
        b, terms = b + term_bias, text.terms
    link = link_of(multi_label=context.targets.multi_label)
    layer = LayersPredictor(layers=((W.astype(np.float32), b.astype(np.float32)),), link=link)
    predictor: LayersPredictor | HybridPredictor = layer
    if terms is not None:
        predictor = HybridPredictor(layer=layer, terms=terms, term_weights=term_weights.astype(np.float32))
    return Fitted(predictor=predictor, params=used, out_of_core=out_of_core, warnings=warnings)


def _fit_linear(context: FitContext, linear: _Linear, max_iter: int) -> tuple[Float64, Float64, bool, tuple[str, ...]]:
    """Coefficients, intercepts, whether it was out of core, and warnings."""
    out_of_core = float32_bytes(context.train, context.X) > context.options.memory_bytes
    rows = context if out_of_core else in_memory(context, context.train)
    progress = Progress(context.check, first=50)
    solution = linear.regression.fit(rows, C=linear.choice.C, max_iter=max_iter, tol=TOLERANCE, progress=progress)
    of_memory = memory_warnings(context) if out_of_core else ()
    warnings = (*of_memory, *convergence_warnings(solution.iterations, max_iter))
    return *linear.regression.coefficients(rows, solution), out_of_core, warnings
