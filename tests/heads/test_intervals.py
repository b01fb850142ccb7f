"""Intervals against their definitions, scikit-learn, and the truth of simulated test parts."""

from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from jdq.worker.heads import intervals
from jdq.worker.heads.decision import predicted_sets
from jdq.worker.heads.intervals import auc_influence, bootstrap, jackknife, share_interval, wilson
from jdq.worker.heads.metrics import metrics_of
from tests.heads.split_keys import keys_of


def predictions(rows: int, classes: int, seed: int = 3) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    true = rng.integers(0, classes, rows)
    probabilities = rng.dirichlet(np.ones(classes), rows)
    probabilities[np.arange(rows), true] += 0.3
    return true, probabilities / probabilities.sum(axis=1, keepdims=True)


def scores_of(true: Any, predicted: Any, *, sets: bool) -> dict[str, float]:
    scores = {"accuracy": float(sk.accuracy_score(true, predicted))}
    for average, prefix in [("weighted", ""), ("macro", "macro_"), *([("micro", "micro_")] if sets else [])]:
        values = sk.precision_recall_fscore_support(true, predicted, average=average, zero_division=0)
        scores |= {prefix + name: value for name, value in zip(("precision", "recall", "f1"), values, strict=False)}
    return scores


def one_at_a_time(
    true: Any, predicted: Any, texts: Any, resamples: int, *, sets: bool
) -> dict[str, tuple[float, float]]:
    """Draws of texts and then of as many rows as they are worth, each measured by scikit-learn."""
    rng, n_texts, rows = np.random.default_rng(0), len(set(texts.tolist())), len(true)
    sizes = np.bincount(texts)
    effective = rows**2 / (sizes**2).sum()
    spreads = []
    for drawn, of_draw in ((n_texts, texts), (round(effective), np.arange(rows))):
        units = of_draw.max() + 1
        found: dict[str, list[float]] = {}
        for weights in rng.multinomial(drawn, np.full(units, 1 / units), size=resamples):
            chosen = np.repeat(np.arange(rows), weights[of_draw])
            for name, value in scores_of(true[chosen], predicted[chosen], sets=sets).items():
                found.setdefault(name, []).append(value)
        spreads.append({name: np.std(values) * np.sqrt(drawn / (drawn - 1)) for name, values in found.items()})
    return {
        name: wilson(value, max(spread[name] for spread in spreads), effective)
        for name, value in scores_of(true, predicted, sets=sets).items()
    }


@pytest.mark.parametrize("sets", [False, True])
def test_each_resample_is_measured_as_scikit_learn_does(sets: bool) -> None:
    rng = np.random.default_rng(0)
    true, probabilities = predictions(30, 4)
    predicted, thresholds = probabilities.argmax(axis=1), (0.1, 0.3, 0.2, 0.4)
    if sets:
        true, predicted = rng.random((30, 4)) < 0.4, predicted_sets(probabilities, thresholds)
    counts, measured = (
        intervals._sets(true, probabilities, thresholds) if sets else intervals._single(true, probabilities)
    )
    draws = rng.multinomial(30, np.full(30, 1 / 30), size=20)
    found = measured(draws @ counts)
    for draw, weights in enumerate(draws):
        chosen = np.repeat(np.arange(30), weights)
        expected = scores_of(true[chosen], predicted[chosen], sets=sets)
        assert {name: values[draw] for name, values in found.items()} == pytest.approx(expected)


def test_each_interval_is_that_of_resamples_measured_by_scikit_learn() -> None:
    texts = np.array([0, 0, 0, 1, 1, *range(2, 27)])
    true, probabilities = predictions(30, 4)
    expected = one_at_a_time(true, probabilities.argmax(axis=1), texts, 150, sets=False)
    found = bootstrap(true, probabilities, keys=keys_of(texts.tolist()))
    assert found.keys() - expected.keys() == {"roc_auc"}
    for name in expected:
        assert found[name] == pytest.approx(expected[name], abs=0.02), name


def test_label_sets_have_intervals_by_their_thresholds() -> None:
    rng = np.random.default_rng(0)
    texts, true, probabilities = np.array([0, 0, *range(1, 29)]), rng.random((30, 3)) < 0.4, rng.random((30, 3))
    thresholds = (0.3, 0.5, 0.7)
    expected = one_at_a_time(true, predicted_sets(probabilities, thresholds), texts, 150, sets=True)
    found = bootstrap(true, probabilities, keys=keys_of(texts.tolist()), thresholds=thresholds)
    assert found.keys() - expected.keys() == {"roc_auc"}
    for name in expected:
        assert found[name] == pytest.approx(expected[name], abs=0.02), name
    assert found != bootstrap(true, probabilities, keys=keys_of(texts.tolist()))


