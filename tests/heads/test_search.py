from typing import Any

import msgspec
import numpy as np
import pytest

from jdq.worker.heads.crossval import cross_validate
from jdq.worker.heads.errors import BadParameter, UnknownHead
from jdq.worker.heads.labels import read_targets
from jdq.worker.heads.options import METRICS, HeadOptions
from jdq.worker.heads.record import Origin
from jdq.worker.heads.search import (
    Trial,
    TrialScore,
    best_of,
    list_trials,
    rank,
    refit_best,
    score_trial,
    standard_errors,
)
from jdq.worker.heads.train import make_fit_context


def test_an_allowed_classifier_is_one_trial_and_can_be_the_best(made: Any) -> None:
    name = "sklearn.naive_bayes.GaussianNB"
    with pytest.raises(UnknownHead, match="not allowed"):
        list_trials(HeadOptions(), rows=210, heads=[name])
    for count in (None, 3):
        trials = list_trials(HeadOptions(), rows=210, trials=count, heads=["dummy", name], allowed=[name])
        assert [(t.options.head, t.options.params) for t in trials if t.options.head == name] == [(name, {})]
    scores = [score_trial(made.X, made.y, made.split, trial, keys=made.keys, folds=2) for trial in trials]
    best = refit_best(made.X, made.y, made.split, scores, keys=made.keys, allowed=[name])
    assert best.record.head == name and best.record.metrics["accuracy"] > 0.6


def test_every_metric_of_a_search_is_scored(made: Any) -> None:
    trial = Trial(number=0, options=HeadOptions(head="dummy"))
    assert set(score_trial(made.X, made.y, made.split, trial, folds=2).scores) == {
        name for name in METRICS if name != "hamming_loss" and not name.startswith("micro_")
    }


@pytest.fixture(scope="module")
def scores(made: Any) -> list[TrialScore]:
    """Those of the grid's trials of a head that learns nothing and of one that does."""
    trials = list_trials(HeadOptions(), rows=210, heads=["dummy", "logreg"])
    return [score_trial(made.X, made.y, made.split, trial, keys=made.keys, folds=3) for trial in trials]


def test_a_search_finds_the_better_head_and_measures_it_on_the_test_part_once(
    made: Any, scores: list[TrialScore]
) -> None:
    best = refit_best(made.X, made.y, made.split, scores, keys=made.keys)
    assert best.record.head == "logreg" and best.record.metrics["accuracy"] > 0.8
    assert best.record.search is not None
    lines = best.record.search["trials"]
    assert len(lines) == len(scores) and lines[0]["score"] > 0.8
    assert lines[-1]["head"] == "dummy"
    assert msgspec.json.decode(msgspec.json.encode(scores), type=list[TrialScore]) == scores


@pytest.mark.parametrize(("metric", "best"), [("log_loss", min), ("accuracy", max), ("roc_auc", max)])
def test_a_search_goes_by_the_metric_in_the_direction_in_which_it_is_good(
    made: Any, scores: list[TrialScore], metric: str, best: Any
) -> None:
    record = refit_best(made.X, made.y, made.split, scores, metric=metric, keys=made.keys).record
    assert record.search is not None
    found = [trial["score"] for trial in record.search["trials"]]
    assert found[1:] == sorted(found[1:], reverse=best is max)
    assert record.head == "logreg" and abs(found[0] - best(found)) < 0.1 < abs(found[0] - found[-1])


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


def scored(number: int, *values: float, metric: str = "macro_f1", head: str = "dummy", **fields: Any) -> TrialScore:
    """Values of folds, each of which is 0.01 to 0.09 less without a tenth of its texts, in an order by the number."""
    less = np.random.default_rng(number).permutation(10) / 100
    return TrialScore(
        number=number, options=HeadOptions(head=head), folds=len(values), scores={metric: float(np.mean(values))},
        by_fold={metric: list(values)}, jackknife=[(value - less).tolist() for value in values], **fields,
    )  # fmt: skip


