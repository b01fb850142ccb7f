"""Choosing the probabilities of `certainty`, and applying them.

Sets are those of split conformal prediction with the score 1 - p (Sadinle, Lei and Wasserman, 2019, "Least Ambiguous
Set-Valued Classifiers With Bounded Error Levels"); where rows have several labels, of conformal risk control of the
share that is missed (Angelopoulos et al., 2022, "Conformal Risk Control"). A row's rank among n others is uniform,
hence n + 1; rows of one text are right or wrong together, so n is what the texts are worth (Kish's effective size).
Labels are given above the lowest probability at which so many are right with a confidence of 90 % (Clopper and
Pearson's bound, as in Geifman and El-Yaniv, 2017, "Selective Classification for Deep Neural Networks").
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import beta

from jdq.worker.heads.certainty import PERCENTS, Certainty, Requested
from jdq.worker.heads.decision import predicted_labels, predicted_sets
from jdq.worker.heads.intervals import Interval, effective_rows, share_interval
from jdq.worker.heads.options import LABEL_SEPARATOR
from jdq.worker.heads.split import Rows, group_numbers

CONFIDENCE = 0.9
LEVELS = np.array(PERCENTS) / 100
ROUNDING = 1e-9
Floats = npt.NDArray[np.float64]


def choose_certainty(
    codes: npt.NDArray[Any],
    probabilities: npt.NDArray[Any],
    keys: npt.NDArray[np.uint8],
    thresholds: Sequence[float] = (),
) -> Certainty | None:
    """By rows that the classifier did not learn from; None without any, or where none has a label.

    codes: (rows,) classes, or (rows, classes) bool. probabilities: (rows, classes). keys: (rows, 16) text keys.
    thresholds: of label sets, as in `predicted_sets`.
    """
    if not len(codes) or (codes.ndim == 2 and not codes.any()):
        return None
    text_of = group_numbers(keys)
    texts = effective_rows(text_of)
    return Certainty(
        rows=len(codes),
        texts=round(texts, 1),
        answers=_least_to_answer(codes, probabilities, thresholds, texts / len(codes)),
        sets=_least_in_set(codes, probabilities, text_of),
    )


def _labels_of(rows: npt.NDArray[Any]) -> tuple[Rows, Rows]:
    """(row, class) of each label, rows ascending; of (rows,) classes, or (rows, classes) bool."""
    if rows.ndim == 1:
        return np.arange(len(rows)), rows
    of_rows, labels = np.nonzero(rows)
    return of_rows, labels


def _given(
    codes: npt.NDArray[Any], probabilities: npt.NDArray[Any], thresholds: Sequence[float], least: float = 0.0
) -> tuple[Rows, Rows, npt.NDArray[np.bool_]]:
    """(row, class, whether it is right) of each predicted label that is at least so probable."""
    rows, labels = _labels_of(predicted_sets(probabilities, thresholds) if codes.ndim == 2 else probabilities.argmax(1))
    enough = probabilities[rows, labels] >= least
    rows, labels = rows[enough], labels[enough]
    return rows, labels, codes[rows, labels].astype(bool) if codes.ndim == 2 else codes[rows] == labels


def _least_in_set(codes: npt.NDArray[Any], probabilities: npt.NDArray[Any], text_of: Rows) -> tuple[float, ...]:
    """For each level the largest probability that this share of a row's labels reach, in the mean of the rows.

    Over the rows that have a label, and a row more. A label of a text counts in all of its rows, so the share is
    that nearest to the level.
    """
    rows, labels = _labels_of(codes)
    _, first, label_of, repeats = np.unique(
        text_of[rows] * probabilities.shape[1] + labels, return_index=True, return_inverse=True, return_counts=True
    )
    share = np.bincount(label_of, weights=1 / np.bincount(rows)[rows])
    reached = probabilities[rows[first], labels[first]].astype(np.float64)
    order = np.argsort(-reached, kind="stable")
    counted = np.cumsum(share[order]) + (share - share / repeats)[order] / 2
    labelled = np.unique(rows)
    needed = LEVELS * len(labelled) * (1 + 1 / effective_rows(text_of[labelled]))
    enough = counted >= needed[:, None] - ROUNDING
    possible = needed <= len(labelled) + ROUNDING
    return tuple(np.where(possible, reached[order][enough.argmax(axis=1)], 0.0).tolist())


def _least_to_answer(
    codes: npt.NDArray[Any], probabilities: npt.NDArray[Any], thresholds: Sequence[float], per_row: float
) -> tuple[float | None, ...]:
    """For each level the lowest probability above which this share is right, but for a chance of 1 - CONFIDENCE.

    Labels of one row are right or wrong together, so they count as many as the rows are worth, `per_row` each.
    """
    rows, labels, right = _given(codes, probabilities, thresholds)
    order = np.argsort(-probabilities[rows, labels], kind="stable")
    ordered = probabilities[rows, labels][order].astype(np.float64)
    is_first = np.zeros(len(order))
    is_first[np.unique(rows[order], return_index=True)[1]] = per_row
    n_answered = np.cumsum(is_first)
    n_wrong = np.cumsum(~right[order]) / np.arange(1, len(order) + 1) * n_answered
    most_wrong = beta.ppf(CONFIDENCE, n_wrong + 1, np.maximum(n_answered - n_wrong, ROUNDING))
    most_wrong[:-1][ordered[:-1] == ordered[1:]] = 1.0  # equal probabilities are on one side
    last = [np.flatnonzero(most_wrong <= 1 - level)[-1:] for level in LEVELS]
    return tuple(float(ordered[place[0]]) if len(place) else None for place in last)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certain:
    """The probabilities that a prediction must reach; None for none."""

    least_to_answer: float | None = None
    least_in_set: float | None = None

    def sets(self, probabilities: npt.NDArray[Any], classes: Sequence[str]) -> list[str] | None:
        """Each row's set as a cell: its labels, joined by the separator; None if no sets were requested."""
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


