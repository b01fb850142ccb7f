from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.linear_model import LogisticRegression

from jdq.worker.heads.crossval import cross_validate
from jdq.worker.heads.errors import BadParameter, TooFewRows
from jdq.worker.heads.folds import assign_folds, fold_rows
from jdq.worker.heads.labels import read_targets
from jdq.worker.heads.options import HeadOptions
from jdq.worker.heads.split import TRAIN
from jdq.worker.heads.train import make_fit_context, train_head


def context_of(made: Any, keys: Any = None, check: Any = lambda *_: None, **options: Any) -> Any:
    keys = made.keys if keys is None else keys
    return make_fit_context(made.X, read_targets(made.y), made.split, HeadOptions(**options), keys, check)


def test_each_folds_metrics_are_those_of_a_head_that_has_not_seen_it(made: Any) -> None:
    X, y = made.X.astype(np.float32), read_targets(made.y).codes
    context, called = context_of(made), []
    expected: dict[str, list[float]] = {}
    for train, held_out in fold_rows(context, made.keys, 3):
        model = LogisticRegression(max_iter=1000).fit(X[train], y[train])
        true, probabilities = y[held_out], model.predict_proba(X[held_out])
        predicted = probabilities.argmax(axis=1)
        for name, value in (
            ("accuracy", sk.accuracy_score(true, predicted)),
            ("balanced_accuracy", sk.balanced_accuracy_score(true, predicted)),
            ("f1", sk.f1_score(true, predicted, average="weighted")),
            ("macro_f1", sk.f1_score(true, predicted, average="macro")),
            ("roc_auc", sk.roc_auc_score(true, probabilities, multi_class="ovr")),
            ("log_loss", sk.log_loss(true, probabilities)),
        ):
            expected.setdefault(name, []).append(value)
    watched = context_of(made, check=lambda *counts: called.append(counts))
    found = cross_validate(watched, made.keys, 3)
    found["metrics"] = {name: found["metrics"][name] for name in expected}
    assert found == {
        "folds": 3,
        "metrics": {
            name: {
                "mean": pytest.approx(np.mean(values), rel=1e-4),
                "std": pytest.approx(np.std(values), rel=1e-3, abs=1e-6),
                "folds": pytest.approx(values, rel=1e-4),
            }
            for name, values in expected.items()
        },
    }
    assert [counts for counts in called if counts[1] == 3] == [(0, 3), (1, 3), (2, 3)]


def test_a_metric_without_a_value_in_a_fold_is_that_of_the_other_folds(made: Any) -> None:
    """With one text of class 3 in the train part, two of three folds have a mean over three classes."""
    found = cross_validate(context_of(made, head="dummy"), made.keys, 3)["metrics"]
    assert len(found["roc_auc"]["folds"]) == 3 and found["roc_auc"]["mean"] == 0.5


def test_folds_divide_the_train_rows_in_ascending_order(made: Any) -> None:
    context = context_of(made)
    folds = list(fold_rows(context, made.keys, 4))
    assert len(folds) == 4
    for train, held_out in folds:
        assert (np.diff(train) > 0).all() and (np.diff(held_out) > 0).all()
        assert sorted([*train, *held_out]) == made.split.rows(TRAIN).tolist()
        counts = np.bincount(context.targets.codes[held_out], minlength=4)
        assert np.abs(counts - context.targets.counts(context.train) / 4).max() <= 1


def test_folds_are_drawn_by_the_seed(made: Any) -> None:
    first, again, other = (
        [held_out.tolist() for _, held_out in fold_rows(context_of(made, seed=seed), made.keys, 4)]
        for seed in (1, 1, 2)
    )
    assert first == again != other


def test_a_text_with_two_labels_is_spread_as_one_of_its_rarer_class(made: Any) -> None:
    """As many folds as texts: each text has a fold, whatever its labels."""
    keys = made.keys.copy()
    for row, text in zip(made.split.rows(TRAIN), np.arange(210) % 6, strict=False):
        keys[row] = keys[text]
    context = context_of(made, keys)
    n_texts = len(np.unique(keys[context.train], axis=0))
    folds = [held_out for _, held_out in fold_rows(context, keys, n_texts)]
    assert [len(np.unique(keys[rows], axis=0)) for rows in folds] == [1] * n_texts


