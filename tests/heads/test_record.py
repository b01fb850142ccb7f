"""What a trained head says about itself."""

import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import pytest

from jdq.worker.heads import record as record_module
from jdq.worker.heads.decision import best_thresholds
from jdq.worker.heads.errors import BadSplit, OneClassOnly, WrongFeatures
from jdq.worker.heads.fitted import row_keys
from jdq.worker.heads.fitting import fit, measure, probabilities_of
from jdq.worker.heads.head import TrainedHead
from jdq.worker.heads.intervals import bootstrap
from jdq.worker.heads.labels import read_targets
from jdq.worker.heads.metrics import metrics_of
from jdq.worker.heads.options import HeadOptions
from jdq.worker.heads.record import Origin, installed_versions
from jdq.worker.heads.split import TEST, VALIDATION, make_split
from jdq.worker.heads.train import make_fit_context, train_head


def test_every_field_of_the_record_is_that_of_its_training(made: Any) -> None:
    options = HeadOptions(head="linear-svm", seed=3, class_weight="balanced", params={"C": 0.2}, cv=2, per_class=20)
    before = datetime.now(UTC).replace(microsecond=0)
    trained = train_head(made.X, made.y, made.split, options, keys=made.keys)
    record, codes = trained.record, read_targets(made.y).codes
    assert before <= datetime.fromisoformat(record.created_at) <= datetime.now(UTC)
    assert record.created_at.endswith("+00:00") and len(record.created_at) == len("2026-01-01T00:00:00+00:00")
    assert 0 < record.wall_time_s < 60 and record.wall_time_s == round(record.wall_time_s, 4)
    assert (record.head, record.seed, record.classes, record.dim) == (
        "linear-svm", 3, ("class 0", "class 1", "class 2", "class 3"), 16,
    )  # fmt: skip
    assert (record.trained_rows, record.per_class, record.class_weight) == (80, 20, "balanced")
    assert (record.multi_label, record.label_separator, record.out_of_core, record.device) == (
        False, None, False, "cpu",
    )  # fmt: skip
    assert record.params == {"C": 0.2, "max_iter": 5000, "scale": True} and record.history == []
    assert record.split_digest == made.split.digest and record.rows == made.split.counts()
    assert record.warnings == made.split.warnings and record.origin == Origin() and record.search is None
    assert record.cv is not None and record.cv["folds"] == 2
    assert record.calibration is not None and record.calibration["method"] == "temperature"
    probabilities = trained.predict_proba(made.X)
    for rows, found in (
        (made.split.rows(TEST), record.metrics),
        (made.split.rows(VALIDATION), record.validation_metrics),
    ):
        expected = metrics_of(codes[rows], probabilities[rows], record.classes)
        assert found is not None and found.keys() == expected.keys()
        assert found["log_loss"] == pytest.approx(expected["log_loss"]) and found["confusion"] == expected["confusion"]
    test = made.split.rows(TEST)
    assert record.intervals == bootstrap(codes[test], probabilities[test], keys=made.keys[test])
    assert record.versions == installed_versions()


def test_warnings_of_the_split_come_before_those_of_the_training(made: Any) -> None:
    y, keys = made.y.copy(), made.keys
    y[0] = "rare"
    split = make_split(y, keys)
    record = train_head(made.X, y, split, HeadOptions(params={"max_iter": 2})).record
    assert record.warnings == (
        *split.warnings, "stopped after 2 iterations, before it converged: --param max_iter=4",
    )  # fmt: skip
    assert len(split.warnings) == 1


def test_label_sets_have_thresholds_from_the_validation_part_and_intervals_by_them(made: Any) -> None:
    y = np.array([f"{name}|x" if name == "class 1" else name for name in made.y], dtype=object)
    trained = train_head(made.X, y, made.split, HeadOptions(label_separator="|"))
    record, codes, probabilities = (
        trained.record,
        read_targets(y, label_separator="|").codes,
        trained.predict_proba(made.X),
    )
    test, validation = made.split.rows(TEST), made.split.rows(VALIDATION)
    assert (record.multi_label, record.label_separator) == (True, "|")
    assert record.thresholds == pytest.approx(best_thresholds(codes[validation], probabilities[validation]))
    assert record.intervals == bootstrap(codes[test], probabilities[test], thresholds=record.thresholds)
    assert record.metrics == metrics_of(codes[test], probabilities[test], record.classes, record.thresholds)


