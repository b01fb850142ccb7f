"""What needs no encoder, against scikit-learn's own pipeline."""

from typing import Any

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import log_loss
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline, make_union
from sklearn.svm import LinearSVC

from jdq.worker.heads.baselines import Baseline, measured_baselines
from jdq.worker.heads.features import no_check
from jdq.worker.heads.intervals import bootstrap
from jdq.worker.heads.labels import read_targets
from jdq.worker.heads.split import TEST, make_split
from jdq.worker.heads.terms import ANALYZERS
from tests.heads.split_keys import keys_of

WORDS = {"cook": "kitchen menu chef", "nurse": "patient ward clinic", "driver": "truck route delivery"}


def measured(
    labels: Any, texts: list[str], n_keys: int = 999, **options: Any
) -> tuple[dict[str, Baseline], Any, Any, Any]:
    keys = keys_of([i % n_keys for i in range(len(texts))])
    split = make_split(labels, keys, **options)
    targets = read_targets(labels, **options)
    train, test = np.flatnonzero(split.parts != TEST), split.rows(TEST)
    lines = measured_baselines(lambda rows: [texts[row] for row in rows], targets, split, keys, no_check)
    return {line.name: line for line in lines}, targets, train, test


def data(seed: int = 0) -> tuple[list[str], list[str]]:
    rng = np.random.default_rng(seed)
    labels = [list(WORDS)[i % 3] for i in range(200)]
    every = " ".join(WORDS.values()).split()
    return labels, [" ".join(rng.choice([*WORDS[label].split(), *every], 4)) for label in labels]


def pipeline(multi_label: bool) -> Any:
    svm = OneVsRestClassifier(LinearSVC()) if multi_label else LinearSVC()
    kinds = [TfidfVectorizer(**options, min_df=2, sublinear_tf=True) for options in ANALYZERS.values()]
    return make_pipeline(make_union(*kinds), svm)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_terms_are_those_of_scikit_learns_pipeline(n_classes: int) -> None:
    labels, texts = data()
    labels = [label if n_classes == 3 or label != "driver" else "nurse" for label in labels]
    lines, targets, train, test = measured(labels, texts)
    of_train, of_test = [texts[i] for i in train], [texts[i] for i in test]
    expected = pipeline(False).fit(of_train, targets.codes[train]).predict(of_test)
    assert lines["tf-idf"].predicted.tolist() == expected.tolist()
    assert lines["tf-idf"].metrics["accuracy"] == (expected == targets.codes[test]).mean() > 0.5
    assert lines["tf-idf"].metrics["log_loss"] is None and "macro_f1" in lines["tf-idf"].intervals
    dummy = DummyClassifier().fit(of_train, targets.codes[train])
    assert lines["majority"].predicted.tolist() == dummy.predict(of_test).tolist()
    loss = log_loss(
        targets.codes[test],
        DummyClassifier(strategy="prior").fit(of_train, targets.codes[train]).predict_proba(of_test),
    )
    assert lines["majority"].metrics["log_loss"] == pytest.approx(loss, rel=1e-5)
    assert lines["majority"].trained_rows == len(train)


def test_intervals_count_a_text_that_repeats_once() -> None:
    labels, texts = data()
    for n_keys in (99, 999):
        lines, targets, train, test = measured(labels, texts, n_keys)
        shares = np.tile(targets.counts(train) / len(train), (len(test), 1)).astype(np.float32)
        of = bootstrap(targets.codes[test], shares, keys=keys_of([i % n_keys for i in test]))
        assert lines["majority"].intervals == of


def test_label_sets_have_both_lines() -> None:
    labels, texts = data()
    sets = [f"{label}|all" if i % 2 else f"{label}|all|odd" for i, label in enumerate(labels)]
    lines, targets, train, test = measured(sets, texts, label_separator="|")
    varied = [i for i, name in enumerate(targets.classes) if name != "all"]
    fitted = pipeline(True).fit([texts[i] for i in train], targets.codes[train][:, varied])
    predicted = lines["tf-idf"].predicted
    assert predicted[:, varied].tolist() == fitted.predict([texts[i] for i in test]).astype(bool).tolist()
    assert predicted[:, targets.classes.index("all")].all()
    assert lines["majority"].predicted[0].tolist() == [share >= 0.5 for share in targets.codes[train].mean(axis=0)]


def test_texts_without_a_common_term_leave_the_most_frequent_class_only() -> None:
    lines, *_ = measured(["a", "b"] * 20, [chr(0x4E00 + i) for i in range(40)])
    assert list(lines) == ["majority"]
