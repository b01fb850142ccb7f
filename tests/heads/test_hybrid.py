"""The hybrid head, against scikit-learn's regression on the features beside the terms."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from jdq.worker.heads.errors import BadParameter, DamagedHead, WrongFeatures
from jdq.worker.heads.features import FeaturesAndTexts, with_texts
from jdq.worker.heads.files import load_head, save_head
from jdq.worker.heads.fitting import as_learnt
from jdq.worker.heads.hybrid import fit_hybrid
from jdq.worker.heads.hybrid_predictor import HybridPredictor
from jdq.worker.heads.labels import read_targets
from jdq.worker.heads.options import HeadOptions
from jdq.worker.heads.split import TEST, make_split
from jdq.worker.heads.train import make_fit_context, train_head

WORDS = ("chef", "nurse", "driver")
COMMON = ["works", "in", "a", "team", "of", "some", "size", "with", "good", "pay", "and", "training"]


@pytest.fixture(scope="module")
def made() -> Any:
    """180 rows of 3 classes: features tell them apart a little, words a little; both together better."""
    rng = np.random.default_rng(0)
    codes = np.arange(180) % 3
    X = (rng.normal(size=(3, 8))[codes] * 0.7 + rng.normal(size=(180, 8))).astype(np.float16)
    named = np.where(rng.random(180) < 0.6, codes, rng.integers(0, 3, 180))
    texts = [" ".join([*rng.choice(COMMON, 5), WORDS[n]]) for n in named]
    y = np.array([f"class {code}" for code in codes], dtype=object)
    keys = rng.integers(0, 256, (180, 16)).astype(np.uint8)
    return Made(X=X, texts=texts, y=y, keys=keys, split=make_split(y, keys))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Made:
    X: Any
    texts: list[str]
    y: Any
    keys: Any
    split: Any

    @property
    def both(self) -> FeaturesAndTexts:
        return with_texts(self.X, self.texts)


def context_of(made: Made, X: Any = None, y: Any = None, **options: Any) -> Any:
    chosen = HeadOptions(head="hybrid", **options)
    targets = read_targets(made.y if y is None else y, label_separator=chosen.label_separator)
    X = made.both if X is None else X
    return make_fit_context(X, targets, made.split, chosen, made.keys, lambda *_: None)


def fitted_of(context: Any) -> Any:
    return fit_hybrid(context)


def design(made: Made, fitted: Any) -> Any:
    """What scikit-learn gets: features of the length 1 in the mean, and the terms."""
    rows = np.flatnonzero(made.split.parts != TEST)
    X = made.X.astype(np.float64)
    centred = X - X[rows].mean(axis=0)
    length = np.sqrt((centred[rows] ** 2).sum(axis=1).mean())
    return np.hstack([centred / length, fitted.predictor.terms.rows(made.texts).toarray()])


@pytest.mark.parametrize("memory_bytes", [1 << 30, 4000])
def test_it_is_scikit_learns_regression_on_features_beside_terms(made: Made, memory_bytes: int) -> None:
    params = {"C": 3.0, "characters": False}
    fitted = fitted_of(context_of(made, params=params, memory_bytes=memory_bytes))
    rows, X = np.flatnonzero(made.split.parts != TEST), design(made, fitted)
    model = LogisticRegression(C=3.0, tol=1e-6, max_iter=1000).fit(X[rows], made.y[rows].astype(str))
    expected = log_softmax(model.predict_log_proba(X) / fitted.calibration["temperature"], axis=1)
    found = np.log(fitted.predictor.predict_block(made.X.astype(np.float32), made.texts))
    assert np.abs(found - expected).max() < 0.03
    assert fitted.params == {"C": 3.0, "scaling": "common", "max_iter": 1000, "characters": False}
    assert fitted.out_of_core == (memory_bytes == 4000) == any("out of core" in each for each in fitted.warnings)


def test_it_is_better_than_features_or_terms_and_says_what_it_chose(made: Made) -> None:
    both = train_head(made.both, made.y, made.split, HeadOptions(head="hybrid"), keys=made.keys).record
    features = train_head(made.both, made.y, made.split, HeadOptions(head="auto"), keys=made.keys).record
    nothing = with_texts(np.zeros_like(made.X), made.texts)
    words = train_head(nothing, made.y, made.split, HeadOptions(head="hybrid"), keys=made.keys).record
    losses = [each.calibration["log_loss_after"] for each in (both, features, words) if each.calibration]
    assert losses[0] < min(losses[1:]) - 0.05
    assert both.trained_rows == (made.split.parts != TEST).sum() and both.validation_metrics is None
    assert both.choice is not None and both.choice["terms"] > 20
    assert both.choice["why"].startswith("the least log loss in 5-fold cross-validation")
    assert both.calibration is not None and both.calibration["by"] == "cross-fitted scores"
    assert len(as_learnt(context_of(made)).train) == both.trained_rows


def test_label_sets_have_thresholds(made: Made) -> None:
    y = [["x|y", "x", ""][code] for code in np.arange(180) % 3]
    fitted = fitted_of(context_of(made, y=y, label_separator="|"))
    assert len(fitted.thresholds) == 2 and fitted.predictor.outputs == 2
    probabilities = fitted.predictor.predict_block(made.X.astype(np.float32), made.texts)
    assert np.mean((probabilities[:, 1] > 0.5) == (np.arange(180) % 3 == 0)) > 0.8


def test_characters_that_do_not_fit_into_memory_are_left_out(made: Made) -> None:
    fitted = fitted_of(context_of(made, memory_bytes=60_000, params={"C": 1.0}))
    assert [each.analyzer for each in fitted.predictor.terms.vocabularies] == ["words"]
    train = int((made.split.parts != TEST).sum())
    assert fitted.warnings[0] == f"words only: the characters of {train} texts do not fit into 0 MiB"


def test_features_without_texts_are_refused(made: Made) -> None:
    with pytest.raises(WrongFeatures, match="this head reads texts beside the features, and none were given"):
        fit_hybrid(context_of(made, X=made.X))
    head = train_head(made.both, made.y, made.split, HeadOptions(head="hybrid", params={"C": 1.0}), keys=made.keys)
    with pytest.raises(WrongFeatures, match="reads texts"):
        head.predict_proba(made.X)
    assert head.predict_proba(made.both).shape == (180, 3)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"characters": 3}, "hybrid's characters must be true or false, not 3"),
        ({"c": 3}, "hybrid has no parameter c; it has: C, scaling, max_iter, characters"),
    ],
)
def test_wrong_parameters_are_named(made: Made, params: dict[str, Any], message: str) -> None:
    with pytest.raises(BadParameter) as caught:
        fit_hybrid(context_of(made, params=params))
    assert str(caught.value) == message


def test_a_stored_head_predicts_the_same(made: Made, tmp_path: Path) -> None:
    head = train_head(made.both, made.y, made.split, HeadOptions(head="hybrid", params={"C": 1.0}), keys=made.keys)
    (tmp_path / "head").write_bytes(save_head(head))
    again = load_head(tmp_path / "head")
    assert (again.predict_proba(made.both) == head.predict_proba(made.both)).all()
    assert isinstance(again.predictor, HybridPredictor)
    assert (again.predictor.kind, again.predictor.dim, again.predictor.outputs) == ("hybrid", 8, 3)
    assert msgspec.json.encode(again.record) == msgspec.json.encode(head.record)
    changed = bytearray((tmp_path / "head").read_bytes())
    changed[-3] ^= 1
    (tmp_path / "head").write_bytes(changed)
    with pytest.raises(DamagedHead, match="altered or damaged"):
        load_head(tmp_path / "head")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("words.idf", lambda idf: -idf, "are not positive numbers"),
        ("words.idf", lambda idf: idf * np.float32(np.inf), "are not positive numbers"),
        ("words.idf", lambda idf: idf.astype(np.float64), "do not fit together"),
        ("words.idf", lambda idf: idf[1:], "do not fit together"),
        ("words.ends", lambda ends: ends[::-1].copy(), "do not end where their text ends"),
        ("words.ends", lambda ends: ends + 1, "do not end where their text ends"),
        ("words.utf8", lambda utf8: np.full_like(utf8, 0xFF), "are not UTF-8"),
        ("words.utf8", lambda utf8: utf8[1:], "do not end where their text ends"),
        ("term_weights", lambda weights: weights[1:], "terms; their weights are"),
        ("term_weights", lambda weights: weights * np.float32(np.nan), "not finite"),
        ("more", lambda _: np.zeros(1), "are not those of a hybrid"),
    ],
)
def test_arrays_that_are_no_hybrid_are_refused(made: Made, name: str, change: Any, message: str) -> None:
    predictor = fitted_of(context_of(made, params={"C": 1.0, "characters": False})).predictor
    arrays, settings = predictor.arrays(), predictor.settings()
    assert HybridPredictor.from_arrays(arrays, settings).terms.columns == predictor.terms.columns
    with pytest.raises(DamagedHead, match=message):
        HybridPredictor.from_arrays({**arrays, name: change(arrays.get(name))}, settings)


@pytest.mark.parametrize("analyzers", [None, ["nouns"], ["words", "words"]])
def test_unknown_analyzers_are_refused(made: Made, analyzers: Any) -> None:
    predictor = fitted_of(context_of(made, params={"C": 1.0, "characters": False})).predictor
    with pytest.raises(DamagedHead, match="has no analyzers"):
        HybridPredictor.from_arrays(predictor.arrays(), {**predictor.settings(), "analyzers": analyzers})


def test_terms_that_repeat_are_refused(made: Made) -> None:
    predictor = fitted_of(context_of(made, params={"C": 1.0, "characters": False})).predictor
    arrays = predictor.arrays()
    count = len(arrays["words.idf"])
    same: dict[str, Any] = {"words.utf8": np.full(count, ord("a"), np.uint8), "words.ends": np.arange(1, count + 1)}
    with pytest.raises(DamagedHead, match="repeat"):
        HybridPredictor.from_arrays({**arrays, **same}, predictor.settings())
