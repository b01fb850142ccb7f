import warnings
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Perceptron
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from jdq.worker.heads.errors import BadParameter, DamagedHead, UnknownHead
from jdq.worker.heads.estimators import EstimatorPredictor, fit_estimator, recipe_of
from jdq.worker.heads.labels import read_targets
from jdq.worker.heads.options import HeadOptions
from jdq.worker.heads.predictors import LayersPredictor
from jdq.worker.heads.split import TEST, Split
from jdq.worker.heads.train import make_fit_context

REFERENCES: dict[str, Any] = {
    "linear-svm": lambda **kw: make_pipeline(StandardScaler(), LinearSVC(C=0.1, max_iter=5000, **kw)),
    "svm": lambda **kw: make_pipeline(StandardScaler(), SVC(C=1.0, break_ties=True, cache_size=500, **kw)),
    "knn": lambda random_state, **kw: KNeighborsClassifier(
        n_neighbors=10, metric="cosine", weights="distance", algorithm="brute"
    ),
    "hist-gbm": lambda **kw: HistGradientBoostingClassifier(**{"max_iter": 100} | kw),
    "random-forest": lambda **kw: RandomForestClassifier(**{"n_estimators": 300, "n_jobs": -1} | kw),
    "dummy": lambda random_state, **kw: DummyClassifier(strategy="prior", random_state=random_state),
}
QUICK: dict[str, Any] = {"hist-gbm": {"max_iter": 3}, "random-forest": {"n_estimators": 5, "n_jobs": 1}}
DEFAULTS: dict[str, Any] = {
    "linear-svm": {"scale": True, "C": 0.1, "max_iter": 5000},
    "svm": {"scale": True, "C": 1.0, "break_ties": True, "cache_size": 500},
    "knn": {"scale": False, "n_neighbors": 10, "metric": "cosine", "weights": "distance", "algorithm": "brute"},
    "hist-gbm": {"scale": False, "max_iter": 100},
    "random-forest": {"scale": False, "n_estimators": 300, "n_jobs": -1},
    "dummy": {"scale": False, "strategy": "prior"},
}


def context_of(made: Any, head: str, y: Any = None, parts: Any = None, **options: Any) -> Any:
    parts = made.split.parts if parts is None else parts
    split = Split(parts=parts, seed=0, test=0.2, validation=0.1, distinct_texts=300, warnings=())
    asked = HeadOptions(head=head, **options)
    targets = read_targets(made.y if y is None else y, label_separator=asked.label_separator)
    return make_fit_context(made.X, targets, split, asked, made.keys, lambda *_: None)


def expected_of(model: Any, X: Any) -> Any:
    """What the class probabilities of a fitted reference are: its own, or the softmax of its scores."""
    return model.predict_proba(X) if hasattr(model, "predict_proba") else softmax(model.decision_function(X), axis=1)


@pytest.mark.parametrize("head", REFERENCES)
@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_a_head_is_the_estimator_with_its_defaults_seed_and_class_weights(
    made: Any, head: str, class_weight: str | None
) -> None:
    if class_weight and head in ("knn", "dummy"):
        with pytest.raises(BadParameter) as caught:
            fit_estimator(context_of(made, head, class_weight=class_weight))
        assert str(caught.value) == f"the head {head} does not support class weights"
        return
    quick = QUICK.get(head, {})
    context = context_of(made, head, seed=3, class_weight=class_weight, params=quick)
    weighted = {} if class_weight is None else {"class_weight": class_weight}
    X = made.X.astype(np.float32)
    reference = REFERENCES[head](random_state=3, **quick, **weighted)
    reference.fit(X[context.train], context.train_codes)
    fitted = fit_estimator(context)
    assert np.allclose(fitted.predictor.predict_block(X), expected_of(reference, X), atol=1e-4)
    assert fitted.params == DEFAULTS[head] | quick and fitted.warnings == () and not fitted.out_of_core
    assert fitted.uncalibrated == (head in ("linear-svm", "svm"))
    assert fitted.predictor.kind == ("layers" if head == "linear-svm" else "estimator")


