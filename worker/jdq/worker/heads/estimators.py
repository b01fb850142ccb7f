"""Heads that are scikit-learn estimators, and how they predict."""

import importlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from joblib import parallel_config
from sklearn.base import BaseEstimator, is_classifier
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from jdq.worker.heads.errors import BadParameter, DamagedHead, UnknownHead
from jdq.worker.heads.features import in_float32
from jdq.worker.heads.fitted import FitContext, Fitted
from jdq.worker.heads.logreg import with_absent_classes
from jdq.worker.heads.options import ParameterValue
from jdq.worker.heads.payload import dump_estimator, load_estimator
from jdq.worker.heads.predictors import Array, Float32, LayersPredictor, Predictor, apply_link, linear, link_of


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recipe:
    estimator: Callable[..., Any]
    defaults: Mapping[str, ParameterValue]
    scale: bool = False


RECIPES = {
    "linear-svm": _Recipe(estimator=LinearSVC, defaults={"C": 0.1, "max_iter": 5000}, scale=True),
    # break_ties: the predicted class is then that of the largest score, even if votes are equal.
    "svm": _Recipe(estimator=SVC, defaults={"C": 1.0, "break_ties": True, "cache_size": 500}, scale=True),
    # Brute force: trees are slower beyond about 15 dimensions, and cannot be stored without pickle.
    "knn": _Recipe(
        estimator=KNeighborsClassifier,
        defaults={"n_neighbors": 10, "metric": "cosine", "weights": "distance", "algorithm": "brute"},
    ),
    "hist-gbm": _Recipe(estimator=HistGradientBoostingClassifier, defaults={"max_iter": 100}),
    "random-forest": _Recipe(estimator=RandomForestClassifier, defaults={"n_estimators": 300, "n_jobs": -1}),
    "dummy": _Recipe(estimator=DummyClassifier, defaults={"strategy": "prior"}),
}


def fit_estimator(context: FitContext) -> Fitted:
    """Any head of RECIPES, or a classifier by its dotted name. Raises BadParameter."""
    recipe = recipe_of(context.options.head)
    params: dict[str, ParameterValue] = {"scale": recipe.scale} | _defaults(recipe, context) | context.options.params
    model = _build(recipe, params, context)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        predictor = _fit(model, context)
    return Fitted(
        predictor=predictor,
        params=params,
        uncalibrated=not hasattr(model, "predict_proba"),
        warnings=tuple(dict.fromkeys(str(warning.message).split("\n")[0] for warning in caught)),
    )


def _fit(model: Any, context: FitContext) -> Predictor:
    X = in_float32(context.X, context.train)
    multi_label = context.targets.multi_label
    try:
        with _threads():
            model.fit(X, context.train_codes)
        predictor = EstimatorPredictor(
            estimator=model,
            dim=X.shape[1],
            outputs=len(context.targets.classes),
            link=link_of(multi_label=multi_label),
            temperature=1.0,
        )
        # Some parameters are checked only here, such as more neighbours than there are rows.
        predictor.predict_block(X[:1])
    except (TypeError, ValueError) as error:
        raise BadParameter(f"{context.options.head} cannot be trained with these parameters: {error}") from error
    is_linear_svm = context.options.head == "linear-svm" and not multi_label
    return _linear_svm_layer(model, context) if is_linear_svm else predictor


def _threads() -> AbstractContextManager[Any]:
    """joblib with threads: in a worker's child, which is a daemon, it can start no processes and would use one core."""
    config: AbstractContextManager[Any] = parallel_config(backend="threading")
    return config


def _defaults(recipe: _Recipe, context: FitContext) -> dict[str, ParameterValue]:
    defaults = dict(recipe.defaults)
    if "n_neighbors" in defaults:
        defaults["n_neighbors"] = min(int(defaults["n_neighbors"] or 1), len(context.train))
    return defaults


def _linear_svm_layer(model: Any, context: FitContext) -> LayersPredictor:
    """As one layer, with the scaler folded in, it loads with numpy only."""
    *scalers, svm = [step for _, step in model.steps] if isinstance(model, Pipeline) else [model]
    mean, std = (scalers[0].mean_, scalers[0].scale_) if scalers else (None, None)
    return with_absent_classes(linear(svm.coef_, svm.intercept_, link="softmax", mean=mean, std=std), context)


def recipe_of(head: str) -> _Recipe:
    """The recipe of a head's name, or of an importable classifier's dotted name. Raises UnknownHead."""
    if head in RECIPES:
        return RECIPES[head]
    module, _, name = head.rpartition(".")
    try:
        estimator = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UnknownHead(f"no classifier {head} can be imported: {error}") from error
    if not (isinstance(estimator, type) and issubclass(estimator, BaseEstimator) and is_classifier(estimator())):
        raise UnknownHead(f"{head} is not a scikit-learn classifier")
    return _Recipe(estimator=estimator, defaults={})


