"""Dataset versions under faults: no changed bit is read silently, and a removed version is not damaged."""

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from jdq.store.datasets import DamagedDataset, Datasets, DatasetVersion, RemovedDataset
from jdq.store.errors import StoreFormatError
from jdq.store.table import TableOptions
from tests.store.dataset_tables import write


def content(store: Path) -> list[str]:
    return sorted(str(path.relative_to(store)) for path in store.rglob("*") if path.is_file())


def test_no_changed_byte_of_the_record_is_read_silently(tmp_path: Path, store: Path) -> None:
    sound = Datasets(store).import_table(write(tmp_path, 30))
    path = sound.path / "dataset.json"
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in (1, 2, 4):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
            try:
                assert DatasetVersion(sound.path).record == sound.record
            except (DamagedDataset, StoreFormatError):
                continue


def test_no_flipped_bit_of_the_footer_is_read_silently(tmp_path: Path, store: Path) -> None:
    sound = Datasets(store).import_table(write(tmp_path, 3000))
    path = sound.path / "table.parquet"
    whole = path.read_bytes()
    footer = int.from_bytes(whole[-8:-4], "little") + 8
    rng = random.Random(0)
    for _ in range(60):
        data = bytearray(whole)
        data[-1 - rng.randrange(footer)] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        with pytest.raises(DamagedDataset):
            DatasetVersion(sound.path).texts(slice(0, 1))


def test_only_the_row_groups_that_are_needed_are_read(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jdq.store.table.chunk.CHUNK_BYTES", 1 << 14)
    version = Datasets(store).import_table(write(tmp_path, 10_000))
    texts = version.texts()
    assert version.texts([0]) == texts[:1]
    path = version.path / "table.parquet"
    data = bytearray(path.read_bytes())
    data[200] ^= 1  # in the first row group
    path.write_bytes(data)
    assert version.texts([1]) == texts[1:2]  # in memory
    again = Datasets(store).get("data")
    assert again.texts(slice(5000, 5010)) == texts[5000:5010]
    assert again.texts([2048, 9999]) == [texts[2048], texts[9999]]
    with pytest.raises(DamagedDataset, match=r"table\.parquet"):
        again.texts(slice(0, 1))
    assert again.verify() == ["table.parquet: it has changed since it was written"]


def test_a_version_of_a_newer_format_is_refused(tmp_path: Path, store: Path) -> None:
    version = Datasets(store).import_table(write(tmp_path, 5))
    record = version.path / "dataset.json"
    record.write_bytes(record.read_bytes().replace(b'"format_version": 1', b'"format_version": 2'))
    with pytest.raises(StoreFormatError, match="jdq-dataset 2; this jdq reads jdq-dataset up to 1"):
        Datasets(store).get("data")


def test_several_threads_may_read_one_version(tmp_path: Path, store: Path) -> None:
    version = Datasets(store).import_table(write(tmp_path, 10_000))
    texts = version.texts()

    def read(seed: int) -> bool:
        start = random.Random(seed).randrange(9_000)
        return version.texts(slice(start, start + 500)) == texts[start : start + 500]

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, range(100)))


def test_no_file_is_ever_changed_once_it_can_be_seen(tmp_path: Path, store: Path) -> None:
    datasets = Datasets(store)
    version = datasets.import_table(write(tmp_path, 50))
    before = {name: (store / name).read_bytes() for name in content(store)}
    version.record_space("1" * 32, encoder="e", job="j")
    datasets.import_table(write(tmp_path, 60))
    datasets.import_table(write(tmp_path, 50, "again.csv"), name="data", options=TableOptions(delimiter=","))
    assert {name: (store / name).read_bytes() for name in before} == before


def test_a_removed_version_is_removed_and_not_damaged(tmp_path: Path, store: Path) -> None:
    version = Datasets(store).import_table(write(tmp_path, 5))
    Datasets(store).remove("data")
    for use in (
        version.texts,
        version.keys,
        lambda: version.source,
        lambda: DatasetVersion(version.path),
        lambda: version.record_space("1" * 32, encoder="e", job="j"),
        lambda: version.put_split("label", np.zeros(5, np.uint8), {}),
        version.get_split,
    ):
        with pytest.raises(RemovedDataset, match=f"dataset data {version.version} was removed"):
            use()
    assert Datasets(store).list() == []
    assert not version.path.exists()


def test_a_dataset_of_a_newer_format_is_one_line_of_the_list(tmp_path: Path, store: Path) -> None:
    version = Datasets(store).import_table(write(tmp_path, 5))
    Datasets(store).import_table(write(tmp_path, 6, "other.csv"))
    (version.path / "dataset.json").write_text('{"format": "jdq-dataset", "format_version": 2}')
    assert [str(error).splitlines()[0] for error in Datasets(store).open_all()[1].values()] == [
        f"{version.path / 'dataset.json'} is of format jdq-dataset 2; this jdq reads jdq-dataset up to 1"
    ]
    assert [found.name for found in Datasets(store).list()] == ["other"]