@pytest.mark.parametrize("folds", [1, 0, -3])
def test_fewer_than_two_folds_are_refused(made: Any, folds: int) -> None:
    with pytest.raises(BadParameter) as caught:
        cross_validate(context_of(made), made.keys, folds)
    assert str(caught.value) == f"cross-validation needs at least 2 folds, not {folds}"


def test_more_folds_than_texts_are_refused_with_their_number(made: Any) -> None:
    keys = np.repeat(np.arange(2, dtype=np.uint8)[:, None], 16, axis=1)[np.arange(300) % 2]
    context = context_of(made, keys)
    assert len(list(fold_rows(context, keys, 2))) == 2
    with pytest.raises(TooFewRows) as caught:
        list(fold_rows(context, keys, 3))
    assert str(caught.value) == "2 distinct texts to train on cannot make 3 folds"


def deal(sizes: list[int], strata: list[int], folds: int) -> list[list[int]]:
    """The number of rows of each stratum (one per line) in each fold."""
    found = assign_folds(np.array(sizes), np.array(strata), folds, np.random.default_rng(0))
    return [
        [int(np.array(sizes)[(np.array(strata) == s) & (found == f)].sum()) for f in range(folds)]
        for s in sorted(set(strata))
    ]


def test_texts_of_one_row_are_dealt_evenly_and_the_remainder_to_the_emptiest_folds() -> None:
    assert deal([1] * 9, [0] * 9, 3) == [[3, 3, 3]]
    assert deal([1] * 8, [0] * 4 + [1] * 4, 4) == [[1, 1, 1, 1], [1, 1, 1, 1]]
    # Each class has one row more than folds; the second's goes to another fold than the first's.
    dealt = np.array(deal([1] * 12, [0] * 4 + [1] * 4 + [2] * 4, 3))
    assert dealt.sum(axis=0).tolist() == [4, 4, 4] and (np.sort(dealt, axis=1) == [1, 1, 2]).all()


def test_the_largest_repeated_texts_go_first_each_to_the_fold_with_the_fewest_rows_of_its_class() -> None:
    assert sorted(deal([5, 3, 2], [0, 0, 0], 2)[0]) == [5, 5]
    assert sorted(deal([2, 3, 7, 2], [0] * 4, 2)[0]) == [7, 7]
    assert sorted(deal([4, 1, 1, 1, 1], [0] * 5, 2)[0]) == [4, 4]
    assert sorted(deal([9, 1, 1, 1, 1], [0] * 5, 3)[0]) == [2, 2, 9]
    # Of equal folds of the second class, its text goes to the fold with the fewest rows in all.
    first, second = deal([6, 2, 5], [0, 0, 1], 2)
    assert second == [0 if rows == 6 else 5 for rows in first]


@pytest.mark.parametrize("seed", range(5))
def test_folds_are_as_even_as_the_largest_text_allows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes, strata = np.where(rng.random(200) < 0.3, rng.integers(2, 6, 200), 1), rng.integers(0, 4, 200)
    folds = assign_folds(sizes, strata, 5, rng)
    for stratum in range(4):
        rows = np.bincount(folds[strata == stratum], weights=sizes[strata == stratum], minlength=5)
        assert rows.max() - rows.min() <= 1
    rows = np.bincount(folds, weights=sizes)
    assert rows.max() - rows.min() <= 2


def test_folds_are_even_stratified_and_keep_equal_texts_together() -> None:
    rng = np.random.default_rng(0)
    sizes = np.where(rng.random(500) < 0.2, rng.integers(2, 9, 500), 1)
    strata = np.sort(rng.integers(0, 5, 500))
    folds = assign_folds(sizes, strata, 5, np.random.default_rng(0))
    for stratum in range(5):
        rows = [int(sizes[(strata == stratum) & (folds == fold)].sum()) for fold in range(5)]
        assert max(rows) - min(rows) <= 5, rows


def test_every_train_row_is_held_out_once(made: Any) -> None:
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
