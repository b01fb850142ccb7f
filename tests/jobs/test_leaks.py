"""No test row that its encoder has learnt from, whatever the versions, columns, splits and fine-tunes before."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jdq.store.datasets import DatasetVersion
from jdq.store.files.digests import array_pieces, to_json
from jdq.store.store import Store, open_store
from jdq.store.table import TableOptions
from jdq.store.trained import LEARNT, RECORD, Models
from jdq.worker.heads.errors import HeadError, TooFewRows
from jdq.worker.heads.split import TEST, TRAIN, make_split
from jdq.worker.heads.split_options import SplitOptions
from jdq.worker.jobs.labelled import DEFAULT, LabelledRows, former_split_name, labelled_rows
from jdq.worker.jobs.learnt import LearntTexts, UnknownLearning, learnt_by, learnt_in, measurable, short_keys

Rows = Callable[[DatasetVersion, str, SplitOptions], LabelledRows]


def imported(store: Store, folder: Path, texts: Any, rng: np.random.Generator, name: str = "table") -> DatasetVersion:
    """A version in which a text may repeat, with labels in two columns, groups and a fold."""
    lines = ["text,label,other,company,fold"]
    for text in texts:
        label, other, company = rng.integers(0, 3), rng.integers(0, 5), rng.integers(0, 12)
        fold = rng.choice(["train", "dev", "test"], p=[0.6, 0.1, 0.3])
        lines.append(f"text number {text},{'abc'[label]},{'vwxyz'[other]},company {company},{fold}")
    file = folder / f"{name}.csv"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return store.datasets.import_table(file, name=name, options=TableOptions(label_column="label"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return open_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def versions(store: Store, tmp_path_factory: pytest.TempPathFactory) -> list[DatasetVersion]:
    """Growing and shrinking tables from one pool of texts, small ones among them, in two datasets."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("tables")
    sizes = [20, 40, 80, 160, 160, 240, 30, 120]
    return [
        imported(store, folder, rng.integers(0, 200, size), rng, name=["one", "two"][i % 2])
        for i, size in enumerate(sizes)
    ]


@pytest.fixture(scope="module")
def rows_of(store: Store) -> Rows:
    @functools.cache
    def of(version: DatasetVersion, column: str, split: SplitOptions) -> LabelledRows:
        return labelled_rows(version, column, split=split, open_version=store.datasets.get)

    return of


def fine_tuned(store: Store, job: str, learnt: LearntTexts) -> str:
    """A fine-tune's folder, as far as others read what it has learnt from."""
    folder = Models(store.root).place(job)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / LEARNT).write_bytes(b"".join(array_pieces(learnt)))
    return job


def test_no_test_row_leaks_in_a_thousand_random_sequences(
    store: Store, versions: list[DatasetVersion], rows_of: Rows
) -> None:
    rng = np.random.default_rng(1)
    n_leaked = n_left_out = n_measured = 0
    for sequence in range(1000):
        learnt: dict[str, set[str]] = {"hash:16": set()}
        for step in range(5):
            version = versions[rng.integers(len(versions))]
            other = versions[rng.integers(len(versions))]
            split = [
                DEFAULT,
                SplitOptions(column="fold"),
                SplitOptions(group_column="company"),
                SplitOptions(test_dataset=other.name, test_version=other.version),
            ][rng.integers(4)]
            encoder = list(learnt)[rng.integers(len(learnt))]
            try:
                data = rows_of(version, ["label", "other"][rng.integers(2)], split)
                data, left_out = measurable(data, encoder, store)
            except HeadError:  # the small tables cannot be split in every way, or nothing is left to test
                continue
            n_left_out += left_out or 0
            tested = set(data.texts(data.split.rows(TEST)))
            n_measured += len(tested)
            n_leaked += len(tested & learnt[encoder])
            if rng.random() < 0.6:
                new = fine_tuned(store, f"fine-tune-{sequence}-{step}", learnt_in(data, learnt_by(store, encoder)))
                learnt[new] = learnt[encoder] | set(data.texts(np.flatnonzero(data.split.parts != TEST)))
    assert n_leaked == 0
    assert n_measured > 50_000 and n_left_out > 10_000


