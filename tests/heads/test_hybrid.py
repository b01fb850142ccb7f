"""What `auto` chooses from, against scikit-learn's regression and its support vector machine of TF-IDF."""

import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_union
from sklearn.svm import LinearSVC

from jdq.worker.heads import auto
from jdq.worker.heads.auto import KINDS, Candidate, chosen, fit_auto
from jdq.worker.heads.errors import BadParameter, DamagedHead, WrongFeatures
from jdq.worker.heads.features import FeaturesAndTexts, with_texts
from jdq.worker.heads.files import load_head, save_head
from jdq.worker.heads.fitting import as_learnt
from jdq.worker.heads.hybrid_predictor import HybridPredictor
from jdq.worker.heads.labels import read_targets
from jdq.worker.heads.options import HeadOptions
from jdq.worker.heads.predictors import LayersPredictor
from jdq.worker.heads.split import TEST, make_split
from jdq.worker.heads.terms import ANALYZERS
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


def context_of(made: Made, X: Any = None, y: Any = None, head: str = "hybrid", **options: Any) -> Any:
    chosen = HeadOptions(head=head, **options)
    targets = read_targets(made.y if y is None else y, label_separator=chosen.label_separator)
    X = made.both if X is None else X
    return make_fit_context(X, targets, made.split, chosen, made.keys, lambda *_: None)


def fitted_of(context: Any) -> Any:
    return fit_auto(context)


def learnt(made: Made) -> Any:
    return np.flatnonzero(made.split.parts != TEST)


def regression_scores(made: Made, C: float) -> Any:
    """scikit-learn's, on features of one scale."""
    X, rows = made.X.astype(np.float64), learnt(made)
    X = X - X[rows].mean(axis=0)
    X /= np.sqrt((X[rows] ** 2).mean())
    return LogisticRegression(C=C, tol=1e-6).fit(X[rows], made.y[rows].astype(str)).decision_function(X)


def svm_scores(made: Made) -> Any:
    """scikit-learn's, on its own TF-IDF."""
    options: dict[str, Any] = {"min_df": 2, "sublinear_tf": True}
    kinds = [TfidfVectorizer(**ANALYZERS[kind], **options) for kind in ANALYZERS]
    terms, rows = make_union(*kinds), learnt(made)
    terms.fit([made.texts[row] for row in rows])
    T = terms.transform(made.texts)
    return LinearSVC(random_state=0).fit(T[rows], made.y[rows].astype(str)).decision_function(T)


@pytest.mark.parametrize("memory_bytes", [1 << 30, 1_000_000])
def test_it_is_the_weighted_sum_of_scikit_learns_regression_and_its_svm_of_terms(made: Made, memory_bytes: int) -> None:
    fitted = fitted_of(context_of(made, params={"C": 0.03}, memory_bytes=memory_bytes))
    weights = fitted.calibration["weights"]
    scores = weights["linear"] * regression_scores(made, 0.03) + weights["tf-idf"] * svm_scores(made)
    found = np.log(fitted.predictor.predict_block(made.X.astype(np.float32), made.texts))
    assert np.abs(found - log_softmax(scores, axis=1)).max() < 0.03
    assert min(weights.values()) > 0.2
    assert fitted.params == {"C": 0.03, "scaling": "common", "max_iter": 1000}


def test_tf_idf_is_the_support_vector_machine_at_a_temperature(made: Made) -> None:
    fitted = fitted_of(context_of(made, head="tf-idf"))
    found = np.log(fitted.predictor.predict_block(made.X.astype(np.float32), made.texts))
    expected = log_softmax(svm_scores(made) / fitted.calibration["temperature"], axis=1)
    assert np.abs(found - expected).max() < 0.01
    assert fitted.params == {} and "C" not in fitted.choice
    assert fitted.choice["why"] == f"requested; calibrated by 5-fold cross-validation over {len(learnt(made))} rows"


def test_two_classes_have_the_same_scores_as_of_scikit_learn(made: Made) -> None:
    two = dataclasses.replace(made, y=np.where(made.y == "class 2", "class 1", made.y))
    fitted = fitted_of(context_of(two, head="tf-idf"))
    found = fitted.predictor.scores(two.X.astype(np.float32), two.texts)
    expected = svm_scores(two) / fitted.calibration["temperature"]
    assert np.allclose(found[:, 1] - found[:, 0], expected, atol=0.01)


def test_auto_takes_what_predicts_other_rows_best_and_says_so(made: Made) -> None:
    both = train_head(made.both, made.y, made.split, HeadOptions(head="auto"), keys=made.keys).record
    choice: dict[str, Any] = both.choice or {}
    losses = {each["kind"]: each["log_loss"] for each in choice["candidates"]}
    assert list(losses) == ["tf-idf", "linear", "hybrid"] and choice["kind"] == "hybrid"
    assert losses["hybrid"] < min(losses["tf-idf"], losses["linear"]) - 0.05
    listed = ", ".join(f"{kind} {loss:.3f}" for kind, loss in losses.items())
    assert choice["why"].endswith(f"-fold cross-validation over {len(learnt(made))} rows ({listed})")
    assert both.trained_rows == len(learnt(made)) and both.validation_metrics is None and choice["terms"] > 20
    assert both.calibration is not None and both.calibration["log_loss_after"] == losses["hybrid"]
    assert len(as_learnt(context_of(made)).train) == both.trained_rows


