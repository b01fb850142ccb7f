from typing import Any

import numpy as np
import pytest

from jdq.worker.heads.errors import MissingLabels, OneClassOnly
from jdq.worker.heads.labels import read_targets


def test_labels_become_positions_among_the_sorted_classes() -> None:
    targets = read_targets(["b", "a", "c", "b"])
    assert targets.classes == ("a", "b", "c") and targets.codes.tolist() == [1, 0, 2, 1]
    assert targets.codes.dtype == np.int64 and not targets.multi_label and targets.rows == 4
    counts = targets.counts(np.array([0, 3]))
    assert counts.tolist() == [0, 2, 0] and counts.dtype == np.int64
    assert targets.counts().tolist() == [1, 2, 1]


def test_label_sets_become_a_column_for_each_label() -> None:
    targets = read_targets(["b;a", "", "c"], label_separator=";")
    assert targets.classes == ("a", "b", "c") and targets.multi_label and targets.rows == 3
    assert targets.codes.tolist() == [[True, True, False], [False, False, False], [False, False, True]]
    counts = targets.counts(np.array([0, 1]))
    assert counts.tolist() == [1, 1, 0] and counts.dtype == np.int64


def test_numbers_as_labels_are_named_as_text() -> None:
    assert read_targets(np.array([1, 2, 1], dtype=object)).classes == ("1", "2")


@pytest.mark.parametrize(
    ("labels", "label_separator", "message"),
    [
        (["a", "", "b", None], None, "2 of 4 rows have no label: rows 2, 4"),
        (["a", ""] * 10, None, "10 of 20 rows have no label: rows 2, 4, 6, 8, 10, 12, 14, 16, 18, 20"),
        (["a", ""] * 11, None, "11 of 22 rows have no label: rows 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, ..."),
        (["a", "", float("nan")], "|", "1 of 3 rows have no label: rows 3"),
    ],
)
def test_missing_labels_are_counted_and_ten_rows_are_named(
    labels: list[Any], label_separator: str | None, message: str
) -> None:
    with pytest.raises(MissingLabels) as caught:
        read_targets(labels, label_separator=label_separator)
    assert str(caught.value) == f"{message}\n  try: label them, or leave them out"


@pytest.mark.parametrize(
    ("labels", "label_separator", "only"), [(["01"] * 3, None, "01"), (["a", "", "a"], "|", "a"), ([""] * 3, "|", "")]
)
def test_one_class_is_refused_and_named(labels: list[str], label_separator: str | None, only: str) -> None:
    with pytest.raises(OneClassOnly) as caught:
        read_targets(labels, label_separator=label_separator)
    assert str(caught.value) == (
        f"all 3 rows have the label {only!r}: a classifier needs at least two classes\n"
        "  try: jdq submit train-head --label-column with another column"
    )