def test_a_trial_is_stopped_when_the_best_so_far_is_better_by_more_than_chance(made: Any) -> None:
    bad = Trial(number=9, options=HeadOptions(head="dummy"), space="ab")
    rivals = [scored(1, 0.91, 0.90, 0.92, 0.91, 0.90), scored(2, 0.0, 0.0, 0.0, 0.0, 0.0)]
    stopped = score_trial(made.X, made.y, made.split, bad, keys=made.keys, rivals=rivals)
    assert stopped.stopped and stopped.folds == len(stopped.by_fold["macro_f1"]) < 5 and stopped.space == "ab"
    alone = score_trial(made.X, made.y, made.split, bad, keys=made.keys, rivals=rivals[1:])
    assert not alone.stopped and alone.folds == 5
    assert alone.by_fold["macro_f1"][: stopped.folds] == stopped.by_fold["macro_f1"]
    loss = scored(1, 0.2, 0.21, 0.2, 0.21, 0.2, metric="log_loss")
    assert score_trial(made.X, made.y, made.split, bad, keys=made.keys, rivals=[loss], metric="log_loss").stopped


def test_stopped_trials_are_behind_all_that_were_not() -> None:
    failed = TrialScore(number=0, options=HeadOptions(), folds=2)
    trials = [failed, scored(1, 0.9, 0.9, stopped=True), scored(2, 0.5, 0.5)]
    assert [each.number for each in rank(trials)] == [2, 1, 0]


def test_the_simplest_kind_wins_of_which_a_trial_is_within_one_standard_error_of_the_best() -> None:
    # The jackknife's error of the sum of 3 folds' differences: sqrt(3 x 9 x the variance of 10 differences).
    of = {number: np.array(scored(number, 0.0).jackknife[0]) for number in (0, 1, 5)}
    spread = [float((of[5] - of[number]).std()) for number in (1, 0)]
    error = np.sqrt(3 * 9) * spread[0] / 3
    best, worst = scored(5, 0.9, 0.9, 0.9, head="svm"), scored(0, *[0.9 - 1.01 * np.sqrt(3) * spread[1]] * 3)
    simple, further = (scored(1, *[0.9 - share * error] * 3, head="linear") for share in (0.99, 1.01))
    assert best_of(rank([simple, best, worst]), "macro_f1") is simple
    assert best_of(rank([further, best, worst]), "macro_f1") is best
    better = scored(7, *[0.9 - 0.1 * error] * 3, head="linear")
    assert best_of(rank([simple, better, best, worst]), "macro_f1") is better
    stopped = scored(2, 0.9, head="dummy", stopped=True)
    assert best_of(rank([stopped, best]), "macro_f1") is best
    named = scored(3, 0.9, 0.9, 0.9, head="sklearn.naive_bayes.GaussianNB")
    assert best_of(rank([named, best]), "macro_f1") is best


def test_a_trial_is_ahead_by_standard_errors_in_the_direction_in_which_the_metric_is_good() -> None:
    for metric, sign in (("accuracy", 1), ("log_loss", -1)):
        ahead, other = scored(1, 0.9, 0.8, metric=metric), scored(2, 0.7, metric=metric)
        error = 3 * np.subtract(ahead.jackknife[0], other.jackknife[0]).std()
        found = standard_errors(ahead, other.by_fold[metric], other.jackknife, metric)
        assert found == pytest.approx(sign * 0.2 / error)
    assert standard_errors(ahead, [0.1], [[]], "accuracy") == 0


def test_trials_are_compared_text_by_text(made: Any) -> None:
    better, worse = (
        score_trial(made.X, made.y, made.split, Trial(number=n, options=HeadOptions(head=head)), keys=made.keys)
        for n, head in ((1, "logreg"), (0, "dummy"))
    )
    assert standard_errors(better, worse.by_fold["macro_f1"], worse.jackknife, "macro_f1") > 5
    assert standard_errors(better, better.by_fold["macro_f1"], better.jackknife, "macro_f1") == 0


