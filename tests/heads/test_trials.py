"""The trials of a search: a grid, or random ones within ranges."""

from typing import Any

import msgspec
import numpy as np
import pytest

from jdq.worker.heads.errors import BadParameter, UnknownHead
from jdq.worker.heads.options import HEADS, HeadOptions
from jdq.worker.heads.search import (
    GRIDS,
    MOST_ROWS,
    RANDOM,
    Trial,
    list_trials,
)


def test_the_grid_covers_every_head_and_leaves_slow_ones_out_of_large_datasets() -> None:
    small, large = list_trials(HeadOptions(), rows=1000), list_trials(HeadOptions(), rows=1_000_000)
    assert {trial.options.head for trial in small} == set(HEADS) - {"auto", "logreg"}
    assert {trial.options.head for trial in large} == {"dummy", "tf-idf", "linear", "hybrid", "linear-svm", "mlp"}
    assert [trial.number for trial in small] == list(range(len(small)))


def test_random_trials_are_drawn_by_the_seed() -> None:
    first, again, other = (list_trials(HeadOptions(seed=s), rows=1000, trials=100) for s in (1, 1, 2))
    assert first == again != other and len(first) == 3 + 100
    assert msgspec.json.decode(msgspec.json.encode(first), type=list[Trial]) == first


def test_the_grid_is_every_combination_in_order() -> None:
    found = [(trial.options.head, trial.options.params) for trial in list_trials(HeadOptions(), rows=1000)]
    assert found[:4] == [("dummy", {}), ("tf-idf", {}), ("linear", {}), ("hybrid", {})]
    assert len(found) == 4 + 5 + 5 + 4 + 8 + 2 + 2
    logreg = [trial.options.params for trial in list_trials(HeadOptions(), rows=1000, heads=["logreg"])]
    assert logreg == [{"C": C, "scale": scale} for C in (0.01, 0.1, 1.0, 10.0, 100.0) for scale in (False, True)]
    more = [trial.options for trial in list_trials(HeadOptions(), rows=1000, more=3)][len(found) :]
    assert [each.head for each in more] == ["linear-svm", "knn", "svm"]


def test_each_trial_is_made_in_every_feature_space_but_those_that_read_no_features() -> None:
    trials = list_trials(HeadOptions(), rows=100, heads=["dummy", "tf-idf", "hybrid", "knn"], spaces=["a", "b"])
    found = [(trial.options.head, trial.space) for trial in trials]
    assert found[:4] == [("dummy", "a"), ("tf-idf", "a"), ("hybrid", "a"), ("hybrid", "b")] and len(found) == 4 + 10
    assert [trial.number for trial in trials] == list(range(14))


def test_what_the_base_says_applies_to_every_trial_but_for_head_parameters_and_folds() -> None:
    base = HeadOptions(
        head="mlp", params={"hidden": 3}, seed=4, class_weight="balanced", cv=7, per_class=8, calibrate=True
    )
    for trial in list_trials(base, rows=1000):
        assert trial.options == msgspec.structs.replace(
            base, head=trial.options.head, params=trial.options.params, cv=None
        )
    assert list_trials(base, rows=1000)[0].options.head != "mlp"


@pytest.mark.parametrize(
    ("class_weight", "label_separator", "left_out"),
    [
        (None, None, {"logreg"}),
        (None, "|", {"logreg"}),
        ("balanced", None, {"logreg", "dummy", "knn"}),
        ("balanced", "|", {"logreg", "dummy", "knn", "mlp"}),
    ],
)
def test_heads_without_class_weights_are_left_out_of_a_weighted_search(
    class_weight: str | None, label_separator: str | None, left_out: set[str]
) -> None:
    base = HeadOptions(class_weight=class_weight, label_separator=label_separator)
    assert {trial.options.head for trial in list_trials(base, rows=10)} == set(GRIDS) - left_out


@pytest.mark.parametrize(("head", "most"), MOST_ROWS.items())
def test_a_slow_head_takes_part_up_to_its_number_of_rows_or_where_it_is_named(head: str, most: int) -> None:
    at, beyond = ({t.options.head for t in list_trials(HeadOptions(), rows=rows)} for rows in (most, most + 1))
    assert head in at and head not in beyond
    assert {t.options.head for t in list_trials(HeadOptions(), rows=most + 1, heads=[head])} == {head}


def test_an_unknown_head_is_refused_before_the_search() -> None:
    with pytest.raises(UnknownHead, match="no head 'logrec'"):
        list_trials(HeadOptions(), rows=10, heads=["logreg", "logrec"])


def test_random_trials_take_turns_and_stay_within_their_ranges() -> None:
    trials = list_trials(HeadOptions(), rows=1000, trials=400)
    drawable = [name for name in GRIDS if name in RANDOM and name != "logreg"]
    fixed = [trial.options.head for trial in trials[:3]]
    assert fixed == ["tf-idf", "linear", "hybrid"]
    trials = trials[3:]
    assert [trial.options.head for trial in trials[:7]] == [*drawable, drawable[0]]
    drawn: dict[tuple[str, str], list[Any]] = {}
    for trial in trials:
        assert trial.options.params.keys() == RANDOM[trial.options.head].keys()
        for name, value in trial.options.params.items():
            drawn.setdefault((trial.options.head, name), []).append(value)
    for (head, name), found in drawn.items():
        values = RANDOM[head][name]
        if isinstance(values, tuple):
            places = (np.log(found) - np.log(values[0])) / np.log(values[1] / values[0])
            assert all(value == float(f"{value:.4g}") for value in found) and len(set(found)) > 30
            assert -1e-3 <= places.min() < 0.2 and 0.8 < places.max() <= 1.001
        else:
            assert set(found) == set(values)
    assert len(list_trials(HeadOptions(), rows=1000, trials=1)) == 3 + 1
    assert "dummy" not in {trial.options.head for trial in trials}


def test_a_search_of_no_random_trials_is_refused() -> None:
    with pytest.raises(BadParameter) as caught:
        list_trials(HeadOptions(), rows=1000, trials=0)
    assert str(caught.value) == "a search needs at least one trial, not 0"
