from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from jdq.worker.heads.calibration import best_temperature
from jdq.worker.heads.options import HeadOptions
from jdq.worker.heads.train import train_head


@pytest.mark.parametrize("head", ["logreg", "linear-svm", "svm", "knn", "mlp", "dummy"])
def test_calibration_changes_probabilities_but_no_prediction(made: Any, head: str) -> None:
    params: dict[str, Any] = {"C": 100} if head == "logreg" else {}
    plain = train_head(made.X, made.y, made.split, HeadOptions(head=head, params=params))
    calibrated = train_head(made.X, made.y, made.split, HeadOptions(head=head, params=params, calibrate=True))
    assert plain.predict(made.X) == calibrated.predict(made.X)
    report = calibrated.record.calibration
    assert report is not None and report["log_loss_after"] <= report["log_loss_before"] + 1e-9
    if head == "logreg":
        assert calibrated.record.metrics["log_loss"] < plain.record.metrics["log_loss"]


def test_heads_without_probabilities_of_their_own_are_always_calibrated(made: Any) -> None:
    for head in ("linear-svm", "svm"):
        record = train_head(made.X, made.y, made.split, HeadOptions(head=head)).record
        assert record.calibration is not None and record.calibration["method"] == "temperature"


def test_the_temperature_of_known_scores_is_found() -> None:
    """Labels drawn from softmax(scores / 3) are best explained at the temperature 3."""
    rng = np.random.default_rng(0)
    scores = 6 * rng.normal(size=(20_000, 3))
    exponents = np.exp(scores / 3)
    probabilities = exponents / exponents.sum(axis=1, keepdims=True)
    codes = (probabilities.cumsum(axis=1) > rng.random((20_000, 1))).argmax(axis=1)
    assert best_temperature(scores, codes, "softmax") == pytest.approx(3, rel=0.05)


def test_without_a_validation_part_the_record_says_so() -> None:
    from jdq.worker.heads.split import make_split
    from jdq.worker.heads.train import row_keys

    rng = np.random.default_rng(0)
    y = ["a", "a", "a", "b", "b", "b"]
    X = rng.normal(size=(6, 4)).astype(np.float32)
    split = make_split(y, row_keys(6))
    assert split.counts()["validation"] == 0
    record = train_head(X, y, split, HeadOptions(head="linear-svm")).record
    assert record.calibration == {"method": "none", "reason": "no validation part"}
    assert record.validation_metrics is None
    assert train_head(X, y, split, HeadOptions(head="mlp")).record.history
