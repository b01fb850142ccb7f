"""A head that reads texts beside features: the same probabilities from every way that a text takes to it."""

import shutil
from typing import Any

import numpy as np
import pytest

from jdq.store.trained import Heads
from jdq.worker.heads.features import with_texts
from jdq.worker.heads.files import load_head
from jdq.worker.jobs.classifier import load_classifier
from jdq.worker.jobs.evaluate import evaluate
from jdq.worker.jobs.report import page_of
from tests.jobs.cases import csv_of, extracted, labelled, trained
from tests.jobs.conftest import Workplace
from tests.jobs.test_predict import predicted, table_of


@pytest.fixture
def version(workplace: Workplace) -> Any:
    return extracted(workplace, csv_of(labelled(60)))


def test_a_text_has_the_same_probabilities_in_a_table_by_itself_and_in_a_report(
    workplace: Workplace, version: Any
) -> None:
    job = trained(workplace, version, head="hybrid").id
    head = load_head(Heads(workplace.store.root).path(job))
    features = workplace.store.open_space(head.record.origin.space).rows(version.keys())
    expected = head.predict_proba(with_texts(features, version.texts()))
    assert head.record.choice is not None and head.record.choice["terms"] > 0

    rows = table_of(workplace, predicted(workplace, job, [("posting number 3", "x"), ("posting number 7", "y")]))
    found = np.array([[float(row[f"probability_{name}"]) for name in "abc"] for row in rows])
    assert np.allclose(found, expected[[3, 7]], atol=1e-4)

    classifier = load_classifier(workplace.store, job, None, "cpu")
    [answer] = classifier.predictions(["posting number 7"])
    assert answer["probabilities"] == pytest.approx(dict(zip("abc", expected[7].tolist(), strict=True)), abs=1e-4)
    accuracy = float(np.mean(np.array(head.classes)[expected.argmax(axis=1)] == version.labels()))
    assert evaluate(classifier, version, None)["accuracy"] == pytest.approx(accuracy)
    assert "hybrid on table" in page_of(workplace.store, job)


def test_a_head_that_reads_only_words_needs_neither_encoder_nor_features(workplace: Workplace, version: Any) -> None:
    for kind, reads in (("tf-idf", False), ("logreg", True), ("knn", True)):
        job = trained(workplace, version, head=kind).id
        assert load_head(Heads(workplace.store.root).path(job)).predictor.reads_features is reads
    job = trained(workplace, version, head="tf-idf").id
    head = load_head(Heads(workplace.store.root).path(job))
    features = workplace.store.open_space(head.record.origin.space).rows(version.keys())
    expected = head.predict_proba(with_texts(features, version.texts()))
    shutil.rmtree(workplace.store.root / "spaces")

    done = predicted(workplace, job, [("posting number 3", "x"), ("posting number 7 and " * 900, "y")])
    found = [float(row["probability_a"]) for row in table_of(workplace, done)]
    assert done.counts["texts_done"] == 2 and not done.counts.get("computed")
    assert found[0] == pytest.approx(expected[3, 0], abs=1e-4)

    classifier = load_classifier(workplace.store, job, None, "cpu")
    first, long = classifier.predictions(["posting number 3", "posting number 7 and " * 900])
    assert first["probabilities"]["a"] == pytest.approx(found[0], abs=1e-4)
    assert first["warnings"] == [] and long["warnings"] == []
    assert long["probabilities"]["a"] == pytest.approx(found[1], abs=1e-4)
    assert evaluate(classifier, version, None)["rows"] == 60