@pytest.mark.parametrize("scale", [True, False])
def test_scaling_is_a_parameter_of_every_estimator(made: Any, scale: bool) -> None:
    X = made.X.astype(np.float32) * np.linspace(0.1, 10, 16, dtype=np.float32)
    context = context_of(type(made)(X=X, y=made.y, keys=made.keys, split=made.split), "knn", params={"scale": scale})
    steps = [StandardScaler()] if scale else []
    knn = make_pipeline(*steps, KNeighborsClassifier(10, metric="cosine", weights="distance", algorithm="brute"))
    knn.fit(X[context.train], context.train_codes)
    assert np.allclose(fit_estimator(context).predictor.predict_block(X), knn.predict_proba(X), atol=1e-5)
    plain: Any = fit_estimator(context_of(made, "linear-svm", params={"scale": False}))
    svm = LinearSVC(C=0.1, max_iter=5000, random_state=0)
    svm.fit(made.X[context.train].astype(np.float32), context.train_codes)
    assert np.allclose(plain.predictor.scores(made.X.astype(np.float32)), svm.decision_function(made.X), atol=1e-2)


@pytest.mark.parametrize("head", ["linear-svm", "svm", "random-forest"])
def test_label_sets_have_one_estimator_for_each_label(made: Any, head: str) -> None:
    y = [f"{name}|x" if name == "class 1" else name for name in made.y]
    quick = QUICK.get(head, {})
    context = context_of(made, head, y, label_separator="|", params=quick)
    X = made.X.astype(np.float32)
    reference = OneVsRestClassifier(REFERENCES[head](random_state=0, **quick)).fit(
        X[context.train], context.train_codes
    )
    found = fit_estimator(context).predictor.predict_block(X)
    expected = reference.predict_proba(X) if head == "random-forest" else expit(reference.decision_function(X))
    assert found.dtype == np.float32 and np.allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("head", ["linear-svm", "svm", "knn"])
@pytest.mark.parametrize("absent", ["class 0", "class 3"])
def test_absent_classes_have_the_probability_0(made: Any, head: str, absent: str) -> None:
    parts = np.where(made.y == absent, TEST, made.split.parts).astype(np.uint8)
    context = context_of(made, head, parts=parts)
    X = made.X.astype(np.float32)
    reference = REFERENCES[head](random_state=0).fit(X[context.train], context.train_codes)
    found = fit_estimator(context).predictor.predict_block(X)
    assert found.shape == (300, 4) and found[:, int(absent[-1])].max() == 0
    assert np.allclose(found[:, context.present()], expected_of(reference, X), atol=1e-4)


@pytest.mark.parametrize("head", ["svm", "linear-svm"])
def test_two_classes_have_the_sigmoid_of_one_score(binary: Any, head: str) -> None:
    context, X = context_of(binary, head), binary.X.astype(np.float32)
    reference = REFERENCES[head](random_state=0).fit(X[context.train], context.train_codes)
    found = fit_estimator(context).predictor.predict_block(X)
    assert np.allclose(found[:, 1], expit(reference.decision_function(X)), atol=1e-4)
    assert np.allclose(found.sum(axis=1), 1)


def test_scores_of_probabilities_give_the_probabilities_back_at_any_temperature(made: Any) -> None:
    X = made.X.astype(np.float32)
    for options, inverse in (
        ({}, lambda s: softmax(s, axis=1)),
        ({"label_separator": "|", "y": [f"{n}|x" if n == "class 1" else n for n in made.y]}, expit),
    ):
        predictor: Any = fit_estimator(
            context_of(made, "random-forest", params=QUICK["random-forest"], **options)
        ).predictor
        assert np.allclose(inverse(predictor.scores(X)), predictor.predict_block(X), atol=1e-5)
        assert np.isfinite(predictor.scores(X)).all()
        warm = EstimatorPredictor(**{"estimator": predictor.estimator, **predictor.settings()} | {"temperature": 2.0})
        assert np.allclose(warm.predict_block(X), inverse(predictor.scores(X) / 2), atol=1e-5)
        assert warm.predict_block(X).dtype == np.float32


def test_neighbours_are_at_most_the_train_rows_unless_asked(made: Any) -> None:
    assert fit_estimator(context_of(made, "knn", per_class=2)).params["n_neighbors"] == 8
    assert fit_estimator(context_of(made, "knn", per_class=3)).params["n_neighbors"] == 10
    with pytest.raises(BadParameter, match=r"^knn cannot be trained with these parameters: .*n_neighbors"):
        fit_estimator(context_of(made, "knn", per_class=2, params={"n_neighbors": 9}))


