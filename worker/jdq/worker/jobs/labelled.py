"""The labelled rows of a dataset version, and the one split of them that every job shares."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from jdq.store.datasets import DatasetVersion, NoLabels
from jdq.worker.heads.split_options import SplitOptions, parts_of_cells

if TYPE_CHECKING:
    from jdq.worker.heads.split import Split

# Opens a dataset version by its name and version.
OpenVersion: TypeAlias = Callable[[str, str], DatasetVersion]
DEFAULT = SplitOptions()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelledRows:
    """What heads and fine-tunes are trained and measured on.

    versions: the dataset's, and that of the test set, if there is one. rows: (n,) positions in their tables, one after
    the other, ascending. labels, keys, groups and the split's parts are those of these rows; groups is None if
    the split has none.
    """

    column: str
    versions: tuple[DatasetVersion, ...]
    rows: npt.NDArray[np.int64]
    labels: npt.NDArray[np.str_]
    keys: npt.NDArray[np.uint8]
    split: Split
    groups: npt.NDArray[np.str_] | None = None

    def only(self, kept: npt.NDArray[np.bool_], why: str) -> LabelledRows:
        """Only the rows in `kept`, each in the same part: another split, with a warning that says why."""
        split = dataclasses.replace(self.split, parts=self.split.parts[kept], warnings=(why, *self.split.warnings))
        return dataclasses.replace(self._rows(kept), split=split)

    def texts(self, wanted: npt.NDArray[np.intp] | slice = slice(None)) -> list[str]:
        """The texts of all rows, or of these places among them, which ascend."""
        rows = self.rows[wanted]
        texts: list[str] = []
        for version in self.versions:
            texts += version.texts(rows[(rows >= 0) & (rows < version.n_rows)])
            rows = rows - version.n_rows
        return texts

    def _rows(self, kept: npt.NDArray[np.bool_]) -> LabelledRows:
        groups = None if self.groups is None else self.groups[kept]
        return dataclasses.replace(
            self, rows=self.rows[kept], labels=self.labels[kept], keys=self.keys[kept], groups=groups
        )


def labelled_rows(
    version: DatasetVersion,
    column: str | None,
    *,
    label_separator: str | None = None,
    split: SplitOptions = DEFAULT,
    open_version: OpenVersion | None = None,
    name: str | None = None,
) -> LabelledRows:
    """The labelled rows of a column (default: the version's own) with their split, which is made if none is stored.

    With a separator a row's label is a set, and a row without a label has the empty set. Without one, rows without a
    label are left out. The split's warnings count both. open_version: opens the split's test set. name: of another
    stored split than the current one. Raises NoLabels, UnknownColumn, HeadError, and what `open_version` raises.
    """
    column = label_column(version, column)
    versions = [version]
    if split.test_dataset is not None and open_version is not None:
        versions.append(open_version(split.test_dataset, split.test_version or ""))
    labels = np.concatenate([_labels(each, column) for each in versions])
    unlabelled = ~has_label(labels)
    rows = np.flatnonzero(~unlabelled) if label_separator is None else np.arange(len(labels))
    if unlabelled.all():
        raise NoLabels(f"no row of {version.name} has a label in column {column!r}")
    keys = np.concatenate([each.keys() for each in versions])[rows]
    labelled = _Rows(versions=tuple(versions), column=column, rows=rows, labels=labels[rows], keys=keys)
    data = _given(labelled, split, label_separator) if split.given else _stored(labelled, split, label_separator, name)
    if n_without := int(unlabelled.sum()):
        what = "are left out" if label_separator is None else "have the empty set of labels"
        said = f"{n_without} of {len(labels)} rows have no label in column {column!r} and {what}"
        made = dataclasses.replace(data.split, warnings=(said, *data.split.warnings))
        data = dataclasses.replace(data, split=made)
    return data


def label_column(version: DatasetVersion, column: str | None) -> str:
    """The column, or the version's own. Raises NoLabels if it has none."""
    column = column or version.label_column
    if column is None:
        version.labels(None)  # raises an error that names the other columns
        raise AssertionError
    return column


def has_label(labels: npt.NDArray[np.str_]) -> npt.NDArray[np.bool_]:
    """(n,) bool: True if there is more than white space."""
    return np.char.str_len(np.char.strip(labels)) > 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Rows:
    """Labelled rows before their split."""

    versions: tuple[DatasetVersion, ...]
    column: str
    rows: npt.NDArray[np.int64]
    labels: npt.NDArray[np.str_]
    keys: npt.NDArray[np.uint8]

    def divided(self, split: Split, groups: npt.NDArray[np.str_] | None = None) -> LabelledRows:
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return LabelledRows(**fields, split=split, groups=groups)

    def only(self, kept: npt.NDArray[np.bool_]) -> _Rows:
        return dataclasses.replace(self, rows=self.rows[kept], labels=self.labels[kept], keys=self.keys[kept])


def _labels(version: DatasetVersion, column: str) -> npt.NDArray[np.str_]:
    """The labels of the column; a test set whose table does not have it has its own."""
    return version.labels(column if column in version.columns else label_column(version, None), missing="keep")


def _given(labelled: _Rows, options: SplitOptions, label_separator: str | None) -> LabelledRows:
    """The split that a column or a test set gives. Texts of a later part are left out of an earlier one."""
    from jdq.worker.heads.split import TEST, TRAIN, split_as_given

    if options.column is None:
        parts = np.where(labelled.rows >= labelled.versions[0].n_rows, TEST, TRAIN).astype(np.uint8)
    else:
        cells = labelled.versions[0].cells(options.column)
        named = np.array(parts_of_cells(cells, options.column), dtype=np.int8)[labelled.rows]
        labelled, parts = labelled.only(named >= 0), named[named >= 0].astype(np.uint8)
    split, kept = split_as_given(labelled.labels, labelled.keys, parts, label_separator=label_separator)
    if left_out := int((~kept).sum()):
        said = f"{left_out} rows are left out because their text is also in a later part (test after validation)"
        split = dataclasses.replace(split, warnings=(said, *split.warnings))
    return labelled.only(kept).divided(split)


def _stored(labelled: _Rows, options: SplitOptions, label_separator: str | None, name: str | None) -> LabelledRows:
    """The one split of this label column: made by the first job that needs it, then kept.

    It does not depend on a job's seed, so that all heads and fine-tunes are measured on the same rows.
    """
    from jdq.worker.heads.split import Split, make_split

    version, column = labelled.versions[0], labelled.column
    groups = None
    if options.group_column is not None:
        groups = np.char.strip(np.array(version.cells(options.group_column), dtype=np.str_)[labelled.rows])
    name = name or split_name(label_separator, options)
    stored = version.get_split(column, name=name)
    if stored is None:
        made = make_split(labelled.labels, labelled.keys, label_separator=label_separator, groups=groups)
        # Rows without a label are in the train part there; readers of the split take only the labelled rows, and the
        # digest in its fields is that of these.
        parts = np.zeros(version.n_rows, dtype=np.uint8)
        parts[labelled.rows] = made.parts
        stored = version.put_split(column, parts, made.to_json(), name=name)
    return labelled.divided(Split.from_json(stored.parts[labelled.rows], stored.record.fields), groups)


def split_name(label_separator: str | None, options: SplitOptions = DEFAULT) -> str:
    """The stored split's name: empty parts of classes are filled differently for single labels and label sets."""
    name = "text" if options.group_column is None else f"group-{_short(options.group_column)}"
    return name if label_separator is None else f"{name}-sets-{_short(label_separator)}"


def former_split_name(label_separator: str | None) -> str:
    """The name of the stored split of older heads and fine-tunes, in which texts were drawn at random."""
    return "default" if label_separator is None else f"sets-{_short(label_separator)}"


def _short(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
