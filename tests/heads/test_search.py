from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from jdq.worker.heads.crossval import assign_folds, fold_rows
from jdq.worker.heads.errors import BadParameter, TooFewRows
from jdq.worker.heads.options import HeadOptions
from jdq.worker.heads.search import Trial, TrialScore, list_trials, rank, refit_best, score_trial
from jdq.worker.heads.split import TRAIN
from jdq.worker.heads.train import make_fit_context, train_head


def test_folds_are_even_stratified_and_keep_equal_texts_together() -> None:
    rng = np.random.default_rng(0)
    sizes = np.where(rng.random(500) < 0.2, rng.integers(2, 9, 500), 1)
    strata = np.sort(rng.integers(0, 5, 500))
    folds = assign_folds(sizes, strata, 5, np.random.default_rng(0))
    for stratum in range(5):
        rows = [int(sizes[(strata == stratum) & (folds == fold)].sum()) for fold in range(5)]
        assert max(rows) - min(rows) <= 5, rows


def test_every_train_row_is_held_out_once(made: Any) -> None:
    from jdq.worker.heads.labels import read_targets

    keys = made.keys.copy()
    keys[::2] = keys[0]  # half of the rows have one text
    context = make_fit_context(made.X, read_targets(made.y), made.split, HeadOptions(), keys, lambda *_: None)
    held_out = [rows for _, rows in fold_rows(context, keys, 4)]
    assert sorted(np.concatenate(held_out)) == made.split.rows(TRAIN).tolist()
    assert sum(bool((rows % 2 == 0).any()) for rows in held_out) == 1


def test_cross_validation_is_in_the_record(made: Any) -> None:
    record = train_head(made.X, made.y, made.split, HeadOptions(cv=3), keys=made.keys).record
    assert record.cv is not None and record.cv["folds"] == 3
    accuracy = record.cv["metrics"]["accuracy"]
    assert len(accuracy["folds"]) == 3 and accuracy["mean"] == pytest.approx(np.mean(accuracy["folds"]))


def test_too_many_folds_are_refused(made: Any) -> None:
    with pytest.raises(TooFewRows, match="cannot make 1000 folds"):
        train_head(made.X, made.y, made.split, HeadOptions(cv=1000))
    with pytest.raises(BadParameter, match="at least 2 folds"):
        train_head(made.X, made.y, made.split, HeadOptions(cv=1))


def test_the_grid_covers_every_head_and_leaves_slow_ones_out_of_large_datasets() -> None:
    small, large = list_trials(HeadOptions(), rows=1000), list_trials(HeadOptions(), rows=1_000_000)
    assert {trial.options.head for trial in small} >= {"logreg", "svm", "mlp", "knn", "hist-gbm", "random-forest"}
    assert {trial.options.head for trial in large} == {"dummy", "logreg", "linear-svm", "mlp"}
    assert [trial.number for trial in small] == list(range(len(small)))


def test_random_trials_are_drawn_by_the_seed() -> None:
    first, again, other = (list_trials(HeadOptions(seed=s), rows=1000, trials=100) for s in (1, 1, 2))
    assert first == again != other and len(first) == 100
    assert msgspec.json.decode(msgspec.json.encode(first), type=list[Trial]) == first


def test_a_search_finds_the_better_head_and_measures_it_on_the_test_part_once(made: Any) -> None:
    trials = list_trials(HeadOptions(), rows=210, heads=["dummy", "logreg"])
    scores = [score_trial(made.X, made.y, made.split, trial, keys=made.keys, folds=3) for trial in trials]
    best = refit_best(made.X, made.y, made.split, scores, keys=made.keys)
    assert best.record.head == "logreg" and best.record.metrics["accuracy"] > 0.8
    assert best.record.search is not None
    lines = best.record.search["trials"]
    assert len(lines) == len(trials) and lines[0]["score"] == max(line["score"] for line in lines)
    assert lines[-1]["head"] == "dummy"
    assert msgspec.json.decode(msgspec.json.encode(scores), type=list[TrialScore]) == scores


@pytest.mark.parametrize(("metric", "best"), [("log_loss", min), ("accuracy", max), ("roc_auc", max)])
def test_a_search_goes_by_the_metric_in_the_direction_in_which_it_is_good(made: Any, metric: str, best: Any) -> None:
    trials = list_trials(HeadOptions(), rows=210, heads=["dummy", "logreg"])
    scores = [score_trial(made.X, made.y, made.split, trial, keys=made.keys, folds=3) for trial in trials]
    record = refit_best(made.X, made.y, made.split, scores, metric=metric, keys=made.keys).record
    assert record.search is not None
    found = [trial["score"] for trial in record.search["trials"]]
    assert found == sorted(found, reverse=best is max)
    assert (found[0], record.head) == (best(found), "logreg")
    assert found[0] != found[-1]


def test_a_trial_without_the_metric_is_the_last_whatever_its_direction() -> None:
    trials = [
        TrialScore(number=number, options=HeadOptions(), folds=2, scores=scores)
        for number, scores in enumerate([{}, {"accuracy": 0.5, "log_loss": 9.0}, {"accuracy": 0.9, "log_loss": 1.0}])
    ]
    for metric in ("accuracy", "log_loss"):
        assert [score.number for score in rank(trials, metric=metric)] == [2, 1, 0]


def test_a_trial_that_does_not_fit_the_data_has_an_error_and_the_search_goes_on(made: Any) -> None:
    bad = Trial(number=0, options=HeadOptions(head="knn", params={"n_neighbors": 5000}))
    scores = [score_trial(made.X, made.y, made.split, bad, folds=2)]
    assert scores[0].error is not None and not scores[0].scores
    with pytest.raises(BadParameter, match="no trial of the search has a macro_f1"):
        refit_best(made.X, made.y, made.split, scores)
    good = score_trial(made.X, made.y, made.split, Trial(number=1, options=HeadOptions()), folds=2)
    assert [score.number for score in rank([*scores, good])] == [1, 0]
