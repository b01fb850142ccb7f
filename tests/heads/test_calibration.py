from typing import Any

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn import metrics as sk

from jdq.worker.heads import temperature
from jdq.worker.heads.calibration import at_temperature, calibrate
from jdq.worker.heads.fitted import row_keys
from jdq.worker.heads.fitting import fit
from jdq.worker.heads.labels import read_targets
from jdq.worker.heads.options import HeadOptions
from jdq.worker.heads.predictors import LayersPredictor
from jdq.worker.heads.split import VALIDATION, make_split
from jdq.worker.heads.temperature import best_temperature, best_weights
from jdq.worker.heads.train import make_fit_context, train_head


@pytest.mark.parametrize("head", ["logreg", "linear-svm", "svm", "knn", "mlp", "dummy"])
def test_calibration_changes_probabilities_but_no_prediction(made: Any, head: str) -> None:
    params: dict[str, Any] = {"C": 100} if head == "logreg" else {}
    plain = train_head(made.X, made.y, made.split, HeadOptions(head=head, params=params))
    calibrated = train_head(made.X, made.y, made.split, HeadOptions(head=head, params=params, calibrate=True))
    assert plain.predict(made.X) == calibrated.predict(made.X)
    report = calibrated.record.calibration
    assert report is not None and report["log_loss_after"] <= report["log_loss_before"] + 1e-9
    if head == "logreg":
        assert calibrated.record.metrics["log_loss"] < plain.record.metrics["log_loss"]


def test_heads_without_probabilities_of_their_own_are_always_calibrated(made: Any) -> None:
    for head in ("linear-svm", "svm"):
        record = train_head(made.X, made.y, made.split, HeadOptions(head=head)).record
        assert record.calibration is not None and record.calibration["method"] == "temperature"


def test_the_temperature_of_known_scores_is_found() -> None:
    """Labels drawn from softmax(scores / 3) are best explained at the temperature 3."""
    rng = np.random.default_rng(0)
    scores = 6 * rng.normal(size=(20_000, 3))
    exponents = np.exp(scores / 3)
    probabilities = exponents / exponents.sum(axis=1, keepdims=True)
    codes = (probabilities.cumsum(axis=1) > rng.random((20_000, 1))).argmax(axis=1)
    assert best_temperature(scores, codes, "softmax") == pytest.approx(3, rel=0.05)


def test_without_a_validation_part_the_record_says_so() -> None:
    rng = np.random.default_rng(0)
    y = ["a", "a", "a", "b", "b", "b"]
    X = rng.normal(size=(6, 4)).astype(np.float32)
    split = make_split(y, row_keys(6))
    assert split.counts()["validation"] == 0
    record = train_head(X, y, split, HeadOptions(head="linear-svm")).record
    assert record.calibration == {"method": "none", "reason": "no validation part"}
    assert record.validation_metrics is None
    assert train_head(X, y, split, HeadOptions(head="mlp")).record.history


@pytest.mark.parametrize(("link", "factor"), [("softmax", 1), ("softmax", 5), ("sigmoid", 0.2)])
def test_the_best_temperature_has_the_least_log_loss(link: str, factor: float) -> None:
    rng = np.random.default_rng(1)
    scores = (factor * rng.normal(size=(300, 3))).astype(np.float32)
    noisy = scores + factor * rng.normal(size=scores.shape)
    codes = noisy > 0 if link == "sigmoid" else noisy.argmax(axis=1)
    losses = {t: log_loss(scores / t, codes, link) for t in np.geomspace(0.02, 50, 400)}
    best = best_temperature(scores, codes, link)
    assert best == pytest.approx(min(losses, key=lambda t: losses[t]), rel=0.03)


def log_loss(scores: Any, codes: Any, link: str) -> float:
    """As scikit-learn computes it of probabilities."""
    scores = scores.astype(np.float64)
    if link == "sigmoid":
        return float(np.mean([sk.log_loss(codes[:, i], expit(scores[:, i])) for i in range(3)]))
    return float(sk.log_loss(codes, softmax(scores, axis=1)))


def test_certain_scores_are_calibrated_within_the_bounds() -> None:
    right, wrong = np.array([[0.01, 0.0]]), np.array([[0.0, 1.0]])
    codes = np.array([0])
    assert best_temperature(right, codes, "softmax") == pytest.approx(0.01, rel=1e-3)
    assert best_temperature(wrong, codes, "softmax") == pytest.approx(100, rel=1e-3)


