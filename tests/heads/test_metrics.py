import json
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from jdq.worker.heads.metrics import Metrics, evaluate_codes, evaluate_sets, metrics_of

# A known table: 3 classes, worked out by hand.
#            predicted  cat dog fox
#  true cat              3   1   0
#  true dog              1   2   1
#  true fox              0   0   2
TRUE = ["cat"] * 4 + ["dog"] * 4 + ["fox"] * 2
PREDICTED = ["cat", "cat", "cat", "dog", "cat", "dog", "dog", "fox", "fox", "fox"]
CLASSES = ["cat", "dog", "fox"]


def certain(predicted: list[str], classes: list[str]) -> np.ndarray:
    return np.array([[0.9 if name == p else 0.1 / (len(classes) - 1) for name in classes] for p in predicted])


def evaluate(true: list[str], predicted: list[str], classes: list[str]) -> Metrics:
    codes = np.array([classes.index(name) for name in true])
    return evaluate_codes(codes, certain(predicted, classes), classes)


def test_the_known_table() -> None:
    found = evaluate(TRUE, PREDICTED, CLASSES)
    assert found["rows"] == 10
    assert found["accuracy"] == pytest.approx(7 / 10)
    cat, dog, fox = 3 / 4, 2 / 3, 2 / 3  # precisions
    assert found["precision"] == pytest.approx(0.4 * cat + 0.4 * dog + 0.2 * fox)
    assert found["macro_precision"] == pytest.approx((cat + dog + fox) / 3)
    assert found["recall"] == pytest.approx(0.4 * 3 / 4 + 0.4 * 2 / 4 + 0.2 * 1)
    assert found["macro_recall"] == pytest.approx((3 / 4 + 2 / 4 + 1) / 3)
    f1 = [3 / 4, 2 * (2 / 3 * 1 / 2) / (2 / 3 + 1 / 2), 2 * (2 / 3) / (2 / 3 + 1)]
    assert found["macro_f1"] == pytest.approx(sum(f1) / 3)
    assert found["f1"] == pytest.approx(0.4 * f1[0] + 0.4 * f1[1] + 0.2 * f1[2])
    assert [row["f1"] for row in found["per_class"]] == pytest.approx(f1)
    assert found["confusion"] == {"labels": CLASSES, "counts": [[3, 1, 0], [1, 2, 1], [0, 0, 2]]}


def test_the_four_metrics_are_four_different_numbers() -> None:
    found = evaluate(TRUE, PREDICTED, CLASSES)
    assert len({round(found[name], 6) for name in ("macro_precision", "macro_recall", "macro_f1", "accuracy")}) == 4


def test_binary_roc_auc_is_that_of_the_second_class() -> None:
    scores = np.array([0.1, 0.4, 0.35, 0.8])
    found = evaluate_codes(np.array([0, 0, 1, 1]), np.stack([1 - scores, scores], axis=1), ["0", "1"])
    assert found["roc_auc"] == 0.75


def test_multi_class_roc_auc_is_scikit_learns_one_against_the_rest() -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, 200)
    probabilities = rng.dirichlet(np.ones(3), 200)
    found = evaluate_codes(true, probabilities, CLASSES)
    assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(true, probabilities, multi_class="ovr"))
    assert found["log_loss"] == pytest.approx(sk.log_loss(true, probabilities))


def test_a_class_that_is_absent_is_said_and_leaves_the_other_numbers_alone() -> None:
    classes = [*CLASSES, "gnu"]
    found = evaluate(TRUE, PREDICTED, classes)
    without = evaluate(TRUE, PREDICTED, CLASSES)
    assert found["absent_classes"] == ["gnu"]
    assert any("1 of 4 classes do not occur" in note for note in found["notes"])
    assert found["macro_f1"] == without["macro_f1"] and found["balanced_accuracy"] == without["balanced_accuracy"]


def test_roc_auc_of_one_class_is_null_and_says_why() -> None:
    found = evaluate(["a", "a"], ["a", "b"], ["a", "b"])
    assert found["roc_auc"] is None
    assert "ROC AUC is not defined: these rows have one class only" in found["notes"]


def test_many_classes_list_the_confusions_that_happened() -> None:
    classes = [f"{i:03}" for i in range(150)]
    found = evaluate(["000", "149"], ["000", "007"], classes)
    assert found["confusion"]["cells"] == [[0, 0, 1], [149, 7, 1]]


