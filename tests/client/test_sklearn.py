"""`TextFeatures` and `TextClassifier`: scikit-learn's own checks, its tools on texts, and the store behind them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted, validate_data

from jdq.sklearn import TextClassifier, TextFeatures
from jdq.store.keys import text_keys
from jdq.store.store import open_store
from jdq.worker.encoder.errors import EncoderError
from jdq.worker.encoder.hashing import HashEncoder, hashed_feature
from jdq.worker.heads.errors import BadParameter, UnknownHead

TEXTS = [f"posting number {n}" for n in range(60)]
LABELS = np.array(["even", "odd"])[np.arange(60) % 2]


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JDQ_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("JDQ_STORE", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that the encoder has computed."""
    texts: list[str] = []
    encode = HashEncoder.encode

    def counting(self: HashEncoder, tokens: Any, *, after_batch: Any = None) -> np.ndarray:
        texts.extend(tokens.texts)
        return encode(self, tokens, after_batch=after_batch)

    monkeypatch.setattr(HashEncoder, "encode", counting)
    return texts


class RowsAsTexts:
    """Makes texts of the rows of numbers that scikit-learn's checks give, so that they check all that follows."""

    def as_texts(self, X: Any, *, reset: bool) -> list[str]:
        rows = validate_data(self, X, reset=reset, dtype="numeric", ensure_min_features=1)
        return [" ".join(map(repr, row)) for row in np.asarray(rows, dtype=float).tolist()]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.two_d_array, tags.input_tags.one_d_array, tags.input_tags.string = True, False, False
        return tags


class FeaturesOfRows(RowsAsTexts, TextFeatures):
    def fit(self, X: Any, y: Any = None) -> FeaturesOfRows:
        super().fit(self.as_texts(X, reset=True))
        return self

    def transform(self, X: Any) -> npt.NDArray[np.float32]:
        check_is_fitted(self)
        return super().transform(self.as_texts(X, reset=False))


class ClassifierOfRows(RowsAsTexts, TextClassifier):
    def fit(self, X: Any, y: Any) -> ClassifierOfRows:
        super().fit(self.as_texts(X, reset=True), y)
        return self

    def predict_proba(self, X: Any) -> npt.NDArray[np.float32]:
        check_is_fitted(self)
        return super().predict_proba(self.as_texts(X, reset=False))


@parametrize_with_checks(  # type: ignore[untyped-decorator]
    [FeaturesOfRows("hash:512"), ClassifierOfRows("hash:512")]
)
def test_scikit_learns_checks_pass(estimator: Any, check: Any) -> None:
    check(estimator)


def test_features_are_the_encoder_s_and_are_kept_in_the_store(store: Path, encoded: list[str]) -> None:
    features = TextFeatures("hash:16").fit(TEXTS)
    assert not encoded
    X = features.transform([*TEXTS[:3], TEXTS[0]])
    assert encoded == TEXTS[:3]
    assert X.dtype == np.float32
    np.testing.assert_array_equal(X, [hashed_feature(text, 16) for text in (*TEXTS[:3], TEXTS[0])])
    features.transform(TEXTS[:5])
    assert encoded == TEXTS[:5]
    assert not open_store(store).open_space(features.space_).missing(text_keys(TEXTS[:5])).any()
    assert features.get_feature_names_out().tolist()[:2] == ["feature0", "feature1"]


def test_another_store_can_be_named(tmp_path: Path, store: Path) -> None:
    TextFeatures("hash:16", store=str(tmp_path / "other")).fit_transform(TEXTS)
    assert not store.exists()
    assert open_store(tmp_path / "other").spaces()[0].count() == 60


