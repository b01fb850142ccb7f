"""Dataset versions whose files belong to other versions or contradict each other: damage, named by file."""

import os
from pathlib import Path

import msgspec
import pytest

from jdq.store.datasets import DamagedDataset, Datasets, DatasetVersion, InvalidName, NameTaken
from jdq.store.datasets.columnar import footer_digest
from jdq.store.datasets.records import FileRecord
from jdq.store.files.digests import digest_of
from tests.store.dataset_tables import write


@pytest.mark.parametrize("name", ["table.parquet", "keys.npy", "n_bytes.npy", "dataset.json", "imports"])
def test_a_missing_file_is_named_and_the_other_datasets_stay_readable(tmp_path: Path, store: Path, name: str) -> None:
    datasets = Datasets(store)
    version = datasets.import_table(write(tmp_path, 5))
    datasets.import_table(write(tmp_path, 6, "other.csv"))
    path = version.path / name
    path.rename(tmp_path / "away")
    with pytest.raises(DamagedDataset, match=name) as caught:
        _ = datasets.get("data").source
    assert "try: jdq submit extract data.csv --name data" in str(caught.value)
    assert "other" in [found.name for found in datasets.list()]
    if name != "imports":
        assert list(datasets.open_all()[1]) == [version.path]


def test_a_truncated_file_is_noticed_when_the_version_is_opened(tmp_path: Path, store: Path) -> None:
    version = Datasets(store).import_table(write(tmp_path, 5))
    os.truncate(version.path / "keys.npy", 100)
    with pytest.raises(DamagedDataset, match=r"keys\.npy: it has 100 bytes, 208 were written"):
        Datasets(store).get("data")


def rewrite_record(version: DatasetVersion, **changes: object) -> None:
    """Write dataset.json with these fields and the digest that belongs to them."""
    record = msgspec.structs.replace(version.record, **changes).with_digest()
    (version.path / "dataset.json").write_bytes(msgspec.json.encode(record))


def replace_file(version: DatasetVersion, name: str, data: bytes) -> None:
    """Replace a file, and its size and digest in the record: what is left is to look into it."""
    (version.path / name).write_bytes(data)
    files = version.record.files | {name: FileRecord(size_bytes=len(data), blake2b=digest_of(data))}
    rewrite_record(version, files=files, footer=footer_digest(version.path / "table.parquet"))


def test_a_folder_under_the_name_of_another_version_is_damage(tmp_path: Path, store: Path) -> None:
    version = Datasets(store).import_table(write(tmp_path, 5))
    version.path.rename(version.path.with_name("0" * 12))
    with pytest.raises(DamagedDataset, match="is of another version"):
        Datasets(store).get("data")


def test_a_record_that_names_other_files_is_damage(tmp_path: Path, store: Path) -> None:
    version = Datasets(store).import_table(write(tmp_path, 5))
    rewrite_record(version, files={"keys.npy": version.record.files["keys.npy"]})
    with pytest.raises(DamagedDataset, match=r"names the files \['keys.npy'\]"):
        DatasetVersion(version.path)


def test_an_array_of_another_shape_is_damage(tmp_path: Path, store: Path) -> None:
    version = Datasets(store).import_table(write(tmp_path, 5))
    replace_file(version, "keys.npy", (version.path / "n_bytes.npy").read_bytes())
    with pytest.raises(DamagedDataset, match=r"keys.npy: it has \(5,\) of uint32, not \(5, 16\) of uint8"):
        DatasetVersion(version.path).keys()


def test_a_table_of_other_rows_is_damage(tmp_path: Path, store: Path) -> None:
    version = Datasets(store).import_table(write(tmp_path, 5))
    other = Datasets(store).import_table(write(tmp_path, 6, "other.csv"))
    replace_file(version, "table.parquet", (other.path / "table.parquet").read_bytes())
    with pytest.raises(DamagedDataset, match="has other rows or columns"):
        DatasetVersion(version.path).texts()