def test_label_sets_are_measured_label_by_label() -> None:
    true = np.array([[1, 0], [1, 1], [0, 1], [0, 0]], dtype=bool)
    probabilities = np.array([[0.9, 0.2], [0.8, 0.3], [0.1, 0.7], [0.6, 0.1]])
    found = evaluate_sets(true, probabilities, ["x", "y"])
    assert found["accuracy"] == 0.5
    assert found["micro_f1"] == pytest.approx(sk.f1_score(true, probabilities >= 0.5, average="micro"))
    assert found["macro_f1"] == pytest.approx(sk.f1_score(true, probabilities >= 0.5, average="macro"))
    assert [row["support"] for row in found["per_class"]] == [2, 2]


def gap_of(sure: Any, right: Any) -> float:
    """The expected calibration error, bin by bin."""
    gaps = []
    for low in np.arange(10) / 10:
        within = (sure >= low) & ((sure < low + 0.1) | (low == 0.9))
        if within.any():
            gaps.append(within.mean() * abs(sure[within].mean() - right[within].mean()))
    return float(sum(gaps))


def test_thresholds_choose_the_sets_that_are_measured() -> None:
    true, probabilities = np.array([[True, False], [False, True]]), np.array([[0.3, 0.2], [0.1, 0.6]])
    assert metrics_of(true, probabilities, ["x", "y"])["accuracy"] == 0.5
    assert metrics_of(true, probabilities, ["x", "y"], (0.2, 0.6))["accuracy"] == 1


def test_every_metric_of_single_labels_is_scikit_learns() -> None:
    rng = np.random.default_rng(1)
    true, probabilities = rng.integers(0, 4, 60), rng.dirichlet(np.ones(4), 60).astype(np.float32)
    true[true == 2] = 1  # a class that does not occur
    classes, predicted = ["a", "b", "c", "d"], probabilities.argmax(axis=1)
    found = metrics_of(true, probabilities, classes)
    weighted = sk.precision_recall_fscore_support(true, predicted, average="weighted", zero_division=0)
    macro = sk.precision_recall_fscore_support(true, predicted, average="macro", zero_division=0)
    aucs = [sk.roc_auc_score(true == i, probabilities[:, i]) if i != 2 else None for i in range(4)]
    each = sk.precision_recall_fscore_support(true, predicted, labels=range(4), zero_division=0)
    assert found == {
        "rows": 60,
        "accuracy": pytest.approx(sk.accuracy_score(true, predicted)),
        "balanced_accuracy": pytest.approx(
            sk.recall_score(true, predicted, labels=[0, 1, 3], average="macro", zero_division=0)
        ),
        **dict(zip(("precision", "recall", "f1"), weighted[:3], strict=True)),
        **dict(zip(("macro_precision", "macro_recall", "macro_f1"), macro[:3], strict=True)),
        "roc_auc": pytest.approx(np.mean([auc for auc in aucs if auc is not None])),
        "log_loss": pytest.approx(-np.log(probabilities[np.arange(60), true]).mean(), rel=1e-6),
        "calibration_error": pytest.approx(gap_of(probabilities.max(axis=1), predicted == true)),
        "majority_share": np.bincount(true).max() / 60,
        "per_class": [
            {"label": name, "precision": p, "recall": r, "f1": f, "support": s, "roc_auc": auc}
            for name, p, r, f, s, auc in zip(classes, *each, aucs, strict=True)
        ],
        "confusion": {"labels": classes, "counts": sk.confusion_matrix(true, predicted).tolist()},
        "absent_classes": ["c"],
        "notes": ["ROC AUC is the mean over 3 of 4 classes", "1 of 4 classes do not occur in these rows: c"],
    }
    json.dumps(found, allow_nan=False)


