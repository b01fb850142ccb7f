"""Choosing the probabilities of `certainty`, and applying them.

Sets are those of split conformal prediction with the score 1 - p (Sadinle, Lei and Wasserman, 2019, "Least Ambiguous
Set-Valued Classifiers With Bounded Error Levels"). A row's rank among n others is uniform, hence n + 1; rows of one
text are right or wrong together, so n is what the texts are worth (Kish's effective size). Labels are given above the
lowest probability at which so many are right with a confidence of 90 % (Clopper and Pearson's bound, as in Geifman and
El-Yaniv, 2017, "Selective Classification for Deep Neural Networks").
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import beta

from jdq.worker.heads.certainty import PERCENTS, Certainty, Requested
from jdq.worker.heads.decision import predicted_labels
from jdq.worker.heads.intervals import Interval, bootstrap, effective_rows
from jdq.worker.heads.options import LABEL_SEPARATOR
from jdq.worker.heads.split import group_numbers

CONFIDENCE = 0.9
LEVELS = np.array(PERCENTS) / 100
Floats = npt.NDArray[np.float64]


def choose_certainty(
    codes: npt.NDArray[Any], probabilities: npt.NDArray[Any], keys: npt.NDArray[np.uint8]
) -> Certainty | None:
    """By rows that the classifier did not learn from; None without any.

    codes: (rows,) classes. probabilities: (rows, classes). keys: (rows, 16) text keys.
    """
    if not len(codes):
        return None
    texts = effective_rows(group_numbers(keys))
    true = probabilities[np.arange(len(codes)), codes].astype(np.float64)
    best, right = probabilities.max(axis=1).astype(np.float64), probabilities.argmax(axis=1) == codes
    return Certainty(
        rows=len(codes),
        texts=round(texts, 1),
        answers=_least_to_answer(best, right, texts),
        sets=_least_in_set(true, texts),
    )


def _least_in_set(true: Floats, texts: float) -> tuple[float, ...]:
    """For each level the largest probability that this share of the rows, and a row more, reach with their class."""
    ordered = np.sort(true)[::-1]
    needed = np.ceil(LEVELS * (texts + 1) / texts * len(true) - 1e-9).astype(np.intp)
    reached = np.where(needed <= len(true), ordered[np.minimum(needed, len(true)) - 1], 0.0)
    return tuple(reached.tolist())


def _least_to_answer(best: Floats, right: npt.NDArray[np.bool_], texts: float) -> tuple[float | None, ...]:
    """For each level the lowest probability above which this share is right, but for a chance of 1 - CONFIDENCE."""
    order = np.argsort(-best, kind="stable")
    ordered, per_row = best[order], texts / len(order)
    n_answered, n_wrong = np.arange(1, len(order) + 1) * per_row, np.cumsum(~right[order]) * per_row
    most_wrong = beta.ppf(CONFIDENCE, n_wrong + 1, np.maximum(n_answered - n_wrong, 1e-9))
    most_wrong[:-1][ordered[:-1] == ordered[1:]] = 1.0  # equal probabilities are on one side
    last = [np.flatnonzero(most_wrong <= 1 - level)[-1:] for level in LEVELS]
    return tuple(float(ordered[place[0]]) if len(place) else None for place in last)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certain:
    """The probabilities that a prediction was asked for; None for none."""

    least_to_answer: float | None = None
    least_in_set: float | None = None

    def answers(self, labels: list[str], probabilities: npt.NDArray[Any]) -> list[str]:
        """The labels, with "" for a row whose best class is not probable enough."""
        if self.least_to_answer is None:
            return labels
        enough = answered(probabilities, self.least_to_answer)
        return [label if sure else "" for label, sure in zip(labels, enough.tolist(), strict=True)]

    def sets(self, probabilities: npt.NDArray[Any], classes: Sequence[str]) -> list[str] | None:
        """Each row's set as a cell: its labels, joined by the separator; None where no sets were asked for."""
        if self.least_in_set is None:
            return None
        return predicted_labels(
            probabilities,
            classes,
            multi_label=True,
            label_separator=LABEL_SEPARATOR,
            thresholds=(self.least_in_set,),
        )


def certain(requested: Requested, certainty: Certainty | None) -> Certain:
    """The probabilities of these levels. The request was checked by `check_requested`."""
    if certainty is None:
        return Certain()
    at, sets = requested.abstain_at, requested.sets
    return Certain(
        least_to_answer=None if at is None else certainty.least_to_answer(at),
        least_in_set=None if sets is None else certainty.least_in_set(sets),
    )


def answered(probabilities: npt.NDArray[Any], least: float) -> npt.NDArray[np.bool_]:
    """(rows,): whether the best class is probable enough."""
    reached: npt.NDArray[np.bool_] = probabilities.max(axis=1) >= least
    return reached


def certainty_of_rows(
    codes: npt.NDArray[Any], probabilities: npt.NDArray[Any], keys: npt.NDArray[np.uint8], certain: Certain
) -> dict[str, Any]:
    """What was promised, measured on other rows; each share with its 95 % interval as `..._interval`.

    answered: the share of rows with a label. right: of these, the share that is right; None where there are none.
    covered: the share of sets with the right label. set_size: their mean size. empty: the share of empty sets.
    A class that the classifier does not know, whose probability is 0, is in no set.
    """
    assert certain.least_to_answer is not None
    assert certain.least_in_set is not None
    answers = answered(probabilities, certain.least_to_answer)
    right = probabilities.argmax(axis=1) == codes
    sets = (probabilities >= certain.least_in_set) & (probabilities > 0)
    sizes = sets.sum(axis=1)
    shares = {
        "answered": _share(answers, keys),
        "right": _share(right[answers], keys[answers]),
        "covered": _share(sets[np.arange(len(codes)), codes], keys),
    }
    measured = {name: share for name, (share, _) in shares.items()}
    intervals = {f"{name}_interval": interval for name, (_, interval) in shares.items()}
    return {**measured, **intervals, "set_size": float(sizes.mean()), "empty": float((sizes == 0).mean())}


def _share(hits: npt.NDArray[np.bool_], keys: npt.NDArray[np.uint8]) -> tuple[float | None, Interval | None]:
    """The share of the rows that hit, and its interval over the texts."""
    if not len(hits):
        return None, None
    as_accuracy = np.stack([hits, ~hits], axis=1).astype(np.float32)
    interval = bootstrap(np.zeros(len(hits), dtype=np.intp), as_accuracy, keys=keys)["accuracy"]
    return float(hits.mean()), interval