def test_a_column_of_a_frame_and_an_array_are_texts() -> None:
    frame = pd.DataFrame({"text": TEXTS})
    a, b = (TextFeatures("hash:16").fit_transform(X) for X in (frame["text"], np.array(TEXTS)))
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("X", "fact"),
    [
        ("one text", "one str"),
        (pd.DataFrame({"a": ["x"]}), r"shape \(1, 1\)"),
        ([], "at least one text"),
        (["a", 1], "text 1 is int, not str"),
        (["a", " "], "text 1 is empty"),
    ],
)
def test_what_is_no_list_of_texts_is_an_error(X: Any, fact: str) -> None:
    with pytest.raises(ValueError, match=fact):
        TextFeatures("hash:16").fit(X)
    with pytest.raises(ValueError, match=fact):
        TextClassifier("hash:16").fit(X, ["a"])


@pytest.mark.parametrize(
    ("labels", "fact"),
    [(["a", None, "b"], "label 1 is missing"), (["a"] * 3, "one class: "), (["a", "b"], "numbers of")],
)
def test_labels_that_cannot_be_learned_are_an_error(labels: list[Any], fact: str) -> None:
    with pytest.raises(ValueError, match=fact):
        TextClassifier("hash:16").fit(TEXTS[:3], np.array(labels, dtype=object))


def test_a_wrong_head_parameter_or_pooling_is_an_error() -> None:
    with pytest.raises(UnknownHead, match="no head 'nope'"):
        TextClassifier("hash:16", head="nope").fit(TEXTS, LABELS)
    with pytest.raises(BadParameter, match="no parameter D"):
        TextClassifier("hash:16", params={"D": 1}).fit(TEXTS, LABELS)
    with pytest.raises(EncoderError):
        TextFeatures("hash:16", pooling="mean").fit(TEXTS)


@pytest.mark.parametrize("head", ["logreg", "hybrid", "mlp", "knn", "linear-svm", "sklearn.naive_bayes.GaussianNB"])
def test_a_fitted_classifier_pickles(head: str) -> None:
    classifier = TextClassifier("hash:64", head=head).fit(TEXTS, LABELS)
    again = pickle.loads(pickle.dumps(classifier))  # noqa: S301 - our own
    np.testing.assert_array_equal(again.predict_proba(TEXTS), classifier.predict_proba(TEXTS))
    assert again.classes_.tolist() == ["even", "odd"]


def test_a_fitted_estimator_refuses_another_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JDQ_ENCODER", "hash:16")
    classifier = TextClassifier().fit(TEXTS, LABELS)
    monkeypatch.setenv("JDQ_ENCODER", "hash:32")
    with pytest.raises(EncoderError, match="have changed since fit"):
        classifier.predict(TEXTS)


def test_the_parameters_reach_the_head() -> None:
    def mean_of_odd(labels: npt.NDArray[Any], C: float, class_weight: Literal["balanced"] | None = None) -> float:
        classifier = TextClassifier("hash:64", head="logreg", params={"C": C}, class_weight=class_weight).fit(
            TEXTS, labels
        )
        return float(classifier.predict_proba(TEXTS)[labels == "odd", 1].mean())

    few_odd = np.where(np.arange(60) < 50, "even", "odd")
    assert mean_of_odd(LABELS, 1e-9) < 0.6 < mean_of_odd(LABELS, 1e3)
    assert mean_of_odd(few_odd, 1e-9) < 0.25 < mean_of_odd(few_odd, 1e-9, "balanced")


def test_a_search_over_both_computes_each_feature_once(encoded: list[str]) -> None:
    grid = {"params": [None, {}], "head": ["logreg", "knn"]}
    search = GridSearchCV(TextClassifier("hash:64"), grid, cv=3).fit(TEXTS, LABELS)
    assert sorted(encoded) == sorted(TEXTS)
    assert len(search.cv_results_["params"]) == 4
    assert set(search.predict(TEXTS)) <= {"even", "odd"}


def test_features_in_a_pipeline_are_scored_by_cross_validation() -> None:
    pipeline = make_pipeline(TextFeatures("hash:64"), StandardScaler(), LogisticRegression(max_iter=50))
    assert cross_val_score(pipeline, TEXTS, LABELS, cv=3).shape == (3,)
    scores = cross_val_score(clone(TextClassifier("hash:64", head="dummy")), TEXTS, LABELS, cv=3)
    assert scores.tolist() == [0.5, 0.5, 0.5]
