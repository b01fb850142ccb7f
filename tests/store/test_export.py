"""Exported files are plain: other programs read them without jdq."""

import resource
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from jdq.store import open_store
from jdq.store.errors import CannotWrite
from jdq.store.exports.export import CannotExport, export
from tests.store.fake_datasets import extract_texts, write_store
from tests.store.fake_features import fake_features, sentences

TEXTS = [*sentences(500), "naïve 質問\twith a tab", *sentences(20)]
LABELS = [f"c{number % 3}" for number in range(len(TEXTS))]


def test_hdf5_holds_features_labels_and_texts_in_row_order(tmp_path: Path) -> None:
    store, version, space = write_store(tmp_path / "store", TEXTS)
    rows: list[int] = []
    export(store.open("posts"), tmp_path / "out.h5", after_block=rows.append)
    with h5py.File(tmp_path / "out.h5") as file:
        np.testing.assert_array_equal(file["features"][:], fake_features(TEXTS))
        assert file["features"].dtype == np.float32
        assert file["labels"].asstr()[:].tolist() == LABELS
        assert file["texts"].asstr()[:].tolist() == TEXTS
        assert (file.attrs["dataset"], file.attrs["version"]) == ("posts", version.version)
        assert file.attrs["space"] == space.digest
    assert rows == [len(TEXTS)]


def test_npz_loads_without_pickle(tmp_path: Path) -> None:
    store, _, _ = write_store(tmp_path / "store", TEXTS)
    export(store.open("posts"), tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["features"], fake_features(TEXTS))
        assert arrays["features"].dtype == np.float16
        assert arrays["labels"].tolist() == LABELS
        assert arrays["texts"].tolist() == TEXTS


def test_parquet_reads_with_pandas(tmp_path: Path) -> None:
    store, _, _ = write_store(tmp_path / "store", TEXTS)
    export(store.open("posts"), tmp_path / "out.parquet")
    frame = pd.read_parquet(tmp_path / "out.parquet")
    np.testing.assert_array_equal(np.stack(frame["features"].tolist()), fake_features(TEXTS))
    assert frame["labels"].tolist() == LABELS
    assert frame["texts"].tolist() == TEXTS


def test_a_file_that_exists_is_kept_unless_overwriting_is_requested(tmp_path: Path) -> None:
    store, _, _ = write_store(tmp_path / "store", TEXTS)
    target = tmp_path / "out.h5"
    target.write_text("mine")
    with pytest.raises(CannotExport, match="exists"):
        export(store.open("posts"), target)
    export(store.open("posts"), target, overwrite=True)
    assert h5py.is_hdf5(target)


def test_an_unknown_ending_is_an_error_that_lists_the_known_ones(tmp_path: Path) -> None:
    store, _, _ = write_store(tmp_path / "store", TEXTS)
    with pytest.raises(CannotExport, match=r"one of .*\.h5.*\.npz.*\.parquet"):
        export(store.open("posts"), tmp_path / "out.csv")


@pytest.mark.parametrize("ending", ["h5", "npz", "parquet"])
def test_a_full_disk_leaves_nothing_and_the_process_lives(tmp_path: Path, ending: str) -> None:
    store, _, _ = write_store(tmp_path / "store", TEXTS)
    table, target = store.open("posts"), tmp_path / f"out.{ending}"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(CannotWrite, match="File too large"):
            export(table, target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == []


@pytest.mark.parametrize("ending", ["h5", "npz", "parquet"])
def test_a_dataset_without_labels_is_exported_without_them(tmp_path: Path, ending: str) -> None:
    store = open_store(tmp_path / "store")
    file = tmp_path / "plain.csv"
    file.write_text("text\na\nb\n")
    extract_texts(store, store.datasets.import_table(file))
    target = tmp_path / f"out.{ending}"
    export(store.open("plain"), target)
    if ending == "h5":
        with h5py.File(target) as h5:
            assert sorted(h5) == ["features", "texts"]
    elif ending == "npz":
        with np.load(target, allow_pickle=False) as arrays:
            assert sorted(arrays) == ["features", "texts"]
    else:
        assert pd.read_parquet(target).columns.tolist() == ["features", "texts"]


def test_texts_that_numpy_would_pad_beyond_reason_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, _, _ = write_store(tmp_path / "store", TEXTS)
    monkeypatch.setattr("jdq.store.exports.export.LARGEST_TEXT_ARRAY", 1000)
    with pytest.raises(CannotExport, match=r"use \.h5 or \.parquet"):
        export(store.open("posts"), tmp_path / "out.npz")
    assert not (tmp_path / "out.npz").exists()