def test_without_repeats_keys_change_nothing_and_with_them_intervals_are_wider() -> None:
    true, probabilities = predictions(60, 3)
    assert bootstrap(true, probabilities) == bootstrap(true, probabilities, keys=keys_of(list(range(60))))
    repeated = np.repeat(np.arange(60), 6)
    by_row = bootstrap(true[repeated], probabilities[repeated])
    by_text = bootstrap(true[repeated], probabilities[repeated], keys=keys_of(repeated.tolist()))
    for name, (low, high) in by_text.items():
        assert high - low > 1.8 * (by_row[name][1] - by_row[name][0]), name
        assert (low, high) == pytest.approx(bootstrap(true, probabilities)[name], abs=0.05), name


def test_the_default_is_a_thousand_resamples_by_the_seed_0() -> None:
    true, probabilities = predictions(40, 3)
    assert bootstrap(true, probabilities) == bootstrap(true, probabilities, seed=0, resamples=1000)
    assert bootstrap(true, probabilities) != bootstrap(true, probabilities, seed=1)


def test_one_class_has_no_interval_of_its_roc_auc() -> None:
    found = bootstrap(np.zeros(10, dtype=np.int64), predictions(10, 3)[1])
    assert "roc_auc" not in found and "accuracy" in found


def test_large_test_parts_get_fewer_resamples_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    true, probabilities = predictions(60, 3)
    counts, measured = intervals._single(true, probabilities)
    distinct = counts.shape[1]  # rows of one cell are drawn together
    sizes: list[int] = []

    def watched(draws: Any) -> dict[str, Any]:
        sizes.append(len(draws))
        return measured(draws)

    def spread(resamples: int = 1000) -> dict[str, float]:
        sizes.clear()
        return intervals._spread(counts, 60, watched, np.random.default_rng(0), resamples)

    expected = spread()
    assert sizes == [1000]
    monkeypatch.setattr(intervals, "DRAWS_PER_BLOCK", distinct * 300)
    assert spread() == expected and sizes == [300, 300, 300, 100]
    monkeypatch.setattr(intervals, "DRAWS", distinct * 250)
    assert spread() and sum(sizes) == 250
    monkeypatch.setattr(intervals, "DRAWS", 1)
    assert spread() and sum(sizes) == 200
    assert spread(30) and sum(sizes) == 30


def test_wilsons_interval_of_a_share() -> None:
    """150 of 200, and all of 50, as in the tables of Brown, Cai and DasGupta (2001)."""
    assert wilson(0.75, float(np.sqrt(0.75 * 0.25 / 200)), 1) == pytest.approx((0.6857, 0.8049), abs=1e-4)
    assert wilson(1.0, 0.0, 50) == pytest.approx((0.9287, 1.0), abs=1e-4)
    assert wilson(0.0, 0.0, 50) == pytest.approx((0.0, 0.0713), abs=1e-4)
    assert wilson(0.5, 0.0, 0.1)[0] >= 0
    wider, narrower = wilson(0.75, 0.03, 1, z=3.0), wilson(0.75, 0.03, 1)
    assert wider[0] < narrower[0] < narrower[1] < wider[1]


def test_a_shares_interval_is_that_of_an_accuracy_but_for_the_draws() -> None:
    rng = np.random.default_rng(0)
    text_of = np.repeat(np.arange(60), rng.integers(1, 6, 60))
    right = (rng.random(60) < 0.8)[text_of]
    probabilities = np.stack([right, ~right], axis=1).astype(np.float32)
    drawn = bootstrap(np.zeros(len(right), dtype=np.intp), probabilities, keys=keys_of(text_of.tolist()))["accuracy"]
    assert share_interval(right, text_of) == pytest.approx(drawn, abs=0.01)
    assert share_interval(right, 7 * text_of) == share_interval(right, text_of)  # numbers may be left out
    assert share_interval(np.ones(50), np.arange(50)) == wilson(1.0, 0.0, 50)