def test_the_first_line_of_each_warning_is_kept_once(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fit = KNeighborsClassifier.fit

    def warn(self: Any, X: Any, y: Any) -> Any:
        for text in ("first\nmore", "second", "first\nother"):
            warnings.warn(text, ConvergenceWarning, stacklevel=1)
        return fit(self, X, y)

    monkeypatch.setattr(KNeighborsClassifier, "fit", warn)
    assert fit_estimator(context_of(made, "knn")).warnings == ("first", "second")


def test_unknown_parameters_are_named_beside_the_known_ones(made: Any) -> None:
    with pytest.raises(BadParameter) as caught:
        fit_estimator(context_of(made, "dummy", params={"sed": 1, "mode": "x"}))
    assert str(caught.value) == (
        "dummy has no parameter mode, sed; it has: constant, random_state, scale, strategy"
    )  # fmt: skip
    params: dict[str, Any] = {"strategy": "uniform", "random_state": 7}
    predictor: Any = fit_estimator(context_of(made, "dummy", seed=1, params=params)).predictor
    assert predictor.estimator.random_state == 7


def test_a_classifier_is_found_by_its_dotted_name(made: Any) -> None:
    recipe = recipe_of("sklearn.linear_model.Perceptron")
    assert (recipe.estimator, recipe.defaults, recipe.scale) == (Perceptron, {}, False)
    fitted = fit_estimator(context_of(made, "sklearn.linear_model.Perceptron"))
    assert fitted.params == {"scale": False} and fitted.uncalibrated


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.Classifier", "no classifier nowhere.Classifier can be imported: No module named 'nowhere'"),
        ("sklearn.svm.Nothing", "no classifier sklearn.svm.Nothing can be imported: module 'sklearn.svm' has no attri"),
        ("logrec", "no classifier logrec can be imported: Empty module name"),
        ("sklearn.linear_model.Ridge", "sklearn.linear_model.Ridge is not a scikit-learn classifier"),
        ("os.system", "os.system is not a scikit-learn classifier"),
        ("pathlib.Path", "pathlib.Path is not a scikit-learn classifier"),
    ],
)
def test_what_is_no_classifier_is_refused_by_name(name: str, message: str) -> None:
    with pytest.raises(UnknownHead) as caught:
        recipe_of(name)
    assert str(caught.value).startswith(message)


@pytest.fixture(scope="module")
def stored(made: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    predictor: Any = fit_estimator(context_of(made, "knn")).predictor
    assert predictor.settings() == {"dim": 16, "outputs": 4, "link": "softmax", "temperature": 1.0}
    return predictor.arrays(), predictor.settings()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"more": 1}, "the head does not hold one estimator"),
        ({"skops": None}, "the head does not hold one estimator"),
        ({"skops": np.zeros(3)}, "the head does not hold one estimator"),
        ({"skops": np.zeros((3, 1), dtype=np.uint8)}, "the head does not hold one estimator"),
        ({"temperature": 1}, "the head's temperature is 1"),
        ({"temperature": None}, "the head's temperature is None"),
        ({"temperature": 0.0}, "the head's temperature is 0.0"),
        ({"temperature": 1e6}, "the head's temperature is 1000000.0"),
        ({"dim": "16"}, "the head's settings are not an estimator's: "),
        ({"outputs": None}, "the head's settings are not an estimator's: "),
        ({"link": "relu"}, "the head's settings are not an estimator's: "),
        ({"outputs": 5}, "the head's estimator gives 4 classes, not 5"),
        ({"outputs": 3}, "the head's estimator does not predict: index 3 is out of bounds"),
        ({"dim": 15}, "the head's estimator does not predict: "),
    ],
)
def test_a_stored_estimator_that_does_not_fit_is_refused(stored: Any, change: Any, message: str) -> None:
    arrays, settings = stored
    for name, value in change.items():
        if name in settings:
            settings = settings | {name: value}
        else:
            arrays = {key: found for key, found in (arrays | {name: value}).items() if found is not None}
    if message.endswith("estimator's: "):
        message += str(settings)
    if change == {"outputs": 5}:  # the columns of absent classes are made: sigmoid shows the estimator's own
        settings = settings | {"link": "sigmoid"}
    with pytest.raises(DamagedHead) as caught:
        EstimatorPredictor.from_arrays(arrays, settings)
    assert str(caught.value).startswith(message)


def test_a_stored_estimator_predicts_as_before(stored: Any, made: Any) -> None:
    arrays, settings = stored
    assert arrays.keys() == {"skops"} and arrays["skops"].dtype == np.uint8
    again = EstimatorPredictor.from_arrays(arrays, settings | {"temperature": 999_999.0})
    assert np.allclose(again.predict_block(made.X.astype(np.float32)), 0.25, atol=1e-4)
    linear: Any = fit_estimator(context_of(made, "linear-svm")).predictor
    assert isinstance(linear, LayersPredictor) and linear.link == "softmax"