def test_every_metric_of_label_sets_is_scikit_learns() -> None:
    rng = np.random.default_rng(2)
    true, probabilities = rng.random((50, 3)) < 0.4, rng.random((50, 3))
    true[:, 1] = False  # a label that does not occur
    classes, predicted = ["x", "y", "z"], probabilities >= 0.5
    found = metrics_of(true, probabilities, classes)
    averages = {
        average: sk.precision_recall_fscore_support(true, predicted, average=average, zero_division=0)[:3]
        for average in ("weighted", "macro", "micro")
    }
    aucs = [sk.roc_auc_score(true[:, i], probabilities[:, i]) if i != 1 else None for i in range(3)]
    each = sk.precision_recall_fscore_support(true, predicted, zero_division=0)
    assert found == {
        "rows": 50,
        "accuracy": sk.accuracy_score(true, predicted),
        "hamming_loss": sk.hamming_loss(true, predicted),
        **dict(zip(("precision", "recall", "f1"), averages["weighted"], strict=True)),
        **dict(zip(("macro_precision", "macro_recall", "macro_f1"), averages["macro"], strict=True)),
        **dict(zip(("micro_precision", "micro_recall", "micro_f1"), averages["micro"], strict=True)),
        "roc_auc": pytest.approx(np.mean([auc for auc in aucs if auc is not None])),
        "log_loss": pytest.approx(
            np.mean([sk.log_loss(true[:, i], probabilities[:, i], labels=[0, 1]) for i in range(3)])
        ),
        "calibration_error": pytest.approx(gap_of(probabilities.ravel(), true.ravel())),
        "without_label": pytest.approx((~predicted.any(axis=1)).mean()),
        "per_class": [
            {"label": name, "precision": p, "recall": r, "f1": f, "support": s, "roc_auc": auc}
            for name, p, r, f, s, auc in zip(classes, *each, aucs, strict=True)
        ],
        "absent_classes": ["y"],
        "notes": [
            "1 of 3 labels do not occur in these rows",
            f"{(~predicted.any(axis=1)).sum()} of 50 rows are predicted to have no label"
            f" ({(~true.any(axis=1)).sum()} truly have none)",
        ],
    }
    json.dumps(found, allow_nan=False)


def test_label_sets_of_which_every_label_occurs_have_no_note_and_of_none_no_roc_auc() -> None:
    probabilities = np.array([[0.9, 0.2], [0.4, 0.8]])
    assert evaluate_sets(np.eye(2, dtype=bool), probabilities, ["x", "y"])["notes"] == []
    assert evaluate_sets(np.zeros((2, 2), dtype=bool), probabilities, ["x", "y"])["roc_auc"] is None


def test_what_is_never_predicted_has_the_precision_0_without_a_warning() -> None:
    found = evaluate(["cat", "dog"], ["cat", "cat"], ["cat", "dog"])
    assert (found["per_class"][1]["precision"], found["macro_precision"], found["precision"]) == (0, 0.25, 0.25)
    found = evaluate(["cat", "cat"], ["cat", "fox"], CLASSES)
    assert (found["per_class"][2]["recall"], found["macro_recall"], found["balanced_accuracy"]) == (0, 0.25, 0.5)
    empty = np.zeros((2, 2), dtype=bool)
    sets = evaluate_sets(empty, np.zeros((2, 2)), ["x", "y"])
    assert [sets[f"micro_{name}"] for name in ("precision", "recall", "f1")] == [0, 0, 0]


def test_three_classes_of_which_one_occurs_have_no_roc_auc() -> None:
    found = evaluate(["cat", "cat"], ["cat", "dog"], CLASSES)
    assert found["roc_auc"] is None and [row["roc_auc"] for row in found["per_class"]] == [None] * 3
    assert found["notes"] == [
        "ROC AUC is not defined: these rows have one class only",
        "2 of 3 classes do not occur in these rows: dog, fox",
    ]


def test_both_classes_of_two_have_the_same_roc_auc() -> None:
    scores = np.array([0.1, 0.4, 0.35, 0.8])
    found = evaluate_codes(np.array([0, 0, 1, 1]), np.stack([1 - scores, scores], axis=1), ["0", "1"])
    assert [row["roc_auc"] for row in found["per_class"]] == [0.75, 0.75] and found["notes"] == []


def test_a_certain_mistake_has_a_large_but_finite_loss() -> None:
    found = evaluate_codes(np.array([0, 1]), np.array([[0.0, 1.0], [0.0, 1.0]], dtype=np.float32), ["a", "b"])
    assert found["log_loss"] == pytest.approx(-np.log(1e-15) / 2)


def test_a_hundred_classes_have_a_dense_matrix_and_one_more_a_list() -> None:
    for size, form in ((100, "counts"), (101, "cells")):
        classes = [f"{i:03}" for i in range(size)]
        found = evaluate(["000", "000", "099"], ["000", "000", "007"], classes)["confusion"]
        assert found.keys() == {"labels", form} and found["labels"] == classes
    assert found["cells"] == [[0, 0, 2], [99, 7, 1]]


def test_eight_absent_classes_are_named() -> None:
    classes = list("abcdefghijkl")
    notes = evaluate(["a", "b"], ["a", "b"], classes)["notes"]
    assert notes[1] == "10 of 12 classes do not occur in these rows: c, d, e, f, g, h, i, j"