def test_label_sets_are_predicted_as_cells_of_the_heads_own_separator(made: Any) -> None:
    y = np.array([f"{name};x" if name == "class 1" else name for name in made.y], dtype=object)
    trained = train_head(made.X, y, made.split, HeadOptions(label_separator=";"))
    sets = trained.predict_proba(made.X) >= np.array(trained.record.thresholds)
    assert trained.predict(made.X) == [";".join(np.array(trained.classes)[row]) for row in sets]
    assert "class 1;x" in trained.predict(made.X)


def test_the_versions_are_those_that_are_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("jdq", "numpy", "scikit-learn", "torch", "skops", "safetensors")
    assert installed_versions() == {"python": platform.python_version()} | {name: version(name) for name in names}

    def missing(name: str) -> str:
        if name == "numpy":
            raise PackageNotFoundError
        return "1"

    monkeypatch.setattr(record_module, "version", missing)
    assert list(installed_versions()) == ["python", "jdq", "scikit-learn", "torch", "skops", "safetensors"]


def test_every_row_has_a_key_of_its_own() -> None:
    keys = row_keys(70_000)
    assert keys.shape == (70_000, 16) and keys.dtype == np.uint8
    assert (keys[:, :8].copy().view(np.uint64)[:, 0] == np.arange(70_000)).all() and not keys[:, 8:].any()


@pytest.mark.parametrize("short", ["X", "y", "parts", "keys"])
def test_numbers_of_rows_that_differ_are_refused(made: Any, short: str) -> None:
    rows = {"X": 300, "y": 300, "parts": 300, "keys": 300, short: 299}
    split = make_split(made.y[: rows["parts"]], made.keys[: rows["parts"]])
    with pytest.raises(BadSplit) as caught:
        train_head(made.X[: rows["X"]], made.y[: rows["y"]], split, keys=made.keys[: rows["keys"]])
    assert str(caught.value) == (
        f"{rows['X']} rows of features, {rows['y']} labels, {rows['keys']} text keys "
        f"and a split of {rows['parts']} rows"
    )


def context_of(made: Any, check: Any = lambda *_: None, **options: Any) -> Any:
    return make_fit_context(made.X, read_targets(made.y), made.split, HeadOptions(**options), made.keys, check)


def test_training_is_checked_before_and_after(made: Any) -> None:
    called: list[tuple[int, int]] = []
    fit(context_of(made, lambda *counts: called.append(counts), head="dummy"))
    assert called == [(0, 1), (1, 1)]


def test_one_class_to_train_on_is_refused_with_the_number_of_rows(made: Any) -> None:
    parts = np.where(made.y == "class 1", 0, 2).astype(np.uint8)
    split = type(made.split)(parts=parts, seed=0, test=0.2, validation=0.1, distinct_texts=300, warnings=())
    context = make_fit_context(made.X, read_targets(made.y), split, HeadOptions(), made.keys, lambda *_: None)
    with pytest.raises(OneClassOnly) as caught:
        fit(context)
    assert str(caught.value) == f"the {(parts == 0).sum()} rows to train on have one class only"


def test_no_rows_have_no_metrics(made: Any) -> None:
    context = context_of(made)
    predictor = fit(context).predictor
    assert measure(predictor, made.X, context.targets, np.arange(0)) == {}
    rows = np.array([5, 3, 200])
    found = probabilities_of(predictor, made.X, rows)
    assert np.allclose(found, predictor.predict_block(made.X[rows].astype(np.float32)), atol=1e-6)


@pytest.mark.parametrize("shape", [(4, 15), (4, 17), (16,), (2, 4, 16)])
def test_features_of_another_shape_are_refused(made: Any, shape: tuple[int, ...]) -> None:
    trained: TrainedHead = train_head(made.X, made.y, made.split, HeadOptions(head="dummy"))
    with pytest.raises(WrongFeatures) as caught:
        trained.predict(np.zeros(shape, dtype=np.float32))
    assert str(caught.value) == f"the head takes features of width 16; these have the shape {shape}"


def test_cancelling_a_cross_validation_stops_it(made: Any) -> None:
    called: list[tuple[int, int]] = []
    train_head(made.X, made.y, made.split, HeadOptions(head="dummy", cv=3), check=lambda *c: called.append(c))
    assert called == [(0, 3), (0, 1), (1, 1), (1, 3), (0, 1), (1, 1), (2, 3), (0, 1), (1, 1), (0, 1), (1, 1)]


def test_equal_texts_are_told_by_their_keys(made: Any) -> None:
    """Without keys each row counts as a text of its own."""
    keys = np.zeros_like(made.keys)
    options = HeadOptions(head="dummy", per_class=2)
    assert train_head(made.X, made.y, made.split, options).record.trained_rows == 8
    with pytest.raises(OneClassOnly, match="the 1 rows"):
        train_head(made.X, made.y, made.split, options, keys=keys)
