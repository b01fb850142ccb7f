from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from jdq.worker.heads import logreg
from jdq.worker.heads.errors import BadParameter
from jdq.worker.heads.labels import read_targets
from jdq.worker.heads.logreg import fit_logreg
from jdq.worker.heads.options import HeadOptions
from jdq.worker.heads.softmax_regression import Solution
from jdq.worker.heads.split import TEST, TRAIN
from jdq.worker.heads.train import make_fit_context

SETS = ["x|y", "x", "", "y|z"]


def context_of(made: Any, y: Any = None, parts: Any = None, check: Any = lambda *_: None, **options: Any) -> Any:
    split = made.split if parts is None else type(made.split)(
        parts=parts, seed=0, test=0.2, validation=0.1, distinct_texts=300, warnings=()
    )  # fmt: skip
    asked = HeadOptions(**options)
    targets = read_targets(made.y if y is None else y, label_separator=asked.label_separator)
    return make_fit_context(made.X, targets, split, asked, made.keys, check)


def scores_of(fitted: Any, X: Any) -> Any:
    """Centred, because any number may be added to all scores of a row."""
    scores = fitted.predictor.scores(X)
    return scores - scores.mean(axis=1, keepdims=True)


@pytest.mark.parametrize("params", [{}, {"scale": True}, {"C": 0.03}, {"tol": 0.5}, {"solver": "newton-cg"}])
@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_parameters_reach_scikit_learn(made: Any, params: dict[str, Any], class_weight: str | None) -> None:
    context = context_of(made, params=params, class_weight=class_weight)
    own, X = {"max_iter": 1000} | params, made.X.astype(np.float32)
    given = StandardScaler().fit(X[context.train]).transform(X) if own.pop("scale", False) else X
    model = LogisticRegression(class_weight=class_weight, **own).fit(given[context.train], context.train_codes)
    fitted = fit_logreg(context)
    expected = model.decision_function(given)
    assert np.allclose(scores_of(fitted, X), expected - expected.mean(axis=1, keepdims=True), atol=2e-3)
    assert fitted.params == {"C": 1.0, "max_iter": 1000, "scale": False} | params
    assert (fitted.warnings, fitted.out_of_core, fitted.uncalibrated, fitted.history) == ((), False, False, [])


def test_the_seed_reaches_the_solvers_that_use_one(made: Any) -> None:
    params = {"solver": "saga", "max_iter": 3}
    context = context_of(made, params=params, seed=5)
    X = made.X.astype(np.float32)
    with pytest.warns(ConvergenceWarning):
        model = LogisticRegression(random_state=5, **params).fit(X[context.train], context.train_codes)
    assert np.allclose(fit_logreg(context).predictor.predict_block(X), model.predict_proba(X), atol=1e-6)


def test_each_label_of_a_set_has_a_regression_of_its_own(made: Any) -> None:
    y, called = [SETS[i % 4] for i in range(300)], []
    context = context_of(made, y, label_separator="|", check=lambda *counts: called.append(counts))
    predictor = fit_logreg(context).predictor
    X, codes = made.X.astype(np.float32), context.targets.codes
    for i in range(3):
        model = LogisticRegression(max_iter=1000).fit(X[context.train], codes[context.train, i])
        assert np.allclose(predictor.predict_block(X)[:, i], model.predict_proba(X)[:, 1], atol=1e-4)
    assert called == [(0, 3), (1, 3), (2, 3)]


@pytest.mark.parametrize("memory_bytes", [1 << 30, 1000])
def test_a_label_that_every_train_row_has_or_none_is_certain(made: Any, memory_bytes: int) -> None:
    parts = made.split.parts
    y = [("a|b" if i % 2 else "a") + ("" if parts[i] == TRAIN else "|c") for i in range(300)]
    context = context_of(made, y, label_separator="|", memory_bytes=memory_bytes)
    always, _, never = fit_logreg(context).predictor.predict_block(made.X.astype(np.float32)).T
    assert always.min() > 0.95 and never.max() < 0.05
    if memory_bytes > 1000:
        assert always.min() == 1 and never.max() == 0


@pytest.mark.parametrize("memory_bytes", [1 << 30, 1000])
@pytest.mark.parametrize("absent", [{"class 3"}, {"class 0"}, {"class 0", "class 2"}])
def test_absent_classes_are_never_predicted_and_the_others_as_if_they_did_not_exist(
    made: Any, absent: set[str], memory_bytes: int
) -> None:
    parts = np.where(np.isin(made.y, list(absent)), TEST, TRAIN).astype(np.uint8)
    context = context_of(made, parts=parts, memory_bytes=memory_bytes, params={"tol": 1e-6})
    X, present = made.X.astype(np.float32), context.present()
    model = LogisticRegression(max_iter=1000, tol=1e-6).fit(X[context.train], context.train_codes)
    probabilities = fit_logreg(context).predictor.predict_block(X)
    assert np.allclose(probabilities[:, present], model.predict_proba(X), atol=2e-3)
    assert np.delete(probabilities, present, axis=1).max() == 0