def test_a_roc_aucs_spread_is_delongs() -> None:
    """Against the definition, pair by pair, with ties."""
    rng = np.random.default_rng(0)
    positive, scores = rng.random(80) < 0.3, rng.integers(0, 20, 80) / 20
    kernel = (scores[positive][:, None] > scores[~positive]) + 0.5 * (scores[positive][:, None] == scores[~positive])
    auc, influence = auc_influence(positive, scores)
    assert auc == pytest.approx(sk.roc_auc_score(positive, scores)) == pytest.approx(kernel.mean())
    assert influence[positive] == pytest.approx((kernel.mean(axis=1) - auc) / positive.sum())
    assert influence[~positive] == pytest.approx((kernel.mean(axis=0) - auc) / (~positive).sum())


def test_the_roc_auc_of_texts_is_less_certain_than_that_of_their_rows() -> None:
    true, probabilities = predictions(60, 2)
    repeated = np.repeat(np.arange(60), 5)
    once = bootstrap(true, probabilities)["roc_auc"]
    by_text = bootstrap(true[repeated], probabilities[repeated], keys=keys_of(repeated.tolist()))["roc_auc"]
    assert by_text == pytest.approx(once, abs=0.01)
    perfect = bootstrap(true, np.eye(2)[true])["roc_auc"]
    assert perfect[0] < 0.95 and perfect[1] == 1.0
    assert bootstrap(true, np.full((60, 2), 0.5))["roc_auc"] == (0.5, 0.5)


@pytest.mark.parametrize(
    ("texts", "largest", "classes", "accuracy"), [(32, 12, 4, 0.87), (32, 30, 2, 0.87), (100, 1, 3, 0.8)]
)
def test_95_of_100_intervals_hold_the_truth(texts: int, largest: int, classes: int, accuracy: float) -> None:
    """Of 250 simulated test parts; the chance of fewer than 0.91 is below 1 % where the coverage is 0.95."""
    rng, held = np.random.default_rng(1), {"accuracy": 0, "macro_f1": 0, "f1": 0}
    for _ in range(250):
        sizes = rng.integers(1, largest + 1, texts)
        true = rng.integers(0, classes, texts)
        wrong = rng.random(texts) > accuracy
        predicted = np.where(wrong, (true + rng.integers(1, classes, texts)) % classes, true)
        of_row = np.repeat(np.arange(texts), sizes)
        found = bootstrap(
            true[of_row], np.eye(classes)[predicted][of_row], keys=keys_of(of_row.tolist()), resamples=100
        )
        for name in held:  # the classes are equally frequent and equally easy
            held[name] += found[name][0] <= accuracy <= found[name][1]
    assert all(0.91 <= count / 250 <= 0.99 for count in held.values()), held


def test_95_of_100_intervals_hold_a_roc_auc_with_20_of_100_rows_positive() -> None:
    rng, held, truth = np.random.default_rng(2), 0, 0.92135  # the normal distribution at 2 / sqrt(2)
    for _ in range(300):
        positive = rng.permutation(100) < 20
        scores = 1 / (1 + np.exp(-rng.normal(size=100) - 2 * positive))
        low, high = bootstrap(positive.astype(int), np.stack([1 - scores, scores], axis=1), resamples=2)["roc_auc"]
        held += low <= truth <= high
    assert 0.91 <= held / 300 <= 0.98, held / 300


@pytest.mark.parametrize("metric", ["macro_f1", "accuracy", "log_loss", "roc_auc"])
@pytest.mark.parametrize("sets", [False, True])
def test_the_jackknife_measures_without_each_tenth_of_the_texts(metric: str, sets: bool) -> None:
    texts = np.array([0, 0, 0, 1, 1, *range(2, 27)])
    true, probabilities = predictions(30, 4)
    if sets:
        true = np.eye(4, dtype=np.bool_)[true]
    found = jackknife(metric, true, probabilities, "abcd", keys_of(texts.tolist()))
    kept = [texts % 10 != tenth for tenth in range(10)]
    expected = [metrics_of(true[rows], probabilities[rows], "abcd")[metric] for rows in kept]
    assert found == pytest.approx(expected)


def test_the_jackknife_needs_two_texts_and_a_metric_that_is_defined_without_some() -> None:
    true, probabilities = np.array([0, 1, 1]), predictions(3, 2)[1]
    assert jackknife("macro_f1", true, probabilities, "ab", keys_of([5, 5, 5])) == []
    assert len(jackknife("macro_f1", true, probabilities, "ab", keys_of([5, 6, 6]))) == 2
    assert jackknife("roc_auc", true, probabilities, "ab", keys_of([5, 6, 7])) == []