@pytest.mark.parametrize("head", ["logreg", "svm"])
@pytest.mark.parametrize("label_separator", [None, "|"])
def test_the_report_is_that_of_the_validation_part(made: Any, head: str, label_separator: str | None) -> None:
    y = made.y if label_separator is None else np.array([f"{name}|{name[-1]}" for name in made.y], dtype=object)
    context = make_fit_context(
        made.X, read_targets(y, label_separator=label_separator), made.split,
        HeadOptions(head=head, label_separator=label_separator), made.keys, lambda *_: None,
    )  # fmt: skip
    before = fit(context)
    fitted, report = calibrate(before, context)
    validation = made.split.rows(VALIDATION)
    X, codes = made.X[validation].astype(np.float32), context.targets.codes[validation]
    predictor: Any = before.predictor
    assert report == {
        "method": "temperature",
        "temperature": best_temperature(predictor.scores(X), codes, predictor.link),
        "rows": len(validation),
        "log_loss_before": pytest.approx(mean_loss(predictor, X, codes), rel=1e-5),
        "log_loss_after": pytest.approx(mean_loss(fitted.predictor, X, codes), rel=1e-5),
    }
    assert report["log_loss_after"] <= report["log_loss_before"] and before.params == fitted.params


def mean_loss(predictor: Any, X: Any, codes: Any) -> float:
    probabilities = predictor.predict_block(X).astype(np.float64)
    if codes.ndim == 2:
        return float(-np.log(np.where(codes, probabilities, 1 - probabilities)).mean())
    return float(-np.log(probabilities[np.arange(len(codes)), codes]).mean())


def test_layers_take_the_temperature_into_the_last_one() -> None:
    rng = np.random.default_rng(0)
    sizes = [(4, 5), (5, 3)]
    layers = tuple((rng.normal(size=s).astype(np.float32), rng.normal(size=s[1]).astype(np.float32)) for s in sizes)
    predictor, X = LayersPredictor(layers=layers, link="softmax"), rng.normal(size=(6, 4)).astype(np.float32)
    cooler: Any = at_temperature(predictor, 2.5)
    assert np.allclose(cooler.scores(X), predictor.scores(X) / 2.5, atol=1e-6)
    assert cooler.layers[0] is layers[0] and {array.dtype for array in cooler.layers[1]} == {np.dtype(np.float32)}


def test_a_head_with_probabilities_is_calibrated_only_where_that_is_asked(made: Any) -> None:
    for asked in (False, True):
        record = train_head(made.X, made.y, made.split, HeadOptions(calibrate=asked)).record
        assert (record.calibration is not None) is asked


@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
def test_the_best_weights_have_the_least_log_loss_and_a_useless_model_has_none(link: str) -> None:
    rng = np.random.default_rng(3)
    codes = rng.integers(0, 3, 500)
    right: Any = (codes[:, None] == np.arange(3)).astype(float)
    one, other = right + rng.normal(size=(500, 3)), 3 * right + rng.normal(size=(500, 3)) * 4
    of_link = codes if link == "softmax" else right.astype(bool)
    weights = best_weights([one, other], of_link, link)
    least = log_loss(weights[0] * one + weights[1] * other, of_link, link)
    for step in ((0.01, 0), (-0.01, 0), (0, 0.01), (0, -0.01)):
        nearby = [weight + change for weight, change in zip(weights, step, strict=True)]
        assert log_loss(nearby[0] * one + nearby[1] * other, of_link, link) > least
    assert best_weights([one, -other], of_link, link)[1] == 0
    assert best_weights([one], of_link, link) == (1 / best_temperature(one, of_link, link),)
    # A row that counts n times is like n rows.
    counts = rng.integers(1, 9, 500)
    repeated = [np.repeat(each, counts, axis=0) for each in (one, other, of_link)]
    weighted = best_weights([one, other], of_link, link, counts.astype(float))
    assert weighted == pytest.approx(best_weights(repeated[:2], repeated[2], link), rel=1e-4)


@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
def test_a_row_of_weight_two_counts_as_two_rows(link: str) -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 3, 60)
    one, other = (np.eye(3)[codes] + rng.normal(size=(60, 3)) for _ in range(2))
    of_link = np.eye(3, dtype=np.bool_)[codes] if link == "sigmoid" else codes
    weights = np.where(codes == 0, 2.0, 1.0)
    twice = np.repeat(np.arange(60), weights.astype(int))
    expected = best_weights([one[twice], other[twice]], of_link[twice], link)
    assert best_weights([one, other], of_link, link, weights) == pytest.approx(expected, rel=1e-3)
    loss = temperature.log_loss(one, of_link, link, weights)
    assert loss == pytest.approx(log_loss(one[twice], of_link[twice], link)) != log_loss(one, of_link, link)
