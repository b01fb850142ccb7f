from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from jdq.worker.heads.metrics import Metrics, evaluate_codes, evaluate_sets

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