def _build(recipe: _Recipe, params: dict[str, ParameterValue], context: FitContext) -> Any:
    known = recipe.estimator().get_params()
    own = {name: value for name, value in params.items() if name != "scale"}
    unknown = sorted(set(own) - set(known))
    if unknown:
        has = ", ".join(sorted({*known, "scale"}))
        raise BadParameter(f"{context.options.head} has no parameter {', '.join(unknown)}; it has: {has}")
    if "random_state" in known:
        own.setdefault("random_state", context.options.seed)
    if context.options.class_weight is not None:
        if "class_weight" not in known:
            raise BadParameter(f"the head {context.options.head} does not support class weights")
        own["class_weight"] = context.options.class_weight
    model = recipe.estimator(**own)
    if params["scale"]:
        model = make_pipeline(StandardScaler(), model)
    return OneVsRestClassifier(model) if context.targets.multi_label else model


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EstimatorPredictor:
    """A fitted scikit-learn classifier of class numbers; its scores become probabilities by link and temperature."""

    estimator: Any
    dim: int
    outputs: int
    link: str
    temperature: float

    @property
    def kind(self) -> str:
        return "estimator"

    @property
    def reads_texts(self) -> bool:
        return False

    @property
    def reads_features(self) -> bool:
        return True

    def predict_block(self, X: Float32, texts: Sequence[str] = ()) -> Float32:
        if self.temperature == 1.0 and hasattr(self.estimator, "predict_proba"):
            return self._all_classes(self._probabilities(X), absent=0.0)
        return apply_link((self.scores(X) / self.temperature).astype(np.float32), self.link)

    def scores(self, X: Float32, texts: Sequence[str] = ()) -> Float32:
        """What the link makes probabilities of: (rows, classes)."""
        if hasattr(self.estimator, "predict_proba"):
            probabilities = np.clip(self._all_classes(self._probabilities(X), absent=0.0), 1e-7, 1 - 1e-7)
            logits: Float32 = np.log(probabilities)
            return logits - np.log1p(-probabilities) if self.link == "sigmoid" else logits
        scores = np.asarray(self.estimator.decision_function(X), dtype=np.float32)
        if scores.ndim == 1:
            scores = np.stack([np.zeros_like(scores), scores], axis=1)
        return self._all_classes(scores, absent=-1e4)

    def _probabilities(self, X: Float32) -> npt.NDArray[Any]:
        with _threads():
            probabilities: npt.NDArray[Any] = self.estimator.predict_proba(X)
        return probabilities

    def _all_classes(self, scores: npt.NDArray[Any], *, absent: float) -> Float32:
        """With columns for classes that no train row has."""
        if self.link == "sigmoid":
            return scores.astype(np.float32)
        wide = np.full((len(scores), self.outputs), absent, dtype=np.float32)
        wide[:, self.estimator.classes_] = scores
        return wide

    def arrays(self) -> dict[str, Array]:
        return {"skops": np.frombuffer(dump_estimator(self.estimator), dtype=np.uint8)}

    def settings(self) -> dict[str, Any]:
        return {"dim": self.dim, "outputs": self.outputs, "link": self.link, "temperature": self.temperature}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], settings: Mapping[str, Any]) -> "EstimatorPredictor":
        """Raises DamagedHead, UnsafeHead."""
        payload, temperature = arrays.get("skops"), settings.get("temperature")
        if set(arrays) != {"skops"} or payload is None or payload.dtype != np.uint8 or payload.ndim != 1:
            raise DamagedHead("the head does not hold one estimator")
        if not isinstance(temperature, float) or not 0 < temperature < 1e6:
            raise DamagedHead(f"the head's temperature is {temperature!r}")
        dim, outputs, link = settings.get("dim"), settings.get("outputs"), settings.get("link")
        if not isinstance(dim, int) or not isinstance(outputs, int) or link not in ("softmax", "sigmoid"):
            raise DamagedHead(f"the head's settings are not an estimator's: {dict(settings)}")
        estimator = load_estimator(payload.tobytes(), dim=dim)
        predictor = cls(estimator=estimator, dim=dim, outputs=outputs, link=link, temperature=temperature)
        predictor._try()
        return predictor

    def _try(self) -> None:
        """Predict one row of zeros: an estimator that does not fit fails here, not in the middle of a job."""
        try:
            shape = self.predict_block(np.zeros((1, self.dim), dtype=np.float32)).shape
        except (ValueError, IndexError, TypeError, AttributeError, KeyError) as error:
            raise DamagedHead(f"the head's estimator does not predict: {error}") from error
        if shape != (1, self.outputs):
            raise DamagedHead(f"the head's estimator gives {shape[1]} classes, not {self.outputs}")