def certainty_of_rows(
    codes: npt.NDArray[Any],
    probabilities: npt.NDArray[Any],
    keys: npt.NDArray[np.uint8],
    certain: Certain,
    thresholds: Sequence[float] = (),
) -> dict[str, Any]:
    """How well the promise is kept on other rows; each share with its 95 % interval as `..._interval`.

    answered: the share of rows with a label. right: of these labels, the share that is right; None if there are
    none. covered: the share of a row's labels that is in its set, in the mean of the rows that have one. set_size: the
    mean size of the sets. empty: the share of empty ones. A class that the classifier does not know, whose probability
    is 0, is in no set.
    """
    assert certain.least_to_answer is not None
    assert certain.least_in_set is not None
    given, _, right = _given(codes, probabilities, thresholds, certain.least_to_answer)
    sets = (probabilities >= certain.least_in_set) & (probabilities > 0)
    rows, labels = _labels_of(codes)
    n_labels, n_covered = np.bincount(rows), np.bincount(rows, weights=sets[rows, labels])
    labelled = np.flatnonzero(n_labels)
    answered = np.isin(np.arange(len(codes)), given)
    text_of, sizes = group_numbers(keys), sets.sum(axis=1)
    shares = {
        "answered": _share(answered, text_of),
        "right": _share(right, text_of[given]),
        "covered": _share(n_covered[labelled] / n_labels[labelled], text_of[labelled]),
    }
    measured = {name: share for name, (share, _) in shares.items()}
    intervals = {f"{name}_interval": interval for name, (_, interval) in shares.items()}
    return {**measured, **intervals, "set_size": float(sizes.mean()), "empty": float((sizes == 0).mean())}


def _share(values: npt.NDArray[Any], text_of: Rows) -> tuple[float | None, Interval | None]:
    """The mean of the values, and its interval over the texts."""
    return (float(values.mean()), share_interval(values, text_of)) if len(values) else (None, None)