def test_useless_features_leave_tf_idf_and_useless_texts_the_features(made: Made) -> None:
    noise = np.random.default_rng(5).normal(size=made.X.shape).astype(np.float16)
    words = fitted_of(context_of(made, X=with_texts(noise, made.texts), head="auto"))
    assert words.choice["kind"] == "tf-idf" and words.params == {}
    # The layer of the features has no weights.
    assert not words.predictor.layer.layers[0][0].any()
    shuffled = np.random.default_rng(7).permutation(np.array(made.texts, dtype=object)).tolist()
    features = fitted_of(context_of(made, X=with_texts(made.X, shuffled), head="auto"))
    assert features.choice["kind"] == "linear" and isinstance(features.predictor, LayersPredictor)


def test_a_second_model_must_lower_the_loss_of_all_rows_by_more_than_one() -> None:
    def candidate(kind: str, loss: float | None) -> Candidate:
        weights = dict.fromkeys(("linear", "tf-idf") if kind == "hybrid" else (kind,), 1.0)
        return Candidate(kind=kind, weights=weights, log_loss=loss)

    def of(*losses: float | None) -> str:
        return chosen([candidate(*each) for each in zip(KINDS, losses, strict=True)], 100).kind

    assert of(0.5, 0.6, 0.4905) == "tf-idf" and of(0.5, 0.6, 0.4895) == "hybrid"
    assert of(0.5, 0.5, 0.5) == "tf-idf" and of(0.5, 0.4999, 0.5) == "linear"
    assert of(None, None, None) == "linear"


def test_label_sets_have_thresholds_and_a_label_of_all_rows_is_always_there(made: Made) -> None:
    y = [["x|y|all", "x|all", "all"][code] for code in np.arange(180) % 3]
    fitted = fitted_of(context_of(made, y=y, label_separator="|"))
    assert len(fitted.thresholds) == 3 and fitted.predictor.outputs == 3
    probabilities = fitted.predictor.predict_block(made.X.astype(np.float32), made.texts)
    assert np.mean((probabilities[:, 2] > 0.5) == (np.arange(180) % 3 == 0)) > 0.8
    assert probabilities[:, 0].min() > 0.999


def test_what_does_not_fit_into_memory_is_left_out_and_that_is_said(made: Made) -> None:
    n = len(learnt(made))
    fitted = fitted_of(context_of(made, memory_bytes=150_000, head="tf-idf"))
    assert [each.analyzer for each in fitted.predictor.terms.vocabularies] == ["words"]
    assert fitted.warnings == (f"words only: the characters of {n} texts do not fit into 0 MiB",)
    fewer = fitted_of(context_of(made, memory_bytes=20_000, head="tf-idf"))
    rows = fewer.choice["rows"]
    assert rows < n and fewer.warnings[1] == f"words of only {rows} of {n} texts: more do not fit into 0 MiB"


def test_without_a_word_in_two_texts_auto_is_linear_and_the_others_say_so(made: Made) -> None:
    silent = with_texts(made.X, [chr(0x4E00 + row) for row in range(180)])
    assert fitted_of(context_of(made, X=silent, head="auto")).choice["kind"] == "linear"
    for head in ("tf-idf", "hybrid"):
        with pytest.raises(BadParameter, match=f"{head} has nothing to learn from: no word is in two texts"):
            fitted_of(context_of(made, X=silent, head=head))


def test_the_choice_is_made_on_some_of_the_texts(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto, "CHOICE_TEXTS", 60)
    fitted = fitted_of(context_of(made))
    assert fitted.choice["rows"] == 60 and len(fitted.trained_rows) == len(learnt(made))


def test_features_without_texts_are_refused(made: Made) -> None:
    with pytest.raises(WrongFeatures, match="this head reads texts beside the features, and none were given"):
        fitted_of(context_of(made, X=made.X))
    head = train_head(made.both, made.y, made.split, HeadOptions(head="hybrid", params={"C": 1.0}), keys=made.keys)
    with pytest.raises(WrongFeatures, match="reads texts"):
        head.predict_proba(made.X)
    assert head.predict_proba(made.both).shape == (180, 3)


@pytest.mark.parametrize(
    ("head", "params", "message"),
    [
        ("hybrid", {"c": 3}, "hybrid has no parameter c; it has: C, scaling, max_iter"),
        ("tf-idf", {"C": 3}, "tf-idf has no parameter C; it has: none"),
    ],
)
def test_wrong_parameters_are_named(made: Made, head: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(BadParameter) as caught:
        fitted_of(context_of(made, head=head, params=params))
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
    predictor = fitted_of(context_of(made, params={"C": 1.0})).predictor
    arrays, settings = predictor.arrays(), predictor.settings()
    assert HybridPredictor.from_arrays(arrays, settings).terms.columns == predictor.terms.columns
    with pytest.raises(DamagedHead, match=message):
        HybridPredictor.from_arrays({**arrays, name: change(arrays.get(name))}, settings)


@pytest.mark.parametrize("analyzers", [None, ["nouns"], ["words", "words"]])
def test_unknown_analyzers_are_refused(made: Made, analyzers: Any) -> None:
    predictor = fitted_of(context_of(made, params={"C": 1.0})).predictor
    with pytest.raises(DamagedHead, match="has no analyzers"):
        HybridPredictor.from_arrays(predictor.arrays(), {**predictor.settings(), "analyzers": analyzers})


def test_terms_that_repeat_are_refused(made: Made) -> None:
    predictor = fitted_of(context_of(made, params={"C": 1.0})).predictor
    arrays = predictor.arrays()
    count = len(arrays["words.idf"])
    same: dict[str, Any] = {"words.utf8": np.full(count, ord("a"), np.uint8), "words.ends": np.arange(1, count + 1)}
    with pytest.raises(DamagedHead, match="repeat"):
        HybridPredictor.from_arrays({**arrays, **same}, predictor.settings())