def test_a_trials_score_is_its_cross_validation(made: Any) -> None:
    trial, checked = Trial(number=5, options=HeadOptions(head="logreg", params={"C": 0.5})), []
    keys = made.keys.copy()
    keys[::3] = keys[0]
    found = score_trial(made.X, made.y, made.split, trial, keys=keys, folds=3, check=lambda *c: checked.append(c))
    context = make_fit_context(made.X, read_targets(made.y), made.split, trial.options, keys, lambda *_: None)
    expected = cross_validate(context, keys, 3)["metrics"]
    assert found == TrialScore(
        number=5,
        options=trial.options,
        folds=3,
        by_fold={name: values["folds"] for name, values in expected.items()},
        jackknife=found.jackknife,
        scores={name: values["mean"] for name, values in expected.items()},
        spread={name: values["std"] for name, values in expected.items()},
        wall_time_s=found.wall_time_s,
    )
    assert 0 < found.wall_time_s < 60 and found.wall_time_s == round(found.wall_time_s, 4)
    assert (2, 3) in checked and [len(each) for each in found.jackknife] == [10, 10, 10]
    plain = score_trial(made.X, made.y, made.split, Trial(number=0, options=HeadOptions(head="dummy")))
    assert plain.folds == 5


def test_a_failed_trial_keeps_its_number_options_and_reason(made: Any) -> None:
    trial = Trial(number=2, options=HeadOptions(head="knn", params={"n_neighbors": 5000}))
    found = score_trial(made.X, made.y, made.split, trial, folds=2)
    assert found.error is not None and found.error.startswith("knn cannot be trained with these parameters: ")
    assert found == TrialScore(number=2, options=trial.options, folds=2, error=found.error)


def test_label_sets_are_searched_by_their_separator(made: Any) -> None:
    y = np.array([f"{name};x" if name == "class 1" else name for name in made.y], dtype=object)
    found = score_trial(made.X, y, made.split, Trial(number=0, options=HeadOptions(label_separator=";")), folds=2)
    assert found.scores["macro_f1"] > 0.8 and "balanced_accuracy" not in found.scores


def test_of_equal_scores_the_earlier_trial_is_the_best() -> None:
    scores = [TrialScore(number=n, options=HeadOptions(), folds=2, scores={"macro_f1": 0.5}) for n in (3, 1, 2)]
    assert [score.number for score in rank(scores)] == [1, 2, 3]


def test_the_record_of_a_search_lists_its_trials_from_the_best(made: Any) -> None:
    def trial(number: int, value: float | None, error: str | None = None, **options: Any) -> TrialScore:
        scores = {} if value is None else {"macro_f1": value}
        return TrialScore(
            number=number, options=HeadOptions(head="dummy", **options), folds=4, scores=scores, error=error,
            spread=dict.fromkeys(scores, 0.1), wall_time_s=0.12344,
        )  # fmt: skip

    trials = [trial(0, None, "did not fit"), trial(1, 0.5), trial(2, 0.7, params={"strategy": "stratified"}, seed=9)]
    origin, checked = Origin(space="ab" * 16), []
    best = refit_best(
        made.X, made.y, made.split, trials, origin=origin, keys=made.keys, check=lambda *c: checked.append(c)
    )  # fmt: skip
    assert best.record.params["strategy"] == "stratified" and best.record.seed == 9 and checked
    assert best.record.origin == origin and best.classes == ("class 0", "class 1", "class 2", "class 3")
    line = {"head": "dummy", "params": {}, "spread": 0.1, "wall_time_s": 0.12344, "error": None}
    line |= {"space": None, "stopped": False}
    assert best.record.search == {
        "metric": "macro_f1",
        "folds": 4,
        "trials": [
            line | {"number": 2, "params": {"strategy": "stratified"}, "score": 0.7},
            line | {"number": 1, "score": 0.5},
            line | {"number": 0, "score": None, "spread": None, "error": "did not fit"},
        ],
        "wall_time_s": 0.3703,
    }


@pytest.mark.parametrize(("trials", "reason"), [([], "there are none"), (["no fit"], "no fit")])
def test_a_search_without_a_score_is_refused_with_the_reason(made: Any, trials: list[str], reason: str) -> None:
    scores = [TrialScore(number=0, options=HeadOptions(), folds=2, error=error) for error in trials]
    with pytest.raises(BadParameter) as caught:
        refit_best(made.X, made.y, made.split, scores, metric="roc_auc")
    assert str(caught.value) == f"no trial of the search has a roc_auc: {reason}"
