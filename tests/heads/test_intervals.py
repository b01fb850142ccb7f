"""Bootstrap intervals against the same resamples, measured one at a time by scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from jdq.worker.heads import intervals
from jdq.worker.heads.intervals import bootstrap, weighted_auc


def predictions(rows: int, classes: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(3)
    true = rng.integers(0, classes, rows)
    probabilities = rng.dirichlet(np.ones(classes), rows)
    probabilities[np.arange(rows), true] += 0.3
    return true, probabilities / probabilities.sum(axis=1, keepdims=True)


def one_at_a_time(true: Any, probabilities: Any, seed: int, resamples: int) -> dict[str, tuple[float, float]]:
    """The confusion matrix's cells are drawn first, then the rows' weights for ROC AUC, at least 100 times."""
    rng, classes = np.random.default_rng(seed), probabilities.shape[1]
    predicted, rows = probabilities.argmax(axis=1), len(true)
    cells, counts = np.unique(true * classes + predicted, return_counts=True)
    found: dict[str, list[float]] = {}
    for draw in rng.multinomial(rows, counts / rows, size=resamples):
        drawn_true, drawn = np.repeat(cells // classes, draw), np.repeat(cells % classes, draw)
        found.setdefault("accuracy", []).append(sk.accuracy_score(drawn_true, drawn))
        for average, prefix in (("weighted", ""), ("macro", "macro_")):
            values = sk.precision_recall_fscore_support(drawn_true, drawn, average=average, zero_division=0)
            for name, value in zip(("precision", "recall", "f1"), values, strict=False):
                found.setdefault(prefix + name, []).append(value)
    for weights in rng.multinomial(rows, np.full(rows, 1 / rows), size=max(100, resamples)):
        aucs = [
            sk.roc_auc_score(true == c, probabilities[:, c], sample_weight=weights)
            for c in ([1] if classes == 2 else np.unique(true))
            if 0 < weights[true == c].sum() < rows
        ]
        found.setdefault("roc_auc", []).append(float(np.mean(aucs)))
    return {name: tuple(np.quantile(values, [0.025, 0.975])) for name, values in found.items()}


@pytest.mark.parametrize(("rows", "classes", "seed"), [(30, 2, 0), (24, 4, 7)])
def test_each_interval_is_that_of_the_same_resamples_measured_by_scikit_learn(
    rows: int, classes: int, seed: int
) -> None:
    true, probabilities = predictions(rows, classes)
    expected = one_at_a_time(true, probabilities, seed, 30)
    found = bootstrap(true, probabilities, seed=seed, resamples=30)
    assert found.keys() == expected.keys()
    for name in expected:
        assert found[name] == pytest.approx(expected[name]), name


def test_a_rare_class_is_left_out_of_the_auc_of_the_resamples_without_it() -> None:
    true = np.array([0] * 9 + [1] * 9 + [2])
    probabilities = predictions(19, 3)[1]
    assert bootstrap(true, probabilities, resamples=30) == {
        name: pytest.approx(value) for name, value in one_at_a_time(true, probabilities, 0, 30).items()
    }


def test_the_default_is_a_thousand_resamples_by_the_seed_0() -> None:
    true, probabilities = predictions(40, 3)
    assert bootstrap(true, probabilities) == bootstrap(true, probabilities, seed=0, resamples=1000)
    assert bootstrap(true, probabilities) != bootstrap(true, probabilities, seed=1)


def test_one_class_has_no_interval_of_its_roc_auc() -> None:
    found = bootstrap(np.zeros(10, dtype=np.int64), predictions(10, 3)[1])
    assert "roc_auc" not in found and "accuracy" in found


def test_resamples_of_ranks_are_fewer_in_large_test_parts_but_at_least_a_hundred(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    true, probabilities = predictions(60, 3)

    def draws(resamples: int) -> int:
        return len(intervals._auc_draws(true, probabilities, np.random.default_rng(0), resamples))

    assert draws(1000) == 1000
    monkeypatch.setattr(intervals, "AUC_BUDGET", 60 * 3 * 250)
    assert draws(1000) == 250 and draws(200) == 200
    monkeypatch.setattr(intervals, "AUC_BUDGET", 1)
    assert draws(1000) == 100


@pytest.mark.parametrize("at_once", [1, 60 * 7 + 5, 60 * 100])
def test_the_memory_of_the_draws_does_not_change_them(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    true, probabilities = predictions(60, 3)
    expected = bootstrap(true, probabilities, resamples=100)
    largest = []

    def watched(positive: Any, scores: Any, weights: Any) -> Any:
        largest.append(weights.size)
        return weighted_auc(positive, scores, weights)

    monkeypatch.setattr(intervals, "DRAWS_AT_ONCE", at_once)
    monkeypatch.setattr(intervals, "weighted_auc", watched)
    assert bootstrap(true, probabilities, resamples=100) == expected
    assert max(largest) == max(60, at_once // 60 * 60)


def test_the_auc_of_one_side_only_is_not_a_number() -> None:
    positive, scores = np.array([True, True, False]), np.array([0.2, 0.8, 0.5])
    found = weighted_auc(positive, scores, np.array([[1.0, 1, 0], [0, 0, 1], [1, 1, 1]]))
    assert np.isnan(found[:2]).all() and found[2] == 0.5
