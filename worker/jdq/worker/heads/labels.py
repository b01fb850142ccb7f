"""The labels of a dataset as numbers: one class, or a set of classes, per row."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from jdq.worker.heads.errors import MissingLabels, OneClassOnly
from jdq.worker.heads.options import labels_in

Labels = Sequence[str] | npt.NDArray[np.object_] | npt.NDArray[np.str_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What a head should predict, row by row.

    classes: sorted by code point, exactly as the file has them ("01" stays "01", "2   " keeps its spaces).
    codes: (rows,) int64 positions in `classes`; of multi-label targets (rows, classes) bool.
    """

    classes: tuple[str, ...]
    codes: npt.NDArray[np.int64] | npt.NDArray[np.bool_]

    @property
    def multi_label(self) -> bool:
        return self.codes.ndim == 2

    @property
    def rows(self) -> int:
        return int(self.codes.shape[0])

    def counts(self, rows: npt.NDArray[np.intp] | slice = slice(None)) -> npt.NDArray[np.int64]:
        """How many of the rows have each class: shape (classes,)."""
        if self.multi_label:
            sums: npt.NDArray[np.int64] = self.codes[rows].sum(axis=0).astype(np.int64)
            return sums
        return np.bincount(self.codes[rows], minlength=len(self.classes)).astype(np.int64)


def read_targets(labels: Labels, *, label_separator: str | None = None) -> Targets:
    """The labels as class numbers; with a label separator, each row holds a set of labels ("remote|part-time").

    Raises MissingLabels with row numbers (the first row is 1), OneClassOnly.
    """
    values = np.asarray(labels, dtype=object)
    _refuse_missing(values, empty_is_missing=label_separator is None)
    targets = _one_each(values) if label_separator is None else _sets(values, label_separator)
    if len(targets.classes) < 2:
        only = targets.classes[0] if targets.classes else ""
        raise OneClassOnly(
            f"all {len(values)} rows have the label {only!r}: a classifier needs at least two classes\n"
            "  try: jdq submit train-head --label-column with another column"
        )
    return targets


def _refuse_missing(values: npt.NDArray[np.object_], *, empty_is_missing: bool) -> None:
    missing = pd.isna(values)
    if empty_is_missing:
        missing = missing | (values == "")
    rows = np.flatnonzero(missing) + 1
    if len(rows):
        shown = ", ".join(map(str, rows[:10])) + (", ..." if len(rows) > 10 else "")
        raise MissingLabels(
            f"{len(rows)} of {len(values)} rows have no label: rows {shown}\n  try: label them, or leave them out"
        )


def _one_each(values: npt.NDArray[np.object_]) -> Targets:
    codes, classes = pd.factorize(values, sort=True)
    return Targets(classes=tuple(str(name) for name in classes), codes=codes.astype(np.int64))


def _sets(values: npt.NDArray[np.object_], label_separator: str) -> Targets:
    sets = [labels_in(str(value), label_separator) for value in values]
    classes = tuple(sorted(set().union(*sets)))
    position = {name: i for i, name in enumerate(classes)}
    indicator = np.zeros((len(sets), len(classes)), dtype=np.bool_)
    for row, names in enumerate(sets):
        indicator[row, [position[name] for name in names]] = True
    return Targets(classes=classes, codes=indicator)