def test_balanced_weights_out_of_core_ignore_absent_classes(made: Any) -> None:
    parts = np.where(made.y == "class 1", TEST, made.split.parts).astype(np.uint8)
    found = [
        fit_logreg(
            context_of(made, parts=parts, class_weight="balanced", memory_bytes=size, params={"tol": 1e-6})
        ).predictor.predict_block(made.X.astype(np.float32))
        for size in (1 << 30, 1000)
    ]
    assert np.abs(found[0] - found[1]).max() < 2e-3


def test_weighted_label_sets_are_refused_out_of_core_and_never_trained_by_blocks_in_memory(
    made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logreg, "BLOCK_VALUES", 100)
    y = [SETS[i % 4] for i in range(300)]
    weighted = {"label_separator": "|", "class_weight": "balanced"}
    with pytest.raises(BadParameter) as caught:
        fit_logreg(context_of(made, y, memory_bytes=1000, **weighted))
    assert str(caught.value) == "out of core, class weights are not supported for multi-label targets"
    assert fit_logreg(context_of(made, y, **weighted)).predictor.outputs == 3


def test_the_warning_of_training_out_of_core_gives_both_sizes(made: Any) -> None:
    tall = type(made)(X=np.zeros((300, 9000), np.float16), y=made.y, keys=made.keys, split=made.split)
    rows = (made.split.parts == TRAIN).sum()
    fitted = fit_logreg(context_of(tall, memory_bytes=5 << 20, params={"max_iter": 1}))
    assert fitted.out_of_core and fitted.warnings[0] == (
        f"{rows * 9000 * 4 >> 20} MiB of float32 features are more than the memory bound of 5 MiB: "
        "trained out of core, in blocks of rows"
    )
    exact = context_of(made, memory_bytes=int(rows) * 16 * 4)
    assert not fit_logreg(exact).out_of_core
    assert fit_logreg(context_of(made, memory_bytes=int(rows) * 16 * 4 - 1)).out_of_core


@pytest.mark.parametrize("memory_bytes", [1 << 30, 1000])
def test_the_warning_of_too_few_iterations_gives_the_next_command(made: Any, memory_bytes: int) -> None:
    fitted = fit_logreg(context_of(made, memory_bytes=memory_bytes, params={"max_iter": 3}))
    assert fitted.warnings[-1] == "stopped after 3 iterations, before it converged: --param max_iter=6"


def test_out_of_core_reports_a_percentage_that_only_grows(made: Any) -> None:
    called: list[tuple[int, int]] = []
    fit_logreg(context_of(made, memory_bytes=1000, check=lambda *counts: called.append(counts)))
    done = [count for count, _ in called]
    assert done == sorted(done) and len(set(done)) > 3 and done[-1] > 80 and {total for _, total in called} == {100}


def test_blocks_are_for_large_datasets_and_their_parameters(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    train = int((made.split.parts == TRAIN).sum())
    used: list[dict[str, Any]] = []

    def minimise(_objective: Any, at_share: Any, **options: Any) -> Any:
        used.append(options)
        return Solution(coefficients=np.zeros((4, 16)), intercepts=np.zeros(4), iterations=0)

    monkeypatch.setattr(logreg, "minimise", minimise)
    monkeypatch.setattr(logreg, "BLOCK_VALUES", train * 16)
    fit_logreg(context_of(made))
    assert used == []
    monkeypatch.setattr(logreg, "BLOCK_VALUES", train * 16 - 1)
    fit_logreg(context_of(made, params={"solver": "newton-cg"}))
    assert used == []
    fit_logreg(context_of(made))
    fit_logreg(context_of(made, params={"C": 2, "max_iter": 7, "scale": True, "tol": 0.1}))
    assert used == [{"max_iter": 1000, "tol": 1e-4}, {"max_iter": 7, "tol": 0.1}]


@pytest.mark.parametrize(("name", "value"), [("C", 0), ("tol", "small"), ("max_iter", -1), ("C", None), ("C", True)])
def test_values_that_no_regression_takes_are_refused_in_and_out_of_memory(made: Any, name: str, value: Any) -> None:
    with pytest.raises(BadParameter) as caught:
        fit_logreg(context_of(made, memory_bytes=1000, params={name: value}))
    assert str(caught.value) == f"logreg's {name} must be a number above 0, not {value!r}"
    if value is not True:  # scikit-learn takes it for 1
        with pytest.raises(BadParameter, match=f"^logreg does not take these parameters: .*'{name}'"):
            fit_logreg(context_of(made, params={name: value}))


def test_parameters_that_blocks_do_not_take_are_named_with_the_next_step(made: Any) -> None:
    with pytest.raises(BadParameter) as caught:
        fit_logreg(context_of(made, memory_bytes=1000, params={"solver": "saga", "l1_ratio": 0}))
    assert str(caught.value) == (
        "logreg out of core takes C, max_iter, scale, tol, not l1_ratio, solver\n"
        "  try: a larger memory bound, or without these parameters"
    )
