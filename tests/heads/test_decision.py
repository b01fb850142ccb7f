"""One rule makes labels of probabilities, wherever they come from."""

from __future__ import annotations

import numpy as np
import pytest

from jdq.worker.heads.decision import predicted_labels, predicted_sets
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
