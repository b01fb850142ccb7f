"""Which texts a fine-tuned encoder has learnt from: their features leak the labels, so they are not tested."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from jdq.store.errors import StoreError
from jdq.store.files.digests import UnreadableFile, read_array, read_json
from jdq.store.keys import halves
from jdq.store.store import Store
from jdq.store.trained import LEARNT, RECORD, Heads, Models
from jdq.worker.heads.errors import HeadError, TooFewRows
from jdq.worker.heads.split_options import SplitOptions
from jdq.worker.jobs.labelled import LabelledRows, former_split_name, labelled_rows

if TYPE_CHECKING:
    from jdq.worker.heads.split import Split

LearntTexts = npt.NDArray[np.uint64]


class OtherSplit(StoreError):
    """The dataset's split differs from the one that a head or model was measured on."""


class UnknownLearning(StoreError):
    """Which texts an encoder has learnt from is no longer known."""


def short_keys(keys: npt.NDArray[np.uint8]) -> LearntTexts:
    """The first 8 bytes of each text key as a number; among a million texts one in 10 ** 13 is mistaken for another."""
    return halves(keys)[0]


def learnt_by(store: Store, encoder: str) -> LearntTexts:
    """The texts on which a fine-tune (an id or a folder) was trained or chosen, with those of its own encoder.

    Empty for other encoders. Raises UnknownLearning.
    """
    models = Models(store.root)
    folder = models.place(encoder) if models.has(encoder) else Path(encoder)
    try:
        return read_array(folder / LEARNT)
    except FileNotFoundError:
        pass
    except UnreadableFile as error:
        raise UnknownLearning(str(error)) from error
    if (folder / RECORD).is_file():
        return _of_former(store, folder)
    if encoder.startswith("fine-tune-") or (folder.is_absolute() and not folder.is_dir()):
        raise UnknownLearning(f"{encoder} is no longer there")
    return np.empty(0, dtype=np.uint64)


def learnt_in(data: LabelledRows, before: LearntTexts) -> LearntTexts:
    """What a fine-tune on this data has learnt from: its train and validation parts, and what its encoder had."""
    from jdq.worker.heads.split import TEST

    return np.union1d(before, short_keys(data.keys[data.split.parts != TEST]))


def _of_former(store: Store, folder: Path) -> LearntTexts:
    """The same for a fine-tune that did not record it, by its stored split."""
    try:
        record = read_json(folder / RECORD, dict[str, Any])
        data = recorded_rows(store, record)
    except (StoreError, HeadError) as error:
        raise UnknownLearning(f"the split of {folder.name} cannot be read: {error}") from error
    return learnt_in(data, learnt_by(store, record["options"]["encoder"]))


def learnt_notes(store: Store, head: str | None, model: str | None, keys: npt.NDArray[np.uint8]) -> list[str]:
    """Notes about texts with these keys from which a head or model has learnt, for an evaluation."""
    try:
        learnt = learnt_by(store, model or "") if head is None else _of_head(store, head)
    except UnknownLearning as error:
        return [f"it is not known whether it has learnt from these texts: {error}"]
    known = int(np.isin(short_keys(keys), learnt).sum())
    note = f"{known:,} of {len(keys):,} rows have texts from which it has learnt, so scores are too good"
    return [note] if known else []


def _of_head(store: Store, head: str) -> LearntTexts:
    """The texts that the head was trained or chosen on, with those of its encoder. Raises UnknownLearning."""
    record = Heads(store.root).record(head)
    try:
        data = recorded_rows(store, record)
    except (StoreError, HeadError) as error:
        raise UnknownLearning(f"the split of {head} cannot be read: {error}") from error
    return learnt_in(data, learnt_by(store, record["origin"]["encoder"]))


def measurable(data: LabelledRows, encoder: str, store: Store) -> tuple[LabelledRows, int | None]:
    """The rows without those of the test part from which the encoder has learnt, and the number of those.

    None, and a warning, if it is not known what it has learnt from. Raises TooFewRows if nothing is left to test.
    """
    try:
        learnt = learnt_by(store, encoder)
    except UnknownLearning as error:
        everything = np.ones(len(data.rows), dtype=bool)
        return data.only(everything, f"it is not known whether the encoder has learnt from test rows: {error}"), None
    kept = unlearnt(data.split, data.keys, learnt)
    n_learnt, n_tested = int((~kept).sum()), data.split.counts()["test"]
    if not n_learnt:
        return data, 0
    if n_learnt == n_tested:
        raise TooFewRows(
            f"{encoder} has learnt from all {n_tested} test rows, so nothing is left to measure on\n"
            "  try: another encoder, or other rows"
        )
    why = f"{n_learnt} of {n_tested} test rows are left out: the encoder {encoder} has learnt from their texts"
    return data.only(kept, why), n_learnt


def unlearnt(split: Split, keys: npt.NDArray[np.uint8], learnt: LearntTexts) -> npt.NDArray[np.bool_]:
    """(rows,): False for the rows of the test part whose text the encoder has learnt from."""
    from jdq.worker.heads.split import TEST

    kept: npt.NDArray[np.bool_] = (split.parts != TEST) | ~np.isin(short_keys(keys), learnt)
    return kept


def recorded_rows(store: Store, record: dict[str, Any]) -> LabelledRows:
    """The labelled rows on which a head or a fine-tune was trained and measured, by its record.

    Raises OtherSplit, UnknownDataset, HeadError.
    """
    origin = record["origin"]
    version = store.datasets.get(origin["dataset"], origin["dataset_version"])
    wanted = record["split_digest"]
    for data in _possible_rows(store, record):
        if data.split.digest == wanted:
            return data
    raise OtherSplit(
        f"measured on split {wanted[:8]}, which {version.name} does not have now\n"
        f"  try: jdq submit train-head {version.name}"
    )


def _possible_rows(store: Store, record: dict[str, Any]) -> Iterator[LabelledRows]:
    """By the current split and the former one, without what its encoder has learnt from or what was not extracted."""
    origin = record["origin"]
    version = store.datasets.get(origin["dataset"], origin["dataset_version"])
    label_separator = record["options"]["separator"] if "options" in record else record["separator"]
    options = msgspec.convert(origin.get("split", {}), SplitOptions)
    names: list[str | None] = [None]
    if version.get_split(origin["label_column"], name=former_split_name(label_separator)) is not None:
        names.append(former_split_name(label_separator))
    for name in names:
        data = labelled_rows(
            version,
            origin["label_column"],
            label_separator=label_separator,
            split=options,
            open_version=store.datasets.get,
            name=name,
        )
        yield data
        for leave_out in (_leave_out_learnt, _leave_out_missing):
            data = leave_out(store, record, data)
            yield data


def _leave_out_learnt(store: Store, record: dict[str, Any], data: LabelledRows) -> LabelledRows:
    if not record["origin"].get("learnt_rows"):
        return data
    return measurable(data, record["origin"].get("encoder") or record["options"]["encoder"], store)[0]


def _leave_out_missing(store: Store, record: dict[str, Any], data: LabelledRows) -> LabelledRows:
    space = record["origin"].get("space")
    missing = store.open_space(space).missing(data.keys) if space else np.zeros(len(data.keys), dtype=bool)
    return data.only(~missing, "rows without features are left out") if missing.any() else data
