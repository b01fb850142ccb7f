"""One rule makes labels of probabilities, wherever they come from."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from jdq.worker.heads.decision import best_thresholds, predicted_labels, predicted_sets
from jdq.worker.heads.labels import read_targets
from jdq.worker.heads.metrics import evaluate_sets
from jdq.worker.heads.options import LABEL_SEPARATOR, labels_in

SETS = np.array([[0.5, 0.49], [0.2, 0.9], [0.1, 0.1], [0.7, 0.8]], dtype=np.float32)


def test_a_label_is_predicted_from_a_probability_of_one_half_on() -> None:
    assert predicted_sets(SETS).tolist() == [[True, False], [False, True], [False, False], [True, True]]
    assert evaluate_sets(predicted_sets(SETS), SETS, ["x", "y"])["accuracy"] == 1


@pytest.mark.parametrize(("label_separator", "joined"), [(None, "x|y"), (";", "x;y")])
def test_a_set_is_joined_by_the_separator_of_its_head(label_separator: str | None, joined: str) -> None:
    labels = predicted_labels(SETS, ["x", "y"], multi_label=True, label_separator=label_separator)
    assert labels == ["x", "y", "", joined]


def test_a_single_label_is_the_most_probable_one_however_improbable() -> None:
    probabilities = np.array([[0.3, 0.4, 0.3], [0.9, 0.05, 0.05]])
    assert predicted_labels(probabilities, "abc", multi_label=False, label_separator=None) == ["b", "a"]


def test_a_label_that_is_less_probable_than_required_is_left_out() -> None:
    probabilities = np.array([[0.5, 0.5], [0.2, 0.8]])

    def single(least: float) -> list[str]:
        return predicted_labels(probabilities, "ab", multi_label=False, label_separator=None, least=least)

    assert (single(0.5), single(0.8), single(float("inf"))) == (["a", "b"], ["", "b"], ["", ""])
    of_sets = predicted_labels(SETS, "xy", multi_label=True, label_separator=None, thresholds=(0.9, 0.4), least=0.45)
    assert of_sets == ["y", "y", "", "y"]


def test_each_label_has_its_own_threshold() -> None:
    assert predicted_sets(SETS, (0.9, 0.1)).tolist() == (SETS >= [0.9, 0.1]).tolist()
    cells = predicted_labels(SETS, ["x", "y"], multi_label=True, label_separator=None, thresholds=(2.0, 0.0))
    assert set(cells) == {"y"}


def test_the_best_threshold_of_a_label_is_that_of_its_highest_f1() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        true = rng.random((60, 2)) < 0.3
        probabilities = np.round(0.3 * true + 0.5 * rng.random((60, 2)), 1)  # many are equal
        for label, threshold in enumerate(best_thresholds(true, probabilities)):
            of = [f1_score(true[:, label], probabilities[:, label] >= t) for t in np.arange(0.05, 1, 0.1)]
            assert f1_score(true[:, label], probabilities[:, label] >= threshold) == pytest.approx(max(of))


def test_a_threshold_is_halfway_to_the_next_lower_probability() -> None:
    true = np.arange(7)[:, None] < 6
    for least, halfway in ((0.2, 0.4), (0.0, 0.3)):
        probabilities = np.array([0.9] * 5 + [0.6, least])[:, None]
        assert best_thresholds(true, probabilities) == pytest.approx([halfway])
    assert best_thresholds(true[:6], probabilities[:6]) == pytest.approx([0.3])


def test_a_label_of_few_rows_gets_the_threshold_of_all_labels_together() -> None:
    true = np.zeros((40, 3), dtype=bool)
    true[:10, 0], true[:4, 1], true[20:25, 2] = True, True, True
    probabilities = np.where(true, [0.3, 0.9, 0.8], [0.1, 0.4, 0.05])
    first, second, third = best_thresholds(true, probabilities)
    assert [first, third] == pytest.approx([0.2, 0.425])
    assert second == best_thresholds(true.reshape(-1, 1), probabilities.reshape(-1, 1))[0]
    assert best_thresholds(true[30:], probabilities[30:]) == () == best_thresholds(true[:0], probabilities[:0])


def test_what_is_predicted_is_read_back_as_the_same_sets() -> None:
    cells = predicted_labels(SETS, ["x", "y"], multi_label=True, label_separator=None)
    targets = read_targets(cells, label_separator=LABEL_SEPARATOR)
    assert targets.codes.tolist() == predicted_sets(SETS).tolist()


@pytest.mark.parametrize(
    ("cell", "expected"),
    [("", set()), (" ", set()), ("a", {"a"}), (" a | b|a ||", {"a", "b"}), ("a,b", {"a,b"}), ("01|1", {"01", "1"})],
)
def test_a_cell_is_a_set_of_labels_without_the_white_space_around_them(cell: str, expected: set[str]) -> None:
    assert labels_in(cell, "|") == expected