def test_the_rows_that_an_encoder_has_learnt_from_are_counted_and_said(
    store: Store, versions: list[DatasetVersion], rows_of: Rows
) -> None:
    data = rows_of(versions[4], "label", DEFAULT)
    tested = data.split.rows(TEST)
    known = np.unique(short_keys(data.keys[tested[:3]]))
    n_known = int(np.isin(short_keys(data.keys[tested]), known).sum())
    encoder = fine_tuned(store, "fine-tune-few", known)
    found, left_out = measurable(data, encoder, store)
    assert left_out == n_known == len(data.rows) - len(found.rows)
    assert found.split.warnings[0] == (
        f"{n_known} of {len(tested)} test rows are left out: the encoder {encoder} has learnt from their texts"
    )
    assert found.split.counts()["train"] == data.split.counts()["train"]
    everything = fine_tuned(store, "fine-tune-all", np.unique(short_keys(data.keys)))
    with pytest.raises(TooFewRows, match=f"{everything} has learnt from all {len(tested)} test rows"):
        measurable(data, everything, store)


def test_what_an_encoder_has_learnt_from_may_be_unknown_and_that_is_said(
    store: Store, versions: list[DatasetVersion], rows_of: Rows, tmp_path: Path
) -> None:
    data = rows_of(versions[4], "label", DEFAULT)
    for encoder in ("fine-tune-gone", str(tmp_path / "moved")):
        found, left_out = measurable(data, encoder, store)
        assert left_out is None and found.split.digest == data.split.digest
        assert "it is not known whether the encoder has learnt from test rows" in found.split.warnings[0]
    damaged = Models(store.root).place(fine_tuned(store, "fine-tune-damaged", np.arange(3, dtype=np.uint64))) / LEARNT
    damaged.write_bytes(damaged.read_bytes().replace(b"\x02\x00", b"\x03\x00"))
    assert measurable(data, "fine-tune-damaged", store)[1] is None
    for encoder in ("facebook/bart-base", "hash:16", str(tmp_path)):
        assert measurable(data, encoder, store) == (data, 0)


def test_what_an_older_fine_tune_has_learnt_from_is_read_from_its_stored_split(
    store: Store, versions: list[DatasetVersion]
) -> None:
    version = versions[5]
    labels, keys = version.labels(), version.keys()
    drawn = make_split(labels, keys, seed=7)  # as earlier versions stored it, by another rule
    version.put_split(None, drawn.parts, drawn.to_json(), name=former_split_name(None))
    origin = {"dataset": version.name, "dataset_version": version.version, "label_column": "label"}
    record = {"origin": origin, "options": {"encoder": "hash:16", "separator": None}, "split_digest": drawn.digest}
    folder = Models(store.root).place("fine-tune-old")
    folder.mkdir(parents=True)
    (folder / RECORD).write_bytes(to_json(record))
    expected = np.unique(short_keys(keys[drawn.parts != TEST]))
    assert learnt_by(store, "fine-tune-old").tolist() == expected.tolist() == learnt_by(store, str(folder)).tolist()
    later = learnt_by(store, "fine-tune-old")
    data, left_out = measurable(labelled_rows(version, "other"), "fine-tune-old", store)
    assert left_out and not np.isin(short_keys(data.keys[data.split.parts == TEST]), later).any()
    (folder / RECORD).write_bytes(to_json(record | {"split_digest": "0" * 32}))
    with pytest.raises(UnknownLearning, match="split of fine-tune-old cannot be read"):
        learnt_by(store, "fine-tune-old")


def test_the_texts_of_a_test_set_come_from_its_own_table(store: Store, versions: list[DatasetVersion]) -> None:
    first, second = versions[2], versions[3]
    split = SplitOptions(test_dataset=second.name, test_version=second.version)
    data = labelled_rows(first, "label", split=split, open_version=store.datasets.get)
    tested = data.split.rows(TEST)
    assert data.texts(tested) == second.texts()
    assert data.labels[tested].tolist() == second.labels().tolist()
    trained = data.texts(data.split.rows(TRAIN))
    assert trained and not set(trained) & set(second.texts()) and set(trained) < set(first.texts())
    n_shared = sum(text in set(second.texts()) for text in first.texts())
    assert data.split.warnings[0].startswith(f"{n_shared} rows are left out because their text is also in a later part")
