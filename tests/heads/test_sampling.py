import numpy as np

from jdq.worker.heads.labels import read_targets
from jdq.worker.heads.sampling import per_class_rows

LABELS = ["a", "b", "a", "a", "b", "c", "a", "b"]
KEYS = np.repeat(np.array([0, 1, 2, 2, 3, 4, 5, 6], dtype=np.uint8)[:, None], 16, axis=1)  # rows 2 and 3 are equal


def test_rows_of_each_class_are_taken_in_the_seeds_order() -> None:
    rows = np.array([0, 1, 2, 3, 4, 6, 7])  # of class c none
    for seed in range(5):
        drawn = np.random.default_rng(seed).permutation(rows)
        expected = sorted(row for name in "ab" for row in [r for r in drawn if LABELS[r] == name][:2])
        assert per_class_rows(read_targets(LABELS), rows, 2, seed=seed).tolist() == expected


def test_of_equal_texts_the_first_drawn_counts() -> None:
    rows = np.arange(8)
    for seed in range(5):
        drawn = np.random.default_rng(seed).permutation(rows).tolist()
        first = [r for r in drawn if r not in (2, 3) or r == min((2, 3), key=drawn.index)]
        expected = sorted(row for name in "abc" for row in [r for r in first if LABELS[r] == name][:2])
        assert per_class_rows(read_targets(LABELS), rows, 2, seed=seed, keys=KEYS).tolist() == expected


def test_a_row_of_several_labels_counts_for_each() -> None:
    targets = read_targets(["a|b"] * 4 + ["a"] * 4 + [""] * 4, label_separator="|")
    for seed in range(5):
        drawn = np.random.default_rng(seed).permutation(12)
        expected = {*drawn[drawn < 8][:3].tolist(), *drawn[drawn < 4][:3].tolist()}
        found = per_class_rows(targets, np.arange(12), 3, seed=seed)
        assert found.tolist() == sorted(expected) and found.dtype == np.intp


def test_of_no_rows_none_are_taken() -> None:
    found = per_class_rows(read_targets(LABELS), np.arange(0), 2, seed=0)
    assert found.tolist() == [] and found.dtype == np.intp
