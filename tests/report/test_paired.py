"""Paired tests against scipy, and against bootstrap resamples measured by scikit-learn."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import f1_score

from jdq.worker.report.paired import as_tested, paired, sign_test
from tests.heads.split_keys import keys_of


@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 5), (7, 7), (12, 30), (400, 480), (900, 1000)])
def test_mcnemars_test_is_the_binomials(first: int, second: int) -> None:
    expected = binomtest(first, first + second).pvalue if first + second else 1.0
    assert sign_test(first, second) == pytest.approx(expected, rel=1e-9 if first + second <= 1000 else 0.01)
    assert sign_test(first, second) == sign_test(second, first)


def case(seed: int = 0, texts: int = 60) -> tuple[Any, Any, Any, Any]:
    """Rows that repeat texts: their keys, classes, and two predictions."""
    rng = np.random.default_rng(seed)
    of = rng.integers(0, texts, 150)
    true = rng.integers(0, 4, texts)[of]
    first, second = (np.where(rng.random(texts) < right, true_of, 3)[of] for right, true_of in _classes(rng, of, true))
    return keys_of(of.tolist()), true, first, second


def _classes(rng: Any, of: Any, true: Any) -> list[tuple[float, Any]]:
    by_text = np.zeros(of.max() + 1, dtype=int)
    by_text[of] = true
    return [(0.9, np.pad(by_text, (0, 60 - len(by_text)))), (0.6, np.pad(by_text, (0, 60 - len(by_text))))]


def test_the_difference_is_that_of_macro_f1_and_its_interval_that_of_the_same_draws() -> None:
    keys, true, first, second = case()
    found = paired(as_tested(true, first, keys), as_tested(true, second, keys))
    assert found is not None

    def macro(rows: Any) -> float:
        scores = [f1_score(true[rows], each[rows], average="macro", zero_division=0) for each in (first, second)]
        return float(scores[1] - scores[0])

    every = np.arange(len(true))
    assert found.difference == pytest.approx(macro(every))
    _, text_of = np.unique(np.ascontiguousarray(keys[:, :8]).view(">u8"), return_inverse=True)
    rng, texts = np.random.default_rng(0), int(text_of.max()) + 1
    draws = [rng.multinomial(texts, np.full(texts, 1 / texts)) for _ in range(1000)]
    half = 1.959964 * np.std([macro(np.repeat(every, draw[text_of.ravel()])) for draw in draws])
    assert (found.low, found.high) == pytest.approx((found.difference - half, found.difference + half))
    ahead = np.bincount(text_of.ravel(), weights=(second == true).astype(int) - (first == true))
    assert found.p_value == sign_test(int((ahead > 0).sum()), int((ahead < 0).sum())) < 0.05


def test_label_sets_are_compared_by_the_macro_f1_of_all_labels() -> None:
    rng = np.random.default_rng(1)
    true = rng.random((80, 3)) < 0.4
    first, second = true ^ (rng.random((80, 3)) < 0.1), true ^ (rng.random((80, 3)) < 0.3)
    keys = keys_of(list(range(80)))
    found = paired(as_tested(true, first, keys), as_tested(true, second, keys))
    assert found is not None
    expected = f1_score(true, second, average="macro") - f1_score(true, first, average="macro")
    assert found.difference == pytest.approx(expected) and found.low < expected < found.high < 0
    right = [(each == true).all(axis=1) for each in (first, second)]
    assert found.p_value == sign_test(int((right[1] & ~right[0]).sum()), int((right[0] & ~right[1]).sum()))


def test_equal_predictions_do_not_differ() -> None:
    keys, true, first, _ = case()
    found = paired(as_tested(true, first, keys), as_tested(true, first, keys))
    assert found is not None and (found.difference, found.low, found.high, found.p_value) == (0, 0, 0, 1)


def test_other_rows_are_not_compared() -> None:
    keys, true, first, _ = case()
    rows = as_tested(true, first, keys)
    assert paired(rows, rows[:-1]) is None and paired(rows, rows[::-1]) is None
    sets = as_tested(np.zeros((150, 2), dtype=bool), np.zeros((150, 2), dtype=bool), keys)
    assert paired(rows, sets) is None
