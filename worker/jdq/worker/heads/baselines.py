"""Baselines that need no encoder: the most frequent class, and TF-IDF of the texts."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from jdq.worker.heads.decision import predicted_sets
from jdq.worker.heads.features import Check, FeaturesAndTexts, texts_of
from jdq.worker.heads.fitted import FitContext
from jdq.worker.heads.intervals import Interval, bootstrap
from jdq.worker.heads.labels import Targets
from jdq.worker.heads.metrics import metrics_of
from jdq.worker.heads.options import TFIDF, HeadOptions
from jdq.worker.heads.predictors import apply_link, link_of
from jdq.worker.heads.split import TEST, Rows, Split

MAJORITY = "majority"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Baseline:
    """One of the two. predicted: of the test rows, (rows,) class numbers or (rows, classes) bool."""

    name: str
    metrics: dict[str, Any]
    intervals: dict[str, Interval]
    predicted: npt.NDArray[Any]
    trained_rows: int
    wall_time_s: float


def measured_baselines(
    texts: Callable[[Rows], Sequence[str]], targets: Targets, split: Split, keys: npt.NDArray[np.uint8], check: Check
) -> list[Baseline]:
    """Both, measured on the test part; no TF-IDF if no word is in two texts.

    They choose nothing, so they are trained on all other rows. texts: of the given rows, which ascend.
    """
    context = FitContext(
        X=FeaturesAndTexts(np.zeros((targets.rows, 0), dtype=np.float32), texts),
        targets=targets,
        train=learnt_rows(split),
        validation=np.arange(0),
        options=HeadOptions(head=TFIDF),
        check=check,
        keys=keys,
    )
    test, lines = split.rows(TEST), []
    for name, fitted in ((MAJORITY, _majority), (TFIDF, _tfidf)):
        started = time.perf_counter()
        scores, learnt = fitted(context, test)
        if learnt:
            lines.append(_line(name, scores, targets, test, keys, learnt, time.perf_counter() - started))
    return lines


def learnt_rows(split: Split) -> Rows:
    """The train and the validation rows, ascending."""
    return np.flatnonzero(split.parts < TEST)


def _majority(context: FitContext, test: Rows) -> tuple[npt.NDArray[np.float32], int]:
    """The shares of the classes for every row, and of how many rows."""
    shares = (context.targets.counts(context.train) / len(context.train)).astype(np.float32)
    return np.tile(shares, (len(test), 1)), len(context.train)


def _tfidf(context: FitContext, test: Rows) -> tuple[npt.NDArray[np.float32], int]:
    """The scores of the test rows, squeezed to between 0 and 1, and how many rows were learnt: none without terms."""
    from jdq.worker.heads.tfidf import fit_svm, read_terms

    text = read_terms(context, np.random.default_rng(context.options.seed).permutation(context.train))
    if not text.terms.columns:
        return np.zeros((0, 0), dtype=np.float32), 0
    W, b = fit_svm(dataclasses.replace(context, train=text.rows), text.matrix)
    scores = (text.terms.rows(texts_of(context.X, test)) @ W + b).astype(np.float32)
    return apply_link(scores, link_of(multi_label=context.targets.multi_label)), len(text.rows)


def _line(
    name: str,
    scores: npt.NDArray[np.float32],
    targets: Targets,
    test: Rows,
    keys: npt.NDArray[np.uint8],
    trained_rows: int,
    wall_time_s: float,
) -> Baseline:
    metrics = metrics_of(targets.codes[test], scores, targets.classes)
    if name == TFIDF:  # a support vector machine has no probabilities
        metrics |= {"log_loss": None, "calibration_error": None}
    return Baseline(
        name=name,
        metrics={key: value for key, value in metrics.items() if value is None or isinstance(value, float)},
        intervals=bootstrap(targets.codes[test], scores, keys=keys[test]),
        predicted=predicted_sets(scores) if targets.multi_label else scores.argmax(axis=1),
        trained_rows=trained_rows,
        wall_time_s=round(wall_time_s, 4),
    )
