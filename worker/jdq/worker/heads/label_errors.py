"""Confident learning: which rows probably have a wrong label, by probabilities of a head that did not learn from them.

Northcutt, Jiang and Chuang (2021), "Confident Learning: Estimating Uncertainty in Dataset Labels". A row is counted as
class j where its probability of j is at least the mean probability of j over the rows that are labelled j; rows that
are counted as another class than their own are the suspects. A test compares the numbers with cleanlab's.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

ROUNDING = 1e-6  # a probability this far below a threshold reaches it


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Suspects:
    """Rows whose label is probably wrong, the least probable label first.

    rows: (n,) positions. suggested: (n,) classes, of label sets (n, classes) bool. given_probability: of the label that
    the row has; of label sets, of the least probable answer to whether it has a label. suggested_probability: of what
    is suggested in its place. estimated: about how many labels are wrong, suspects or not.
    """

    rows: Rows
    suggested: npt.NDArray[Any]
    given_probability: Floats
    suggested_probability: Floats
    estimated: float


def find_suspects(
    codes: npt.NDArray[Any], probabilities: npt.NDArray[Any], known: npt.NDArray[np.bool_] | None = None
) -> Suspects:
    """codes: (rows,) classes or (rows, classes) bool. probabilities: (rows, classes), by heads without the row.

    known: (rows, classes), which classes the row's head could learn; a row is no suspect for a label that it could not.
    """
    probabilities = probabilities.astype(np.float64)
    known = np.ones(probabilities.shape, dtype=np.bool_) if known is None else known
    if codes.ndim == 2:
        return _of_sets(codes, probabilities, known)
    judged = np.flatnonzero(known[np.arange(len(codes)), codes])
    suspects = _of_classes(codes[judged], probabilities[judged])
    return dataclasses.replace(suspects, rows=judged[suspects.rows])


def confident_classes(codes: Rows, probabilities: Floats) -> Rows:
    """(rows,): the class that each row is counted as; -1 where none of its probabilities reaches a threshold."""
    n_classes = probabilities.shape[1]
    sizes = np.bincount(codes, minlength=n_classes)
    own = probabilities[np.arange(len(codes)), codes]
    thresholds = np.bincount(codes, weights=own, minlength=n_classes) / np.maximum(sizes, 1)
    thresholds[sizes == 0] = np.inf
    reached = probabilities >= thresholds - ROUNDING
    counted = np.where(reached.sum(axis=1) > 1, probabilities.argmax(axis=1), reached.argmax(axis=1))
    return np.where(reached.any(axis=1), counted, -1)


def joint_counts(codes: Rows, counted: Rows, n_classes: int) -> Floats:
    """(given, true): about how many rows of each label are of each class; each row of it adds up to its label's rows.

    A label has at least one right row, as in cleanlab.
    """
    sure = counted >= 0
    joint = np.zeros((n_classes, n_classes))
    np.add.at(joint, (codes[sure], counted[sure]), 1)
    np.fill_diagonal(joint, np.maximum(joint.diagonal(), 1))
    sizes = np.bincount(codes, minlength=n_classes)
    scaled: Floats = joint / joint.sum(axis=1, keepdims=True) * sizes[:, None]
    return scaled


def _of_classes(codes: Rows, probabilities: Floats) -> Suspects:
    counted = confident_classes(codes, probabilities)
    suggested = probabilities.argmax(axis=1)
    rows = np.flatnonzero((counted >= 0) & (counted != codes) & (suggested != codes))
    given = probabilities[rows, codes[rows]]
    order = np.argsort(given, kind="stable")
    rows = rows[order]
    joint = joint_counts(codes, counted, probabilities.shape[1])
    return Suspects(
        rows=rows,
        suggested=suggested[rows],
        given_probability=given[order],
        suggested_probability=probabilities[rows, suggested[rows]],
        estimated=float(joint.sum() - joint.trace()),
    )


def _of_sets(codes: npt.NDArray[np.bool_], probabilities: Floats, known: npt.NDArray[np.bool_]) -> Suspects:
    """Each label is a question of its own: whether a row has it."""
    suggested, given = codes.copy(), np.ones(len(codes))
    estimated = 0.0
    for label in range(codes.shape[1]):
        judged = np.flatnonzero(known[:, label])
        has = probabilities[judged, label]
        suspects = _of_classes(codes[judged, label].astype(np.intp), np.stack([1 - has, has], axis=1))
        rows = judged[suspects.rows]
        suggested[rows, label] = suspects.suggested.astype(bool)
        given[rows] = np.minimum(given[rows], suspects.given_probability)
        estimated += suspects.estimated
    rows = np.flatnonzero((suggested != codes).any(axis=1))
    rows = rows[np.argsort(given[rows], kind="stable")]
    return Suspects(
        rows=rows,
        suggested=suggested[rows],
        given_probability=given[rows],
        suggested_probability=1 - given[rows],
        estimated=estimated,
    )
