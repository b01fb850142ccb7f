"""The default head, against scikit-learn's regression and a cross-validation written out here."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, log_softmax
from sklearn.linear_model import LogisticRegression

from jdq.worker.heads import auto
from jdq.worker.heads.auto import fit_auto, scaling_of, with_validation
from jdq.worker.heads.choice_folds import ChoiceFolds
from jdq.worker.heads.errors import BadParameter
from jdq.worker.heads.fitted import row_keys
from jdq.worker.heads.fitting import as_learnt
from jdq.worker.heads.folds import fold_rows
from jdq.worker.heads.labels import read_targets
from jdq.worker.heads.options import HeadOptions
from jdq.worker.heads.regularization_path import PATH, Point, risen
from jdq.worker.heads.softmax_regression import Progress
from jdq.worker.heads.split import TEST, TRAIN, VALIDATION, Split
from jdq.worker.heads.temperature import best_temperature
from jdq.worker.heads.train import make_fit_context, train_head


def context_of(made: Any, y: Any = None, check: Any = lambda *_: None, split: Any = None, **options: Any) -> Any:
    chosen = HeadOptions(head="auto", **options)
    targets = read_targets(made.y if y is None else y, label_separator=chosen.label_separator)
    return make_fit_context(made.X, targets, split or made.split, chosen, made.keys, check)


def fitted_of(context: Any) -> Any:
    return fit_auto(context)


def split_of(parts: Any) -> Split:
    return Split(
        parts=np.asarray(parts, dtype=np.uint8), seed=0, test=0.2, validation=0.1, distinct_texts=1, warnings=()
    )


def scaled(made: Any, rows: Any, scaling: str) -> Any:
    X = made.X.astype(np.float64)
    centred = X - X[rows].mean(axis=0)
    std = X[rows].std(axis=0)
    return centred / (std if scaling == "columns" else np.sqrt(np.mean(std**2)))


@pytest.mark.parametrize("class_weight", [None, "balanced"])
@pytest.mark.parametrize("scaling", ["common", "columns"])
@pytest.mark.parametrize("kind", ["made", "binary"])
def test_it_is_scikit_learns_regression_of_scaled_features_divided_by_the_temperature(
    kind: str, scaling: str, class_weight: str | None, request: pytest.FixtureRequest
) -> None:
    made = request.getfixturevalue(kind)
    fitted = fitted_of(context_of(made, params={"C": 0.03, "scaling": scaling}, class_weight=class_weight))
    rows = np.flatnonzero(made.split.parts != TEST)
    X = scaled(made, rows, scaling)
    model = LogisticRegression(C=0.03, tol=1e-6, max_iter=1000, class_weight=class_weight)
    log_probabilities = model.fit(X[rows], made.y[rows].astype(str)).predict_log_proba(X)
    expected = log_softmax(log_probabilities / fitted.calibration["temperature"], axis=1)
    found = np.log(fitted.predictor.predict_block(made.X.astype(np.float32)))
    assert np.abs(found - expected).max() < 0.02
    assert fitted.params == {"C": 0.03, "scaling": scaling, "max_iter": 1000}
    assert fitted.choice["why"] == f"requested; calibrated by 5-fold cross-validation over {len(rows):,} rows"


def test_c_and_temperature_are_those_of_the_least_calibrated_loss_over_the_folds(made: Any) -> None:
    fitted = fitted_of(context_of(made))
    context = with_validation(context_of(made))
    X, losses = scaled(made, context.train, "common"), {}
    path = [point["C"] for point in fitted.choice["path"]]
    for C in path:
        scores = np.zeros((300, 4))
        for train, held_out in fold_rows(context, made.keys, 5):
            model = LogisticRegression(C=C, tol=1e-6, max_iter=1000).fit(X[train], context.targets.codes[train])
            scores[held_out] = model.decision_function(X[held_out])
        codes = context.targets.codes[context.train]
        temperature = best_temperature(scores[context.train], codes, "softmax")
        picked = log_softmax(scores[context.train] / temperature, axis=1)[np.arange(len(codes)), codes]
        losses[C] = (-float(picked.mean()), temperature, float((scores[context.train].argmax(axis=1) == codes).mean()))
    best = min(losses, key=lambda C: losses[C][0])
    assert fitted.params["C"] == best == fitted.choice["C"]
    assert fitted.calibration["temperature"] == pytest.approx(losses[best][1], rel=0.02)
    assert fitted.calibration["log_loss_after"] == pytest.approx(losses[best][0], rel=0.01)
    assert fitted.calibration["log_loss_before"] > fitted.calibration["log_loss_after"]
    for point in fitted.choice["path"]:
        assert point["log_loss"] == pytest.approx(losses[point["C"]][0], rel=0.02)
        assert point["accuracy"] == pytest.approx(losses[point["C"]][2], abs=0.01)
    assert path == list(PATH[: len(path)]) and path.index(best) == len(path) - 3
    assert fitted.choice["why"] == f"the lowest log loss in 5-fold cross-validation over {len(context.train):,} rows"


def test_the_path_ends_after_two_losses_above_the_least() -> None:
    def points(*losses: float) -> list[Point]:
        return [Point(C=1, log_loss=loss, accuracy=0, scores=np.zeros((0, 2), np.float32)) for loss in losses]

    assert risen(points(3, 2, 2.1, 2.2)) and risen(points(1, 2, 3))
    assert not risen(points(3, 2, 2.1)) and not risen(points(3, 2.5, 2.6, 2)) and not risen(points(1))


def test_validation_rows_are_learnt_and_not_measured(made: Any) -> None:
    record: Any = train_head(made.X, made.y, made.split, HeadOptions(head="auto"), keys=made.keys).record
    counts = made.split.counts()
    assert record.trained_rows == counts["train"] + counts["validation"] == record.choice["rows"]
    assert record.validation_metrics is None and record.metrics["rows"] == counts["test"]
    assert record.calibration["method"] == "temperature" and record.metrics["accuracy"] > 0.8
    assert train_head(made.X, made.y, made.split).record.choice is None


def test_few_shot_training_keeps_to_its_texts(made: Any) -> None:
    record = train_head(made.X, made.y, made.split, HeadOptions(head="auto", per_class=6), keys=made.keys).record
    assert record.trained_rows == 24 and record.validation_metrics is None


def test_other_heads_learn_their_train_rows_only(made: Any) -> None:
    context = context_of(made)
    assert len(as_learnt(context).train) == (made.split.parts != TEST).sum() and not len(as_learnt(context).validation)
    plain = dataclasses.replace(context, options=HeadOptions())
    assert as_learnt(plain) is plain


@pytest.mark.parametrize("memory_bytes", [1 << 30, 1000])
def test_out_of_core_gives_the_same_head_and_says_so(made: Any, memory_bytes: int) -> None:
    fitted = fitted_of(context_of(made, memory_bytes=memory_bytes))
    inside = fitted_of(context_of(made))
    X = made.X.astype(np.float32)
    assert np.abs(fitted.predictor.predict_block(X) - inside.predictor.predict_block(X)).max() < 1e-3
    assert fitted.out_of_core == (memory_bytes == 1000) == any("out of core" in words for words in fitted.warnings)


def test_each_label_of_a_set_is_a_regression_of_its_own(made: Any) -> None:
    y = [["x|y", "x", "", "y"][int(name[-1])] for name in made.y]
    chosen = HeadOptions(head="auto", label_separator="|", params={"C": 0.1})
    record = train_head(made.X, y, made.split, chosen, keys=made.keys).record
    fitted = fitted_of(context_of(made, y, label_separator="|", params={"C": 0.1}))
    # Chosen by cross-fitted probabilities: the validation rows were learnt.
    assert record.thresholds == fitted.thresholds and len(fitted.thresholds) == 2
    assert all(0.05 < threshold < 0.95 for threshold in fitted.thresholds)
    rows = np.flatnonzero(made.split.parts != TEST)
    X = scaled(made, rows, "common")
    for column, name in enumerate("xy"):
        labels = np.array([name in cell for cell in y])
        model = LogisticRegression(C=0.1, tol=1e-6).fit(X[rows], labels[rows])
        expected = expit(model.decision_function(X) / fitted.calibration["temperature"])
        assert np.abs(fitted.predictor.predict_block(made.X.astype(np.float32))[:, column] - expected).max() < 0.01


def test_a_class_without_train_rows_is_never_predicted_and_one_of_a_single_text_does_no_harm(made: Any) -> None:
    y, parts = made.y.copy(), made.split.parts.copy()
    y[parts == TEST] = np.where(np.arange((parts == TEST).sum()) % 2, "only here", y[parts == TEST])
    y[np.flatnonzero(parts == TRAIN)[0]] = "single"
    fitted = fitted_of(context_of(made, y, split=split_of(parts)))
    probabilities = fitted.predictor.predict_block(made.X.astype(np.float32))
    classes = sorted(set(y))
    assert probabilities[:, classes.index("only here")].max() == 0
    assert 0 < probabilities[:, classes.index("single")].max() < 1


@pytest.mark.parametrize(("params", "C"), [({}, 0.1), ({"C": 2.0}, 2.0)])
def test_two_texts_are_enough(made: Any, params: dict[str, Any], C: float) -> None:
    parts = np.full(300, TEST)
    rows = [np.flatnonzero(made.y == "class 0")[0], np.flatnonzero(made.y == "class 1")[0]]
    parts[rows] = TRAIN
    fitted = fitted_of(context_of(made, split=split_of(parts), params=params))
    assert fitted.calibration == {"method": "none", "reason": "too few texts for cross-validation"}
    assert (fitted.params["C"], fitted.choice["why"]) == (C, "too few texts for cross-validation")
    assert fitted.predictor.predict_block(made.X[rows].astype(np.float32)).argmax(axis=1).tolist() == [0, 1]


def test_equal_texts_are_in_one_fold(made: Any) -> None:
    """A row that is in the folds five times would be known to all of them otherwise: its loss would be too small."""
    keys = row_keys(300)
    copies = np.repeat(np.arange(60), 5)
    tall = type(made)(X=made.X[copies], y=made.y[copies], keys=keys[copies], split=split_of(np.zeros(300)))
    known = choose_loss(tall)
    assert known > choose_loss(dataclasses.replace(tall, keys=keys)) + 0.1


def choose_loss(made: Any) -> Any:
    return min(float(point["log_loss"]) for point in fitted_of(context_of(made)).choice["path"])


def test_uneven_columns_are_scaled_one_by_one() -> None:
    assert scaling_of(np.ones(10)) == "common"
    assert scaling_of(np.array([1.0] * 5 + [0.0] * 5)) == "common"
    assert scaling_of(np.array([100.0] + [1.0] * 9)) == "columns"


def test_a_column_that_never_changes_is_no_scale(made: Any) -> None:
    X = np.hstack([made.X * np.float16(1 / 64), np.full((300, 1), 3, np.float16)])
    tall = dataclasses.replace(made, X=X)
    fitted = fitted_of(context_of(tall))
    assert fitted.params["scaling"] == "common"
    pairs = zip(fitted.choice["path"], fitted_of(context_of(made)).choice["path"], strict=False)
    assert all(one["log_loss"] == pytest.approx(other["log_loss"], abs=0.05) for one, other in pairs)


def test_many_rows_choose_on_some_of_them(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto, "CHOICE_VALUES", 16)
    monkeypatch.setattr(auto, "LEAST_CHOICE_ROWS", 100)
    fitted = fitted_of(context_of(made))
    assert fitted.choice["rows"] == fitted.calibration["rows"] == 100
    assert len(fitted.trained_rows) == (made.split.parts != TEST).sum()


def test_the_percentage_only_grows_and_checks_may_stop_the_work(made: Any) -> None:
    called: list[tuple[int, int]] = []
    fitted_of(context_of(made, check=lambda *counts: called.append(counts)))
    done = [count for count, _ in called]
    assert done == sorted(done) and {total for _, total in called} == {100}
    assert done[0] == 0 and 50 in done and done[-1] > 80

    progress = Progress(lambda *counts: called.append(counts), first=20, last=60)
    progress.at_share(0.5)
    progress.at_share(0.25)
    progress.at_block()
    assert called[-1] == (40, 100)


def test_stopping_before_convergence_is_said(made: Any) -> None:
    fitted = fitted_of(context_of(made, params={"max_iter": 2}))
    assert fitted.warnings == ("stopped after 2 iterations, before it converged: --param max_iter=4",)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"c": 1}, "auto has no parameter c; it has: C, scaling, max_iter"),
        ({"C": -1}, "auto's C must be a number above 0, not -1"),
        ({"max_iter": 0}, "auto's max_iter must be a number above 0, not 0"),
        ({"scaling": "wide"}, "auto's scaling must be common or columns, not 'wide'"),
    ],
)
def test_wrong_parameters_are_named(made: Any, params: dict[str, Any], message: str) -> None:
    with pytest.raises(BadParameter) as caught:
        fitted_of(context_of(made, params=params))
    assert str(caught.value) == message


def test_choosing_needs_no_validation_part(made: Any) -> None:
    parts = np.where(made.split.parts == VALIDATION, TRAIN, made.split.parts)
    assert fitted_of(context_of(made, split=split_of(parts))).choice["folds"] == 5


def test_rows_count_in_the_choice_as_in_training(made: Any) -> None:
    """A class of few rows has as much of the loss as the others."""
    rare = np.where((made.y == "class 0") & (np.arange(len(made.y)) % 4 > 0), "class 1", made.y).astype(object)
    options = HeadOptions(head="linear", class_weight="balanced")
    found = train_head(made.X, rare, made.split, options, keys=made.keys).record.choice
    plain = train_head(made.X, rare, made.split, HeadOptions(head="linear"), keys=made.keys).record.choice
    assert found is not None and plain is not None
    context = with_validation(
        make_fit_context(made.X, read_targets(rare), made.split, options, made.keys, lambda *_: None)
    )
    folds = ChoiceFolds(context, context.train)
    assert folds.weights is not None and plain["path"][0]["log_loss"] != found["path"][0]["log_loss"]
    by_class = np.bincount(folds.codes, weights=folds.weights)
    assert by_class == pytest.approx(np.full(4, by_class.mean()))
