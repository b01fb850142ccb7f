"""A head measured on further splits: each value is that of a head which was trained and tested on that split."""

import dataclasses
from typing import Any

import msgspec
import numpy as np

from jdq.worker.heads.crossval import summary
from jdq.worker.heads.options import METRICS, HeadOptions
from jdq.worker.heads.repeats import over_splits
from jdq.worker.heads.split import TEST, make_split
from jdq.worker.heads.train import train_head

KIND = "sklearn.naive_bayes.GaussianNB"


def over(made: Any, y: Any, options: HeadOptions, repeats: int, **more: Any) -> tuple[Any, Any]:
    """A head's own metrics, and what is recorded of it over so many splits."""
    of = {"keys": made.keys, "allowed": [KIND]}
    head = train_head(made.X, y, make_split(y, made.keys, label_separator=options.label_separator), options, **of)
    none = {"groups": None, "learnt": lambda _: np.zeros(len(y), bool), "check": lambda *_: None}
    found = over_splits(head, made.X, y, options, repeats=repeats, **of, **{**none, **more})
    assert found.predictor is head.predictor
    assert msgspec.structs.replace(found.record, repeats=head.record.repeats) == head.record
    return head.record.metrics, found.record.repeats


def test_each_split_keeps_groups_together_and_measures_only_rows_that_nobody_has_learnt(made: Any) -> None:
    groups, learnt = np.array([f"g{row % 90}" for row in range(300)]), np.arange(300) % 7 == 0
    asked: list[Any] = []
    options = HeadOptions(head=KIND, per_class=30, cv=2)
    own, found = over(
        made, made.y, options, 3, groups=groups, learnt=lambda _: learnt, check=lambda *n: asked.append(n)
    )
    values = [own]
    for seed in (1, 2):
        split = make_split(made.y, made.keys, seed=seed, groups=groups)
        parts = np.where((split.parts == TEST) & learnt, 3, split.parts).astype(np.uint8)
        once = HeadOptions(head=KIND, per_class=30)
        measured = train_head(
            made.X, made.y, dataclasses.replace(split, parts=parts), once, keys=made.keys, allowed=[KIND]
        )
        values.append(measured.record.metrics)
    assert found["splits"] == 3
    assert found["metrics"]["macro_f1"] == summary([of["macro_f1"] for of in values])
    assert found["metrics"].keys() == {name for name in METRICS if own.get(name) is not None}
    assert asked
    assert not any(total == 2 for _, total in asked)  # no cross-validation


def test_label_sets_are_divided_and_measured_as_sets(made: Any) -> None:
    y = np.array(["a|b" if row % 3 else "b" if row % 2 else "a" for row in range(300)], object)
    own, found = over(made, y, HeadOptions(head="logreg", label_separator="|"), 2)
    assert found["metrics"]["micro_f1"]["folds"][0] == own["micro_f1"]
    assert len(found["metrics"]["micro_f1"]["folds"]) == 2
    assert "balanced_accuracy" not in found["metrics"]


def test_a_metric_that_one_split_lacks_is_left_out(made: Any) -> None:
    own, found = over(made, made.y, HeadOptions(head="dummy"), 2, learnt=lambda _: made.y != "class 0")
    assert own["roc_auc"] is not None
    assert "roc_auc" not in found["metrics"]
    assert "accuracy" in found["metrics"]
