"""Label sets, few-shot sampling and intervals."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jdq.worker.heads.files import load_head, save_head
from jdq.worker.heads.intervals import bootstrap
from jdq.worker.heads.labels import read_targets
from jdq.worker.heads.options import HeadOptions
from jdq.worker.heads.sampling import per_class_rows
from jdq.worker.heads.split import make_split
from jdq.worker.heads.train import train_head


@pytest.fixture(scope="module")
def sets() -> tuple[Any, Any, Any]:
    """Features whose first three columns say which of three labels a row has."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 8)).astype(np.float16)
    names = np.array(["go", "python", "sql"])
    y = np.array(["|".join(names[row[:3] > 0.3]) for row in X], dtype=object)
    keys = rng.integers(0, 256, (300, 16)).astype(np.uint8)
    return X, y, make_split(y, keys, label_separator="|")


@pytest.mark.parametrize("head", ["logreg", "linear-svm", "svm", "mlp", "random-forest", "dummy"])
def test_label_sets_are_learnt_and_come_back_joined(sets: Any, head: str, tmp_path: Path) -> None:
    X, y, split = sets
    quick: dict[str, Any] = {"random-forest": {"n_estimators": 30}, "mlp": {"learning_rate": 0.01}}
    params = quick.get(head, {})
    trained = train_head(X, y, split, HeadOptions(head=head, label_separator="|", params=params))
    assert trained.record.multi_label and trained.classes == ("go", "python", "sql")
    assert trained.record.metrics["macro_f1"] > 0.8 or head == "dummy"
    assert set(trained.predict(X)) <= {"", *y} or head == "random-forest"
    path = tmp_path / "head.safetensors"
    path.write_bytes(save_head(trained))
    assert load_head(path).predict(X) == trained.predict(X)


def test_label_sets_out_of_core_equal_those_in_memory(sets: Any) -> None:
    X, y, split = sets
    inside, outside = (
        train_head(
            X, y, split, HeadOptions(label_separator="|", params={"tol": 1e-6}, memory_bytes=size)
        ).predict_proba(X)
        for size in (1 << 30, 100)
    )
    assert np.abs(inside - outside).max() < 2e-3


def test_few_shot_sampling_takes_that_many_texts_of_each_class(made: Any) -> None:
    targets = read_targets(made.y)
    rows = per_class_rows(targets, np.arange(300), 8, seed=0, keys=made.keys)
    assert np.bincount(targets.codes[rows]).tolist() == [8, 8, 8, 8]
    assert (np.diff(rows) > 0).all()
    assert not np.array_equal(rows, per_class_rows(targets, np.arange(300), 8, seed=1, keys=made.keys))
    same = made.keys.copy()
    same[:] = made.keys[0]
    assert len(per_class_rows(targets, np.arange(300), 8, seed=0, keys=same)) == 1


def test_a_few_shot_head_says_how_little_it_saw(made: Any) -> None:
    record = train_head(made.X, made.y, made.split, HeadOptions(per_class=3), keys=made.keys).record
    assert record.trained_rows == 12 and record.per_class == 3 and record.rows["train"] > 200


def test_intervals_hold_the_value_and_narrow_with_more_rows() -> None:
    rng = np.random.default_rng(0)

    def of(rows: int) -> dict[str, tuple[float, float]]:
        true = rng.integers(0, 3, rows)
        probabilities = rng.dirichlet(np.ones(3), rows)
        probabilities[np.arange(rows), true] += 0.5
        return bootstrap(true, probabilities / probabilities.sum(axis=1, keepdims=True))

    few, many = of(100), of(10_000)
    assert few.keys() == many.keys() == {
        "accuracy", "precision", "recall", "f1", "macro_precision", "macro_recall", "macro_f1", "roc_auc"
    }  # fmt: skip
    for name in few:
        assert many[name][1] - many[name][0] < 0.25 * (few[name][1] - few[name][0])


def test_the_accuracys_interval_is_the_binomials() -> None:
    """Of 200 rows with 150 right, the standard error is sqrt(0.75 x 0.25 / 200)."""
    true = np.array([0, 1] * 100)
    probabilities = np.eye(2)[np.where(np.arange(200) < 150, true, 1 - true)]
    low, high = bootstrap(true, probabilities)["accuracy"]
    assert low == pytest.approx(0.75 - 1.96 * 0.0306, abs=0.015) and high == pytest.approx(
        0.75 + 1.96 * 0.0306, abs=0.015
    )


def test_the_intervals_are_in_the_record(made: Any) -> None:
    record = train_head(made.X, made.y, made.split).record
    low, high = record.intervals["accuracy"]
    assert low <= record.metrics["accuracy"] <= high
