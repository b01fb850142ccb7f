from typing import Any

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from jdq.worker.heads import features
from jdq.worker.heads.features import BLOCK_ROWS, float32_blocks, float32_bytes, in_float32, mean_and_std, no_check

X = np.random.default_rng(0).normal(3, 2, (40, 5)).astype(np.float16)


class Watched:
    """Features that remember how they were read."""

    shape = X.shape

    def __init__(self) -> None:
        self.read: list[Any] = []

    def __getitem__(self, rows: Any, /) -> Any:
        self.read.append(rows)
        return X[rows]


def test_adjacent_rows_are_read_as_slices_and_others_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "BLOCK_ROWS", 4)
    rows, watched = np.array([3, 4, 5, 6, 9, 8, 1, 1, 20]), Watched()
    blocks = list(float32_blocks(watched, rows))
    assert [start for start, _ in blocks] == [0, 4, 8]
    assert (np.concatenate([block for _, block in blocks]) == X[rows].astype(np.float32)).all()
    assert all(block.dtype == np.float32 for _, block in blocks)
    assert watched.read[0] == slice(3, 7) and watched.read[2] == slice(20, 21)
    assert watched.read[1].tolist() == [9, 8, 1, 1]


@pytest.mark.parametrize("rows", [[3, 5, 4, 6], [2, 2, 2, 5], [6, 5, 4, 3]])
def test_rows_that_only_span_a_range_are_not_read_as_one(rows: list[int]) -> None:
    ((_, block),) = float32_blocks(X, np.array(rows))
    assert (block == X[rows].astype(np.float32)).all()


def test_adjacent_float32_rows_are_not_copied() -> None:
    values = X.astype(np.float32)
    assert np.shares_memory(next(float32_blocks(values, np.arange(4)))[1], values)


def test_blocks_have_8192_rows() -> None:
    tall = np.zeros((BLOCK_ROWS + 1, 1), dtype=np.float32)
    assert [len(block) for _, block in float32_blocks(tall, np.arange(BLOCK_ROWS + 1))] == [8192, 1]


def test_no_rows_are_no_blocks() -> None:
    assert list(float32_blocks(X, np.arange(0))) == [] and in_float32(X, np.arange(0)).shape == (0, 5)


def test_a_float32_copy_of_the_rows_is_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "BLOCK_ROWS", 4)
    values, rows = X.astype(np.float32), np.array([*range(10), 30, 2])
    copy = in_float32(values, rows)
    assert copy.dtype == np.float32 and (copy == values[rows]).all() and not np.shares_memory(copy, values)
    assert float32_bytes(rows, values) == copy.nbytes


def test_mean_and_deviation_are_scikit_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "BLOCK_ROWS", 7)
    rows = np.array([*range(10), 30, 2, 17, 39])
    values = X.astype(np.float32)
    values[:, 2] = 7  # constant: divided by 1
    mean, std = mean_and_std(values, rows)
    expected = StandardScaler().fit(values[rows].astype(np.float64))
    assert mean == pytest.approx(expected.mean_) and std == pytest.approx(expected.scale_, rel=1e-6)
    assert mean.dtype == std.dtype == np.float64 and std[2] == 1


def test_small_numbers_are_not_constants() -> None:
    assert mean_and_std(np.array([[1e-11], [-1e-11]], dtype=np.float32), np.arange(2))[1] == pytest.approx([1e-11])
    assert mean_and_std(np.array([[1e-13], [-1e-13]], dtype=np.float32), np.arange(2))[1] == [1]


def test_large_numbers_do_not_hide_small_ones() -> None:
    one_far_off = np.array([[1e4] * 3] + [[1.0] * 3, [-1.0] * 3] * 4000, dtype=np.float32)
    std = mean_and_std(one_far_off, np.arange(8001))[1]
    assert std == pytest.approx(one_far_off.astype(np.float64).std(axis=0), rel=1e-6)


def test_without_a_check_nothing_happens() -> None:
    no_check(0, 1)
