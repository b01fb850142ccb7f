"""Labels, parts and copies: what a training program relies on beyond the rows themselves."""

from pathlib import Path

import datasets
import numpy as np
import pytest
import torch

from jdq.store import BatchPlan, ExtractedDataset, open_store
from jdq.store.exports.huggingface import to_huggingface
from jdq.store.exports.torch_datasets import FeatureBatches, FeatureDataset
from jdq.store.table import TableOptions
from tests.store.fake_datasets import extract_texts
from tests.store.fake_features import fake_features, sentences

TEXTS = sentences(60)
FEATURES = fake_features(TEXTS)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ExtractedDataset:
    """Two label columns: `size`, that of the dataset, and `colour`."""
    folder = tmp_path_factory.mktemp("labels")
    file = folder / "things.csv"
    rows = [f"{text},{['s', 'm', 'l'][i % 3]},{['red', 'blue'][i % 2]}" for i, text in enumerate(TEXTS)]
    file.write_text("text,size,colour\n" + "\n".join(rows) + "\n")
    store = open_store(folder / "store")
    options = TableOptions(label_column="size")
    extract_texts(store, store.datasets.import_table(file, options=options), chunk=25)
    return store.open("things")


def test_torch_rows_are_numbered_within_their_part(table: ExtractedDataset) -> None:
    part = np.array([40, 3, 3, 59])
    data = FeatureDataset(table, rows=part)
    assert len(data) == 4 and data.classes == ["l", "m", "s"]
    for index, row in enumerate(part):
        feature, label = data[index]
        assert feature.dtype == torch.float32 and label.dtype == torch.int64
        assert feature.tolist() == FEATURES[row].tolist() and data.classes[label] == ["s", "m", "l"][row % 3]
    assert torch.equal(torch.stack([feature for feature, _ in data.__getitems__([3, 0])]), torch.stack(
        [data[3][0], data[0][0]]
    ))  # fmt: skip
    assert len(FeatureDataset(table)) == 60


def test_another_label_column_may_be_named(table: ExtractedDataset) -> None:
    for data in (
        FeatureDataset(table, label_column="colour"),
        FeatureBatches(table, BatchPlan(), label_column="colour"),
    ):
        assert data.classes == ["blue", "red"]
    found = to_huggingface(table, label_column="colour")
    assert found.features["label"].names == ["blue", "red"] and found["label"][:4] == [1, 0, 1, 0]


def test_torch_batches_hold_the_rows_of_their_part_with_their_labels(table: ExtractedDataset) -> None:
    part = np.arange(10, 40)
    data = FeatureBatches(table, BatchPlan(size=8, shuffle=True), rows=part)
    features, labels = map(torch.cat, zip(*data, strict=True))
    row_of = {tuple(feature): row for row, feature in enumerate(FEATURES.tolist())}
    rows = [row_of[tuple(feature)] for feature in features.tolist()]
    assert sorted(rows) == part.tolist() and rows != sorted(rows)
    assert [data.classes[label] for label in labels] == [["s", "m", "l"][row % 3] for row in rows]
    assert features.dtype == torch.float32 and labels.dtype == torch.int64


def test_the_epoch_starts_as_the_plans_and_determines_the_order(table: ExtractedDataset) -> None:
    plan = BatchPlan(size=20, shuffle=True, seed=3, epoch=5)
    fifth, other = FeatureBatches(table, plan), FeatureBatches(table, BatchPlan(size=20, shuffle=True, seed=3))
    assert (fifth.epoch, other.epoch) == (5, 0)
    assert not torch.equal(next(iter(fifth))[0], next(iter(other))[0])
    other.epoch = 5
    assert torch.equal(next(iter(fifth))[0], next(iter(other))[0])


def test_without_worker_processes_the_plans_own_part_is_read(table: ExtractedDataset) -> None:
    parts = [FeatureBatches(table, BatchPlan(size=10, block_rows=10, part=(number, 2))) for number in (0, 1)]
    rows = [sum(len(labels) for _, labels in part) for part in parts]
    assert sum(rows) == 60 and min(rows) > 0


def test_torch_may_write_to_its_batches(table: ExtractedDataset) -> None:
    for features, _ in FeatureBatches(table, BatchPlan(size=25)):
        features.zero_()
    np.testing.assert_array_equal(table.read(), FEATURES)


def test_a_hugging_face_dataset_keeps_the_types_of_the_store(table: ExtractedDataset) -> None:
    found = to_huggingface(table)
    assert found.features == datasets.Features(
        features=datasets.List(datasets.Value("float16"), length=8),
        text=datasets.Value("large_string"),
        label=datasets.ClassLabel(names=["l", "m", "s"]),
    )
    assert found["text"][:] == TEXTS and found["label"][:3] == [2, 1, 0]


def test_the_fingerprint_is_that_of_the_version_the_space_and_the_labels(
    table: ExtractedDataset, tmp_path: Path
) -> None:
    fingerprint = to_huggingface(table)._fingerprint
    assert to_huggingface(table)._fingerprint == fingerprint and len(fingerprint) == 16
    assert to_huggingface(table, label_column="colour")._fingerprint != fingerprint
    store = open_store(tmp_path / "store")
    file = tmp_path / "things.csv"
    file.write_text("text,size\na,s\nb,m\n")
    extract_texts(store, store.datasets.import_table(file, options=TableOptions(label_column="size")))
    assert to_huggingface(store.open("things"))._fingerprint != fingerprint
