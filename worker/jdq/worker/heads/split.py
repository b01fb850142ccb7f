"""The split of a dataset into train, validation and test: made once, stored, and used by every head and fine-tune.

Which part a text is in depends on a keyed hash of its text key, so that it keeps its part over dataset versions, label
columns and files: what an encoder was trained on in one of them is not tested in another.
Heads and fine-tunes learn from the train part, choose (early stopping, calibration, the best checkpoint) on the
validation part, and are measured on the test part.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from jdq.store.datasets.records import PARTS, split_digest
from jdq.store.keys import KEY_BYTES, text_keys
from jdq.worker.heads.errors import BadSplit, OneClassOnly, TooFewRows
from jdq.worker.heads.labels import Labels, Targets, read_targets

TRAIN, VALIDATION, TEST = 0, 1, 2
TEST_SHARE, VALIDATION_SHARE = 0.2, 0.1

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
        """The split as it was stored. Raises BadSplit if the parts do not match the digest."""
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
    test: float = TEST_SHARE,
    validation: float = VALIDATION_SHARE,
    label_separator: str | None = None,
    groups: npt.NDArray[np.str_] | None = None,
) -> Split:
    """The split by each text's position, in which rows of equal text key (`keys`: (rows, 16) uint8) are in one part.

    A text is tested if its position (`positions`) is below `test`, validated on if it is below `test + validation`, and
    else trained on, whatever other rows, labels and columns there are. Only where that leaves a class of two or more
    texts out of the train or the test part (or out of the validation part, if at least half a text is due there) the
    text nearest to that part moves there. A class of one text is trained on, and counted in `warnings`. With a
    separator the rows are label sets, of which the rarest label counts. groups: (rows,) values; rows with one value are
    in one part, by the value's position; "" is no group. Raises OneClassOnly, MissingLabels, TooFewRows.
    """
    targets = read_targets(labels, label_separator=label_separator)
    if len(keys) != targets.rows:
        raise BadSplit(f"{targets.rows} labels, but {len(keys)} text keys")
    text_of = group_numbers(keys)
    unit_of, position = _units(keys, text_of, groups, seed)
    unit_part = _part_at(position, test, validation)
    strata = group_strata(row_strata(targets), unit_of, len(position))
    for units in by_stratum(strata, np.argsort(position, kind="stable")):
        unit_part[units] = _repaired(unit_part[units], validation)
    return _checked(targets, unit_part[unit_of], text_of, seed=seed, test=test, validation=validation)


def split_as_given(
    labels: Labels, keys: npt.NDArray[np.uint8], parts: npt.NDArray[np.uint8], *, label_separator: str | None = None
) -> tuple[Split, npt.NDArray[np.bool_]]:
    """The split of rows whose parts are given, and which rows it keeps.

    A text that is also in a later part (test after validation after train) is left out of the earlier one. Without a
    validation part, the train texts that `make_split` would validate on are it. Raises as `make_split`.
    """
    text_of = group_numbers(keys)
    latest = np.zeros(text_of.max() + 1, dtype=np.uint8)
    np.maximum.at(latest, text_of, parts)
    kept = parts == latest[text_of]
    targets = read_targets(np.asarray(labels, dtype=object)[kept], label_separator=label_separator)
    parts = parts[kept].copy()
    if not (parts == VALIDATION).any():
        due = _part_at(positions(keys[kept], 0), TEST_SHARE, VALIDATION_SHARE) == VALIDATION
        parts[due & (parts == TRAIN)] = VALIDATION
    text_of = group_numbers(keys[kept])
    return _checked(targets, parts, text_of, seed=0, test=TEST_SHARE, validation=VALIDATION_SHARE), kept


def positions(keys: npt.NDArray[np.uint8], seed: int) -> npt.NDArray[np.float64]:
    """Where each key is between 0 and 1: blake2b with the key "jdq-split-SEED", its first 8 bytes over 2 ** 64."""
    secret = f"jdq-split-{seed}".encode()
    data = np.ascontiguousarray(keys).tobytes()
    texts = [data[start : start + KEY_BYTES] for start in range(0, len(data), KEY_BYTES)]
    digests = [hashlib.blake2b(text, digest_size=8, key=secret).digest() for text in texts]
    return np.frombuffer(b"".join(digests), dtype=">u8").astype(np.float64) / 2.0**64


def _units(
    keys: npt.NDArray[np.uint8], text_of: Rows, groups: npt.NDArray[np.str_] | None, seed: int
) -> tuple[Rows, npt.NDArray[np.float64]]:
    """The unit of each row, and each unit's position: texts, or groups with all that share a text or a value."""
    first = np.unique(text_of, return_index=True)[1]
    of_text = positions(keys[first], seed)
    if groups is None:
        return text_of, of_text
    values, value_of = np.unique(groups, return_inverse=True)
    grouped = groups != ""
    of_value = np.where(values != "", positions(text_keys(values.tolist()), seed), 1.0)
    of_text[text_of[grouped]] = 1.0  # the groups decide
    # A graph of texts and values: what a row links is in one unit.
    nodes = len(of_text) + len(values)
    links = (np.ones(int(grouped.sum())), (text_of[grouped], len(of_text) + value_of[grouped]))
    n_units, unit_of_node = connected_components(coo_array(links, shape=(nodes, nodes)), directed=False)
    position = np.ones(n_units)
    np.minimum.at(position, unit_of_node, np.concatenate([of_text, of_value]))
    used, unit_of = np.unique(unit_of_node[text_of], return_inverse=True)
    return unit_of, position[used]


def _part_at(position: npt.NDArray[np.float64], test: float, validation: float) -> npt.NDArray[np.uint8]:
    parts: npt.NDArray[np.uint8] = np.select(
        [position < test, position < test + validation], [np.uint8(TEST), np.uint8(VALIDATION)], np.uint8(TRAIN)
    )
    return parts


def _repaired(part: npt.NDArray[np.uint8], validation: float) -> npt.NDArray[np.uint8]:
    """The parts of one class's units, given by ascending position; parts that must not be empty are filled."""
    part = part.copy()
    if len(part) == 1:
        part[0] = TRAIN
        return part
    if not (part == TEST).any():
        part[0] = TEST
    if int(len(part) * validation + 0.5) and not (part == VALIDATION).any():
        part[np.flatnonzero(part == TRAIN)[:1]] = VALIDATION
    if not (part == TRAIN).any():
        part[-1] = TRAIN
    return part


def _checked(
    targets: Targets, parts: npt.NDArray[np.uint8], text_of: Rows, *, seed: int, test: float, validation: float
) -> Split:
    distinct = len(np.unique(text_of))
    _refuse_too_few(targets, parts, distinct)
    return Split(
        parts=parts,
        seed=seed,
        test=test,
        validation=validation,
        distinct_texts=distinct,
        warnings=tuple(_warnings(targets, parts, text_of, distinct)),
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


def by_stratum(strata: npt.NDArray[np.int64], order: Rows) -> list[Rows]:
    """The texts of each stratum, in the given order."""
    order = order[np.argsort(strata[order], kind="stable")]
    return np.split(order, np.flatnonzero(np.diff(strata[order])) + 1)


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