def test_a_damaged_page_is_damage_however_the_table_is_read(tmp_path: Path, store: Path) -> None:
    version = Datasets(store).import_table(write(tmp_path, 3000))
    path = version.path / "table.parquet"
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    path.write_bytes(data)
    found = DatasetVersion(version.path)
    for read in (found.texts, lambda: found.texts([0]), lambda: list(found.blocks([found.text_column]))):
        with pytest.raises(DamagedDataset, match=r"table\.parquet: "):
            read()


def test_a_footer_longer_than_the_file_is_damage(tmp_path: Path, store: Path) -> None:
    version = Datasets(store).import_table(write(tmp_path, 5))
    path = version.path / "table.parquet"
    path.write_bytes(path.read_bytes()[:-8] + b"\xff\xff\xff\x7fPAR1")
    with pytest.raises(DamagedDataset, match="a footer of 2147483655 bytes in a file of"):
        DatasetVersion(version.path).texts()


@pytest.mark.parametrize("broken", [b"{", b"\xff\xfe", b'{"file": "\xe9"}', b""])
def test_a_broken_import_record_is_left_out_and_another_import_adds_one(
    tmp_path: Path, store: Path, broken: bytes
) -> None:
    file = write(tmp_path, 5)
    version = Datasets(store).import_table(file)
    (record,) = (version.path / "imports").iterdir()
    record.write_bytes(broken)
    assert list(version.unreadable()) == [record]
    with pytest.raises(DamagedDataset, match="imports/ has no file that can be read"):
        _ = version.source
    assert Datasets(store).import_table(file).source.file == "data.csv"
    assert len(list((version.path / "imports").iterdir())) == 2


def test_a_broken_record_of_an_extraction_is_left_out_until_the_next_extraction(tmp_path: Path, store: Path) -> None:
    version = Datasets(store).import_table(write(tmp_path, 5))
    with pytest.raises(InvalidName, match="cannot be a feature space"):
        version.record_space("../x", encoder="e", job="j")
    version.record_space("1" * 32, encoder="e", job="j")
    (record,) = (version.path / "spaces").iterdir()
    record.with_name(f".{record.name}.0123456789abcdef.partial").touch()
    (record.with_name("notes.json")).touch()
    record.with_name("2" * 32 + ".json").write_bytes(record.read_bytes())
    record.with_name("3" * 32 + ".json").write_bytes(b"\xff")
    assert [found.space for found in version.spaces()] == ["1" * 32]
    assert [path.stem for path in version.unreadable()] == ["3" * 32]
    version.record_space("3" * 32, encoder="e", job="j")
    assert version.unreadable() == {}
    assert version.spaces()[0].space == "3" * 32


@pytest.mark.parametrize("name", ["table.parquet", "keys.npy", "n_bytes.npy", "dataset.json"])
@pytest.mark.parametrize("fault", ["flipped", "empty", "gone"])
def test_importing_the_file_again_mends_a_damaged_table(tmp_path: Path, store: Path, name: str, fault: str) -> None:
    file = write(tmp_path, 50)
    version = Datasets(store).import_table(file)
    version.record_space("1" * 32, encoder="e", job="j")
    texts, path = version.texts(), version.path / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data if fault == "flipped" else b"")
    if fault == "gone":
        path.unlink()
    again = Datasets(store).import_table(file)
    assert (again.version, again.verify(), again.texts()) == (version.version, [], texts)
    assert [record.space for record in again.spaces()] == ["1" * 32]
    assert len(list((again.path / "imports").iterdir())) == 1


def test_another_table_whose_digest_begins_with_the_same_digits_is_refused(tmp_path: Path, store: Path) -> None:
    version = Datasets(store).import_table(write(tmp_path, 5))
    record = version.record.digest
    rewrite_record(version, digest=record[:12] + "0" * 20)
    with pytest.raises(NameTaken, match=f"another table as version {version.version}") as caught:
        Datasets(store).import_table(write(tmp_path, 5))
    assert "--name data-2" in str(caught.value)
    assert DatasetVersion(version.path).record.digest == record[:12] + "0" * 20
