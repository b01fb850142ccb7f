"""The rows of a dataset version that have a label, and the one split of them that every job shares."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from jdq.store.datasets import DatasetVersion, NoLabels

if TYPE_CHECKING:
    from jdq.worker.heads.split import Split


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelledRows:
    """What heads and fine-tunes learn from and are measured on.

    rows: (n,) positions in the table, ascending. labels, keys and the split's parts are those of these rows.
    """

    column: str
    rows: npt.NDArray[np.int64]
    labels: npt.NDArray[np.str_]
    keys: npt.NDArray[np.uint8]
    split: Split

    def only(self, kept: npt.NDArray[np.bool_], why: str) -> LabelledRows:
        """These of the rows, on their sides of the split: another split, with a warning that says why."""
        split = dataclasses.replace(self.split, parts=self.split.parts[kept], warnings=(why, *self.split.warnings))
        return dataclasses.replace(
            self, rows=self.rows[kept], labels=self.labels[kept], keys=self.keys[kept], split=split
        )


def labelled_rows(version: DatasetVersion, column: str | None, *, label_separator: str | None = None) -> LabelledRows:
    """The labelled rows of a column (of the version's own, by default) with their split, made where none is stored.

    With a separator a row's label is a set, and a row without a label has the empty set. Without one, rows without a
    label are left out, and the split's warnings count them. Raises NoLabels, UnknownColumn, HeadError.
    """
    column = label_column(version, column)
    labels = version.labels(column, missing="keep")
    rows = np.flatnonzero(has_label(labels)) if label_separator is None else np.arange(len(labels))
    if not len(rows):
        raise NoLabels(f"no row of {version.name} has a label in column {column!r}")
    keys = version.keys()[rows]
    split = _stored_split(version, column, rows, labels[rows], keys, label_separator)
    if missing := len(labels) - len(rows):
        left_out = f"{missing} of {len(labels)} rows have no label in column {column!r} and are left out"
        split = dataclasses.replace(split, warnings=(left_out, *split.warnings))
    return LabelledRows(column=column, rows=rows, labels=labels[rows], keys=keys, split=split)


def label_column(version: DatasetVersion, column: str | None) -> str:
    """The column, or the version's own. Raises NoLabels where it has none."""
    column = column or version.label_column
    if column is None:
        version.labels(None)  # raises, and names the other columns
        raise AssertionError
    return column


def has_label(labels: npt.NDArray[np.str_]) -> npt.NDArray[np.bool_]:
    """(n,) bool: where there is more than white space."""
    return np.char.str_len(np.char.strip(labels)) > 0


def _stored_split(
    version: DatasetVersion,
    column: str,
    rows: npt.NDArray[np.int64],
    labels: npt.NDArray[np.str_],
    keys: npt.NDArray[np.uint8],
    label_separator: str | None,
) -> Split:
    """The one split of this label column: made by the first job that needs it, then kept.

    It does not depend on a job's seed, so that all heads and fine-tunes are measured on the same rows.
    """
    from jdq.worker.heads.split import Split, make_split

    name = split_name(label_separator)
    stored = version.get_split(column, name=name)
    if stored is None:
        made = make_split(labels, keys, label_separator=label_separator)
        stored = version.put_split(column, _OfTable(made, rows, version.n_rows), name=name)
    return Split.from_json(stored.parts[rows], stored.fields)


def split_name(label_separator: str | None) -> str:
    """The stored split's name: label sets are stratified otherwise than single labels."""
    if label_separator is None:
        return "default"
    return "sets-" + hashlib.blake2b(label_separator.encode(), digest_size=8).hexdigest()


class _OfTable:
    """A split of some rows as one of all: the store keeps a part for each row of the table.

    Rows without a label stand in the train part there; whoever reads the split takes the labelled rows alone, and its
    digest in `fields` is that of these.
    """

    def __init__(self, split: Split, rows: npt.NDArray[np.int64], n_rows: int) -> None:
        self.parts = np.zeros(n_rows, dtype=np.uint8)
        self.parts[rows] = split.parts
        self._split = split

    def to_json(self) -> dict[str, Any]:
        return self._split.to_json()
