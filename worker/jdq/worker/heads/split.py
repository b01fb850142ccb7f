"""The split of a dataset into train, validation and test: made once, stored, and used by every head and fine-tune.

Heads and fine-tunes learn from the train part, choose (early stopping, calibration, the best checkpoint) on the
validation part, and are measured on the test part.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from jdq.store.datasets.splits import PARTS, split_digest
from jdq.worker.heads.errors import BadSplit, OneClassOnly, TooFewRows
from jdq.worker.heads.labels import Labels, Targets, read_targets

TRAIN, VALIDATION, TEST = 0, 1, 2

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """Which part each row is in. Rows with equal texts are always in one part.

    parts: (rows,) uint8, 0 train, 1 validation, 2 test.
    warnings: what the user should know, with counts, one sentence each.
    """

    parts: npt.NDArray[np.uint8]
    seed: int
    test: float
    validation: float
    distinct_texts: int
    warnings: tuple[str, ...]

    @property
    def digest(self) -> str:
        """32 hex digits that change when any row changes its part."""
        return split_digest(self.parts)

    def rows(self, part: int) -> Rows:
        return np.flatnonzero(self.parts == part)

    def counts(self) -> dict[str, int]:
        return {name: int((self.parts == part).sum()) for part, name in enumerate(PARTS)}

    def to_json(self) -> dict[str, Any]:
        """Everything but `parts`, for the JSON file beside it."""
        return {
            "seed": self.seed,
            "test": self.test,
            "validation": self.validation,
            "distinct_texts": self.distinct_texts,
            "warnings": list(self.warnings),
            "digest": self.digest,
            "counts": self.counts(),
        }

    @classmethod
    def from_json(cls, parts: npt.ArrayLike, fields: Mapping[str, Any]) -> "Split":
        """The split as it was stored. Raises BadSplit where the parts do not match the digest."""
        array = np.asarray(parts, dtype=np.uint8)
        split = cls(
            parts=array,
            seed=int(fields["seed"]),
            test=float(fields["test"]),
            validation=float(fields["validation"]),
            distinct_texts=int(fields["distinct_texts"]),
            warnings=tuple(fields["warnings"]),
        )
        if array.ndim != 1 or (array > TEST).any() or split.digest != fields["digest"]:
            raise BadSplit(f"the stored split is damaged: its digest is {split.digest}, not {fields['digest']}")
        return split


def make_split(
    labels: Labels,
    keys: npt.NDArray[np.uint8],
    *,
    seed: int = 0,
    test: float = 0.2,
    validation: float = 0.1,
    label_separator: str | None = None,
) -> Split:
    """A stratified, seeded split in which rows of equal text key (`keys`: (rows, 16) uint8) are in one part.

    Every class of two or more distinct texts is in train and in test; a class of one text is only in train, and
    counted in `warnings`. With a separator the rows are label sets, and stratified by their rarest label.
    Raises OneClassOnly, MissingLabels, TooFewRows.
    """
    targets = read_targets(labels, label_separator=label_separator)
    if len(keys) != targets.rows:
        raise BadSplit(f"{targets.rows} labels, but {len(keys)} text keys")
    group_of = group_numbers(keys)
    sizes = np.bincount(group_of)
    stratum = group_strata(row_strata(targets), group_of, len(sizes))
    group_part = _assign(sizes, stratum, np.random.default_rng(seed), test, validation)
    parts = group_part[group_of].astype(np.uint8)
    _refuse_too_few(targets, parts, len(sizes))
    return Split(
        parts=parts,
        seed=seed,
        test=test,
        validation=validation,
        distinct_texts=len(sizes),
        warnings=tuple(_warnings(targets, parts, group_of, len(sizes))),
    )


def group_numbers(keys: npt.NDArray[np.uint8]) -> Rows:
    """The number of each row's text: equal keys, equal numbers, counted from 0."""
    halves = np.ascontiguousarray(keys, dtype=np.uint8).view(np.uint64)
    order = np.lexsort((halves[:, 1], halves[:, 0]))
    ordered = halves[order]
    first = np.concatenate(([True], (ordered[1:] != ordered[:-1]).any(axis=1)))
    groups = np.empty(len(order), dtype=np.intp)
    groups[order] = np.cumsum(first) - 1
    # Numbered by first appearance, so that the split depends on the rows' order and not on the digest's values.
    _, first_row, inverse = np.unique(groups, return_index=True, return_inverse=True)
    rank = np.empty(len(first_row), dtype=np.intp)
    rank[np.argsort(first_row)] = np.arange(len(first_row))
    return rank[inverse]


def row_strata(targets: Targets) -> npt.NDArray[np.int64]:
    """One class per row to stratify by: numbered from the rarest class up, so that the smallest is the rarest."""
    counts = targets.counts()
    by_rarity = np.argsort(counts, kind="stable")
    rank = np.empty(len(counts), dtype=np.int64)
    rank[by_rarity] = np.arange(len(counts))
    if not targets.multi_label:
        strata: npt.NDArray[np.int64] = rank[targets.codes]
        return strata
    rarest: npt.NDArray[np.int64] = np.where(targets.codes, rank, len(counts)).min(axis=1)
    return rarest


