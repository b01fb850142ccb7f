"""The objective in blocks, against scikit-learn's formula and numerical differences."""

from typing import Any

import numpy as np
import pytest
from scipy.optimize import check_grad
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_info

from jdq.worker.heads import features, softmax_regression
from jdq.worker.heads.softmax_regression import Objective, minimise, sampled_moments

RNG = np.random.default_rng(0)
X = RNG.normal(2, 1.5, (60, 3)).astype(np.float32)
ROWS = np.array([*range(5, 40), 50, 2, 41])
CODES = RNG.integers(0, 3, len(ROWS))
SETS = RNG.random((len(ROWS), 2)) < 0.4
MEAN, STD = X.mean(axis=0).astype(np.float64), np.array([0.5, 1.5, 2])


def objective(codes: Any = CODES, *, weights: Any = None, scaled: bool = False, check: Any = lambda *_: None) -> Any:
    mean, std = (MEAN, STD) if scaled else (np.zeros(3), np.ones(3))
    outputs = 2 if codes is SETS else 3
    return Objective(
        X=X, rows=ROWS, codes=codes, outputs=outputs, row_weights=weights, C=0.7, mean=mean, std=std, check=check
    )


def at(found: Any, flat: Any) -> Any:
    """Value and gradient at W and b, flattened one after the other."""
    value, grad_W, grad_b = found.value_and_gradient(
        flat[: 3 * found.outputs].reshape(3, -1), flat[3 * found.outputs :]
    )
    return value, np.concatenate([grad_W.ravel(), grad_b])


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("codes", [CODES, SETS], ids=["softmax", "sigmoid"])
def test_the_objective_is_the_mean_loss_and_the_penalty(
    codes: Any, weighted: bool, scaled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "BLOCK_ROWS", 9)
    weights = RNG.random(len(ROWS)).astype(np.float32) if weighted else None
    found = objective(codes, weights=weights, scaled=scaled)
    outputs = 2 if codes is SETS else 3
    point = RNG.normal(size=4 * outputs)
    W, b = point[: 3 * outputs].reshape(3, outputs), point[3 * outputs :]
    scores = (((X - MEAN) / STD if scaled else X)[ROWS]) @ W + b
    if codes is SETS:
        losses = (np.log1p(np.exp(scores)) - scores * SETS).sum(axis=1)
    else:
        losses = logsumexp(scores, axis=1) - scores[np.arange(len(ROWS)), CODES]
    weight = np.ones(len(ROWS)) if weights is None else weights
    expected = (losses * weight).sum() / weight.sum() + 0.5 * (W**2).sum() / (0.7 * weight.sum())
    assert at(found, point)[0] == pytest.approx(expected, rel=1e-5)
    error = check_grad(lambda x: at(found, x)[0], lambda x: at(found, x)[1], point, epsilon=1e-3)
    assert error < 5e-3


def test_large_scores_do_not_overflow() -> None:
    for codes, outputs in ((CODES, 3), (SETS, 2)):
        value, gradient = at(objective(codes), np.full(4 * outputs, 1e4))
        assert np.isfinite(value) and np.isfinite(gradient).all()


def test_each_block_is_checked_by_its_first_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "BLOCK_ROWS", 20)
    called = []
    objective(check=lambda *counts: called.append(counts)).value_and_gradient(np.zeros((3, 3)), np.zeros(3))
    assert called == [(0, len(ROWS)), (20, len(ROWS))]


@pytest.mark.parametrize("weighted", [False, True])
def test_the_minimum_is_scikit_learns(weighted: bool) -> None:
    weights = RNG.random(len(ROWS)).astype(np.float32) if weighted else None
    found = minimise(objective(weights=weights), max_iter=200, tol=1e-6)
    coefficients, intercepts = found.coefficients, found.intercepts
    model = LogisticRegression(C=0.7, tol=1e-8, max_iter=1000).fit(X[ROWS], CODES, sample_weight=weights)
    assert coefficients.shape == (3, 3) and np.allclose(coefficients, model.coef_, atol=2e-3)
    # Any number may be added to all intercepts.
    assert np.allclose(intercepts - intercepts.mean(), model.intercept_ - model.intercept_.mean(), atol=5e-3)
    assert 1 < found.iterations < 200


def test_more_columns_than_can_be_decorrelated_have_a_factor_each(monkeypatch: pytest.MonkeyPatch) -> None:
    together = minimise(objective(scaled=True), max_iter=200, tol=1e-6)
    monkeypatch.setattr(softmax_regression, "MOST_COLUMNS", 2)
    mean, variance = sampled_moments(X, ROWS)
    assert variance.shape == (3,) and np.allclose(variance, X[ROWS].var(axis=0), rtol=1e-4)
    apart = minimise(objective(scaled=True), max_iter=200, tol=1e-6)
    assert np.allclose(apart.coefficients, together.coefficients, atol=1e-3)
    assert np.allclose(mean, X[ROWS].mean(axis=0), rtol=1e-5)


def test_a_solution_nearby_is_a_start_from_which_fewer_steps_are_needed() -> None:
    first = minimise(objective(), max_iter=200, tol=1e-5)
    again = minimise(objective(), max_iter=200, tol=1e-5, start=first)
    assert again.iterations < first.iterations / 2
    assert np.allclose(again.coefficients, first.coefficients, atol=1e-3)


def test_iterations_end_at_the_maximum_or_at_the_tolerance() -> None:
    assert minimise(objective(), max_iter=3, tol=1e-6).iterations == 3
    assert (
        minimise(objective(), max_iter=200, tol=1e-1).iterations
        < minimise(objective(), max_iter=200, tol=1e-4).iterations
    )


def test_scipys_blas_has_one_thread_meanwhile_and_numpys_all_of_its_own() -> None:
    def threads() -> dict[str, int]:
        return {each["filepath"]: each["num_threads"] for each in threadpool_info()}

    seen: list[dict[str, int]] = []
    before = threads()
    minimise(objective(check=lambda *_: seen.append(threads())), max_iter=3, tol=1e-6)
    assert seen[0] == {file: 1 if "scipy.libs" in file else count for file, count in before.items()}
    assert any("scipy.libs" in file for file in before)
    assert threads() == before
