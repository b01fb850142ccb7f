from typing import Any

import numpy as np
import pytest

from jdq.worker.heads.errors import BadParameter
from jdq.worker.heads.options import HeadOptions
from jdq.worker.heads.train import train_head


@pytest.mark.parametrize("kind", ["made", "binary"])
@pytest.mark.parametrize("params", [{}, {"C": 0.05}, {"scale": True}])
def test_out_of_core_reaches_the_optimum_of_scikit_learn(
    kind: str, params: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    data = request.getfixturevalue(kind)
    params = params | {"tol": 1e-6}
    inside = train_head(data.X, data.y, data.split, HeadOptions(params=params))
    outside = train_head(data.X, data.y, data.split, HeadOptions(params=params, memory_bytes=1000))
    assert not inside.record.out_of_core and outside.record.out_of_core
    assert any("trained out of core" in warning for warning in outside.record.warnings)
    assert np.abs(inside.predict_proba(data.X) - outside.predict_proba(data.X)).max() < 2e-3
    assert inside.predict(data.X) == outside.predict(data.X)


def test_balanced_class_weights_count_out_of_core_too(made: Any) -> None:
    found = [
        train_head(
            made.X, made.y, made.split, HeadOptions(class_weight="balanced", params={"tol": 1e-6}, memory_bytes=size)
        ).predict_proba(made.X)
        for size in (1 << 30, 1000)
    ]
    assert np.abs(found[0] - found[1]).max() < 2e-3


def test_blocks_of_any_size_give_the_same_gradient(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from jdq.worker.heads import features
    from jdq.worker.heads.softmax_regression import Objective

    codes = np.unique(made.y, return_inverse=True)[1]
    objective = Objective(
        X=made.X,
        rows=np.arange(300),
        codes=codes,
        outputs=4,
        row_weights=None,
        C=1.0,
        mean=np.zeros(16),
        std=np.ones(16),
        check=lambda *_: None,
    )
    W, b = np.random.default_rng(0).normal(size=(16, 4)), np.zeros(4)
    value, gradient, _ = objective.value_and_gradient(W, b)
    monkeypatch.setattr(features, "BLOCK_ROWS", 7)
    in_sevens = objective.value_and_gradient(W, b)
    assert in_sevens[0] == pytest.approx(value, rel=1e-6) and np.allclose(in_sevens[1], gradient, atol=1e-5)
    step = np.zeros((16, 4))
    step[1, 1] = 1e-3
    slope = (objective.value_and_gradient(W + step, b)[0] - objective.value_and_gradient(W - step, b)[0]) / 2e-3
    assert slope == pytest.approx(gradient[1, 1], abs=1e-3)


def test_parameters_that_only_the_estimator_has_are_refused_out_of_core(made: Any) -> None:
    with pytest.raises(BadParameter, match="out of core takes C, max_iter, scale, tol, not solver"):
        train_head(made.X, made.y, made.split, HeadOptions(params={"solver": "saga"}, memory_bytes=1000))


def test_stopping_before_convergence_is_said(made: Any) -> None:
    for size in (1 << 30, 1000):
        record = train_head(made.X, made.y, made.split, HeadOptions(params={"max_iter": 2}, memory_bytes=size)).record
        assert any("before it converged: --param max_iter=4" in warning for warning in record.warnings)


def test_large_datasets_reach_the_same_optimum_in_memory_by_blocks(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from jdq.worker.heads import logreg

    plain = train_head(made.X, made.y, made.split, HeadOptions(params={"tol": 1e-6}))
    monkeypatch.setattr(logreg, "BLOCK_VALUES", 100)
    blocks = train_head(made.X, made.y, made.split, HeadOptions(params={"tol": 1e-6}))
    assert np.abs(plain.predict_proba(made.X) - blocks.predict_proba(made.X)).max() < 2e-3
    assert not blocks.record.out_of_core and not blocks.record.warnings
    other = train_head(made.X, made.y, made.split, HeadOptions(params={"solver": "newton-cg"}))
    assert other.predict(made.X) == plain.predict(made.X)


def test_blocks_never_change_the_features(made: Any) -> None:
    before = made.X.astype(np.float32)
    X = before.copy()
    train_head(X, made.y, made.split, HeadOptions(params={"scale": True}, memory_bytes=1000))
    assert (before == X).all()