def group_strata(strata: npt.NDArray[np.int64], group_of: Rows, n_groups: int) -> npt.NDArray[np.int64]:
    """The rarest stratum among a text's rows: a text with two labels must not empty the rarer class."""
    lowest = np.full(n_groups, np.iinfo(np.int64).max)
    np.minimum.at(lowest, group_of, strata)
    return lowest


def _assign(
    sizes: Rows, strata: npt.NDArray[np.int64], rng: np.random.Generator, test: float, validation: float
) -> npt.NDArray[np.uint8]:
    part = np.empty(len(sizes), dtype=np.uint8)
    for texts in by_stratum(strata, rng.permutation(len(sizes))):
        part[texts] = _assign_class(sizes[texts], test, validation)
    return part


def by_stratum(strata: npt.NDArray[np.int64], order: Rows) -> list[Rows]:
    """The texts of each stratum, in the given order."""
    order = order[np.argsort(strata[order], kind="stable")]
    return np.split(order, np.flatnonzero(np.diff(strata[order])) + 1)


def _assign_class(sizes: Rows, test: float, validation: float) -> npt.NDArray[np.uint8]:
    """The parts of one class's texts, given in shuffled order with their numbers of rows."""
    wanted = _wanted(int(sizes.sum()), len(sizes), test, validation)
    part = np.full(len(sizes), TRAIN, dtype=np.uint8)
    repeated = np.flatnonzero(sizes > 1)
    # Largest first, each to the part that lacks the most rows: the single rows then even out the rest.
    for text in repeated[np.argsort(-sizes[repeated], kind="stable")]:
        part[text] = int(np.argmax(wanted))
        wanted[part[text]] -= sizes[text]
    single = np.flatnonzero(sizes == 1)
    n_test, n_validation = max(0, wanted[TEST]), max(0, wanted[VALIDATION])
    part[single[:n_test]] = TEST
    part[single[n_test : n_test + n_validation]] = VALIDATION
    if len(sizes) > 1:
        _fill_empty(part, sizes)
    return part


def _wanted(rows: int, texts: int, test: float, validation: float) -> Rows:
    n_test = max(1, int(rows * test + 0.5)) if texts > 1 else 0
    n_validation = int(rows * validation + 0.5) if texts > 2 else 0
    return np.array([rows - n_test - n_validation, n_validation, n_test], dtype=np.intp)


def _fill_empty(part: npt.NDArray[np.uint8], sizes: Rows) -> None:
    """A class of two texts or more is in both train and test."""
    for empty in (TRAIN, TEST):
        if not (part == empty).any():
            part[int(np.argmin(sizes))] = empty


def _refuse_too_few(targets: Targets, parts: npt.NDArray[np.uint8], distinct: int) -> None:
    train = np.flatnonzero(parts == TRAIN)
    if not (parts == TEST).any():
        raise TooFewRows(
            f"{targets.rows} rows with {distinct} distinct texts in {len(targets.classes)} classes leave no row to "
            "test on: a class needs at least two different texts\n  try: more labelled rows"
        )
    if (targets.counts(train) > 0).sum() < 2:
        raise OneClassOnly("the rows to train on have one class only\n  try: more labelled rows of the other classes")


def _warnings(targets: Targets, parts: npt.NDArray[np.uint8], group_of: Rows, distinct: int) -> list[str]:
    warnings = []
    repeats = targets.rows - distinct
    if repeats:
        warnings.append(
            f"{repeats} of {targets.rows} rows repeat the text of another row ({distinct} distinct texts): "
            "equal texts are kept in one part of the split"
        )
    conflicts = _texts_with_two_labels(targets, group_of)
    if conflicts:
        warnings.append(f"{conflicts} of {distinct} distinct texts have different labels in different rows")
    untested = [targets.classes[i] for i in np.flatnonzero(targets.counts(np.flatnonzero(parts == TEST)) == 0)]
    if untested:
        warnings.append(f"{_classes(untested)} not in the test part, for lack of distinct texts: {quoted(untested)}")
    untrained = [targets.classes[i] for i in np.flatnonzero(targets.counts(np.flatnonzero(parts == TRAIN)) == 0)]
    if untrained:
        warnings.append(f"{_classes(untrained)} without a row in the train part: {quoted(untrained)}")
    if not (parts == VALIDATION).any():
        warnings.append("no class has enough rows for a validation part: early stopping uses the training loss")
    return warnings


def _classes(names: Sequence[str]) -> str:
    return f"{len(names)} class{'es' if len(names) > 1 else ''}"


def quoted(names: Sequence[str], *, shown: int = 8) -> str:
    return ", ".join(map(repr, names[:shown])) + (", ..." if len(names) > shown else "")


def _texts_with_two_labels(targets: Targets, group_of: Rows) -> int:
    codes = targets.codes.reshape(targets.rows, -1)
    order = np.argsort(group_of, kind="stable")
    same_text = group_of[order][1:] == group_of[order][:-1]
    other_label = (codes[order][1:] != codes[order][:-1]).any(axis=1)
    return len(np.unique(group_of[order][1:][same_text & other_label]))
