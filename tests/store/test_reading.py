"""The ways in which training reads a dataset: arrays, mapped blocks, shuffled batches, torch, Hugging Face."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import jdq.store
from jdq.store import BatchPlan, ExtractedDataset, FeatureRows, open_store
from jdq.store.exports.huggingface import to_huggingface
from jdq.store.exports.torch_datasets import FeatureBatches, FeatureDataset
from tests.store.fake_datasets import extract_texts, write_store
from tests.store.fake_features import fake_features, sentences

# Rows repeat, so the table's order is not that of any shard.
TEXTS = [*sentences(2500), *sentences(100, start=50), *sentences(400, start=5000)]
FEATURES = fake_features(TEXTS)
LABELS = [f"c{number % 3}" for number in range(len(TEXTS))]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ExtractedDataset:
    store, _, _ = write_store(tmp_path_factory.mktemp("reading") / "store", TEXTS, chunk=700)
    return store.open("posts")


def test_load_gives_features_labels_and_texts_in_row_order(tmp_path: Path) -> None:
    store, _, space = write_store(tmp_path / "store", TEXTS)
    X, y, texts = store.load("posts", space=space.digest[:8])
    np.testing.assert_array_equal(X, FEATURES)
    assert X.dtype == np.float16
    assert y.tolist() == LABELS
    assert texts == TEXTS


def test_a_frame_has_the_table_as_imported(tmp_path: Path) -> None:
    store, version, _ = write_store(tmp_path / "store", sentences(5))
    older = version.version
    (tmp_path / "posts.csv").write_text("title,topic\none,01\n two ,2\n", encoding="utf-8")
    store.datasets.import_table(tmp_path / "posts.csv")
    frame = store.frame("posts")
    assert frame.to_dict("list") == {"title": ["one", " two "], "topic": ["01", "2"]}
    assert frame.attrs == {"text_column": "title", "label_column": "topic"}
    assert store.frame("posts", version=older[:6])["text"].tolist() == sentences(5)


def test_rows_index_like_an_array(table: ExtractedDataset) -> None:
    rows = table.features
    assert rows.shape == FEATURES.shape
    for which in (
        0,
        -1,
        slice(10, 20),
        slice(0, 3000, 7),
        slice(5, 5),
        slice(3000, 0, -1),
        [5, 2600, 5],
        np.array([1]),
    ):
        np.testing.assert_array_equal(rows[which], FEATURES[which])
    np.testing.assert_array_equal(np.asarray(rows), FEATURES)
    with pytest.raises(IndexError):
        rows[3000]


def test_adjacent_rows_come_without_a_copy_and_read_only(table: ExtractedDataset) -> None:
    block = table.features[100:600]
    assert block.base is not None
    assert not block.flags.writeable
    assert table.features[600:800].flags.writeable


@pytest.mark.parametrize("rows", [1, 64, 512, 10_000])
def test_blocks_hold_every_row_once_in_order(table: ExtractedDataset, rows: int) -> None:
    blocks = list(table.features.blocks(rows))
    assert max(map(len, blocks)) <= rows
    np.testing.assert_array_equal(np.concatenate(blocks), FEATURES)


@pytest.mark.parametrize("size", [1, 7, 256, 1000, 5000])
@pytest.mark.parametrize("shuffle", [False, True])
def test_an_epoch_holds_every_row_once(table: ExtractedDataset, size: int, shuffle: bool) -> None:
    plan = BatchPlan(size=size, shuffle=shuffle, block_rows=100, mixed_blocks=4)
    found = list(table.batches(plan))
    rows = np.concatenate([batch.rows for batch in found])
    np.testing.assert_array_equal(np.concatenate([batch.features for batch in found]), FEATURES[rows])
    assert sorted(rows.tolist()) == list(range(len(TEXTS)))
    assert (rows.tolist() == list(range(len(TEXTS)))) != (shuffle and size < len(TEXTS)), "a batch is sorted"
    assert {len(batch.rows) for batch in found[:-1]} <= {size}


def test_the_order_is_that_of_seed_and_epoch(table: ExtractedDataset) -> None:
    def order(seed: int = 0, epoch: int = 0) -> list[int]:
        plan = BatchPlan(shuffle=True, block_rows=64, seed=seed, epoch=epoch)
        return [int(row) for batch in table.batches(plan) for row in batch.rows]

    assert order() == order()
    assert order() != order(epoch=1)
    assert order() != order(seed=1)


def test_batches_in_order_are_views_also_across_blocks(table: ExtractedDataset) -> None:
    batches = list(table.batches(BatchPlan(size=150, block_rows=100), rows=np.arange(500)))
    assert [len(batch.rows) for batch in batches] == [150, 150, 150, 50]
    assert not any(batch.features.flags.writeable for batch in batches)


def test_a_shuffled_epoch_mixes_blocks_from_everywhere_and_reads_each_ahead(
    table: ExtractedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead: list[tuple[int, int]] = []
    monkeypatch.setattr(FeatureRows, "read_soon", lambda _, start, stop: ahead.append((start, stop)))
    plan = BatchPlan(size=200, shuffle=True, block_rows=100, mixed_blocks=2)
    seen = []
    for number, batch in enumerate(table.batches(plan, rows=list(range(3000)))):  # type: ignore[arg-type]
        blocks = sorted({int(row) // 100 for row in batch.rows})
        # The group of this batch, and that of the next one.
        assert sorted(start // 100 for start, _ in ahead[2 * number : 2 * number + 2]) == blocks
        assert len(ahead) == min(2 * number + 4, 30)
        seen += blocks
    assert sorted(seen) == list(range(30))
    assert seen[:6] != list(range(6))
    assert all(stop - start == 100 for start, stop in ahead)


def test_batches_of_a_splits_part_hold_just_its_rows(table: ExtractedDataset) -> None:
    part = np.flatnonzero(np.arange(len(TEXTS)) % 5 > 0)
    found = np.concatenate([batch.rows for batch in table.batches(BatchPlan(shuffle=True), rows=part)])
    assert sorted(found.tolist()) == part.tolist()


def test_a_table_can_be_pickled_for_worker_processes(table: ExtractedDataset) -> None:
    _ = table.features[0]
    copy = pickle.loads(pickle.dumps(table))  # noqa: S301
    np.testing.assert_array_equal(copy.read(), FEATURES)


@pytest.mark.parametrize("workers", [0, 2])
def test_torch_rows_come_with_their_class_numbers(table: ExtractedDataset, workers: int) -> None:
    data = FeatureDataset(table, rows=np.arange(0, 3000, 2))
    assert data.classes == ["c0", "c1", "c2"]
    feature, label = data[1]
    np.testing.assert_array_equal(feature.numpy(), FEATURES[2])
    assert label.item() == 2
    loader = DataLoader(data, batch_size=100, num_workers=workers)
    features = torch.cat([features for features, _ in loader])
    np.testing.assert_array_equal(features.numpy(), FEATURES[::2])


@pytest.mark.parametrize("workers", [0, 2])
def test_torch_batches_hold_every_row_once_also_with_worker_processes(table: ExtractedDataset, workers: int) -> None:
    data = FeatureBatches(table, BatchPlan(size=200, shuffle=True, block_rows=100))
    loader = DataLoader(data, batch_size=None, num_workers=workers)
    epochs = []
    for data.epoch in (0, 1):
        features, labels = map(torch.cat, zip(*loader, strict=True))
        epochs.append(features)
        assert sorted(labels.tolist()) == sorted(number % 3 for number in range(len(TEXTS)))
        assert sorted(map(tuple, features.tolist())) == sorted(map(tuple, FEATURES.tolist()))
    assert not torch.equal(*epochs)


def test_a_hugging_face_dataset_holds_the_same_rows(table: ExtractedDataset) -> None:
    data = to_huggingface(table)
    assert data.column_names == ["features", "text", "label"]
    assert data.features["label"].names == ["c0", "c1", "c2"]
    assert data[2501]["text"] == TEXTS[2501]
    assert data[2501]["label"] == 2501 % 3
    np.testing.assert_array_equal(data.with_format("numpy")["features"][:], FEATURES)
    assert data.filter(lambda row: row["label"] == 0, keep_in_memory=True).num_rows == 1000


def test_the_token_counts_come_in_row_order(table: ExtractedDataset) -> None:
    assert table.n_tokens().tolist() == [len(text) for text in table.texts()]


def test_a_hugging_face_dataset_of_an_unlabelled_table_has_no_label(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    file = tmp_path / "plain.csv"
    file.write_text("text\na\nb\n")
    extract_texts(store, store.datasets.import_table(file))
    assert to_huggingface(store.open("plain")).column_names == ["features", "text"]


def test_a_name_that_the_package_does_not_have_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = jdq.store.nothing
