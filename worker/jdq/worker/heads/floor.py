"""Baselines that need no encoder: the most frequent class, and TF-IDF of the words."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from jdq.worker.heads.decision import predicted_sets
from jdq.worker.heads.features import Check
from jdq.worker.heads.intervals import Interval, bootstrap
from jdq.worker.heads.labels import Targets
from jdq.worker.heads.metrics import metrics_of
from jdq.worker.heads.predictors import apply_link, link_of
from jdq.worker.heads.split import TEST, Rows, Split

MAJORITY, TFIDF = "majority", "tf-idf"
MOST_ROWS = 100_000  # to learn words from: a minute
MOST_WORDS = 300_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FloorLine:
    """One of the two. predicted: of the test rows, (rows,) class numbers or (rows, classes) bool."""

    name: str
    metrics: dict[str, Any]
    intervals: dict[str, Interval]
    predicted: npt.NDArray[Any]
    trained_rows: int
    wall_time_s: float


def floor_lines(
    texts: Sequence[str], targets: Targets, split: Split, keys: npt.NDArray[np.uint8], check: Check
) -> list[FloorLine]:
    """Both, measured on the test part; no TF-IDF where no text has a word.

    They choose nothing, so they are trained on all other rows. texts: of these, then of the test rows.
    """
    train, test = learnt_rows(split), split.rows(TEST)
    lines = []
    for number, (name, fitted) in enumerate(((MAJORITY, _majority), (TFIDF, _tfidf))):
        check(number, 2)
        started = time.perf_counter()
        learnt = train if name == MAJORITY else _some(train)
        scores = fitted(texts[: len(train)], texts[len(train) :], targets, train, learnt)
        if scores is not None:
            lines.append(_line(name, scores, targets, test, keys, len(learnt), time.perf_counter() - started))
    return lines


def learnt_rows(split: Split) -> Rows:
    """The train and the validation rows, ascending."""
    return np.flatnonzero(split.parts < TEST)


def _some(rows: Rows) -> Rows:
    if len(rows) <= MOST_ROWS:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, MOST_ROWS, replace=False))


def _majority(
    _texts: Sequence[str], tested: Sequence[str], targets: Targets, _train: Rows, learnt: Rows
) -> npt.NDArray[np.float32]:
    """The shares of the classes, for every row."""
    shares = (targets.counts(learnt) / len(learnt)).astype(np.float32)
    return np.tile(shares, (len(tested), 1))


def _tfidf(
    texts: Sequence[str], tested: Sequence[str], targets: Targets, train: Rows, learnt: Rows
) -> npt.NDArray[np.float32] | None:
    """A linear support vector machine on words and pairs of words, its scores squeezed to between 0 and 1."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.svm import LinearSVC

    vectorizer = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), max_features=MOST_WORDS, token_pattern=r"\w+")
    places = np.searchsorted(train, learnt)
    try:
        words = vectorizer.fit_transform([texts[place] for place in places])
    except ValueError:  # no text has a word
        return None
    codes = targets.codes[learnt]
    n_classes = len(targets.classes)
    present = np.flatnonzero(targets.counts(learnt) > 0)
    if targets.multi_label:
        varied = present[targets.counts(learnt)[present] < len(learnt)]
        fitted = OneVsRestClassifier(LinearSVC()).fit(words, codes[:, varied])
        scores = np.full((len(tested), n_classes), -9.0, dtype=np.float32)
        scores[:, np.setdiff1d(present, varied)] = 9.0
        scores[:, varied] = fitted.decision_function(vectorizer.transform(tested)).reshape(len(tested), -1)
    else:
        found = LinearSVC().fit(words, codes).decision_function(vectorizer.transform(tested))
        scores = np.full((len(tested), n_classes), -99.0, dtype=np.float32)
        scores[:, present] = found if found.ndim == 2 else np.stack([-found, found], axis=1)
    return apply_link(scores, link_of(multi_label=targets.multi_label))


def _line(
    name: str,
    scores: npt.NDArray[np.float32],
    targets: Targets,
    test: Rows,
    keys: npt.NDArray[np.uint8],
    trained_rows: int,
    wall_time_s: float,
) -> FloorLine:
    metrics = metrics_of(targets.codes[test], scores, targets.classes)
    if name == TFIDF:  # a support vector machine has no probabilities
        metrics |= {"log_loss": None, "calibration_error": None}
    return FloorLine(
        name=name,
        metrics={key: value for key, value in metrics.items() if value is None or isinstance(value, float)},
        intervals=bootstrap(targets.codes[test], scores, keys=keys[test]),
        predicted=predicted_sets(scores) if targets.multi_label else scores.argmax(axis=1),
        trained_rows=trained_rows,
        wall_time_s=round(wall_time_s, 4),
    )
