"""Dataset versions under faults: complete or absent, never silently wrong, nothing left behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pytest

from jdq.store.datasets import DamagedDataset, Datasets, DatasetVersion, InvalidName, NameTaken, RemovedDataset
from jdq.store.datasets.columnar import footer_digest
from jdq.store.datasets.importing import publish_folder
from jdq.store.datasets.records import FileRecord
from jdq.store.errors import StoreFormatError
from jdq.store.files.digests import digest_of
from jdq.store.table import TableError, TableOptions
from tests.store.test_splits import Split
from tests.waiting import until

IMPORT = """
import sys
from pathlib import Path
from jdq.store.datasets import Datasets
{before}
version = Datasets(Path(sys.argv[1])).import_table(sys.argv[2])
print(version.version)
"""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def write(tmp_path: Path, n: int, name: str = "data.csv") -> Path:
    file = tmp_path / name
    rng = random.Random(n)
    lines = (f"text {i} {rng.random()} {rng.random()},class {i % 3}\n" for i in range(n))
    file.write_text("text,label\n" + "".join(lines))
    return file


def command(store: Path, file: Path, before: str = "") -> list[str]:
    return [sys.executable, "-c", IMPORT.format(before=before), str(store), str(file)]


def content(store: Path) -> list[str]:
    return sorted(str(path.relative_to(store)) for path in store.rglob("*") if path.is_file())


def flip(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


@pytest.mark.parametrize(
    "text", ["text,label\na,1\n,2\n", "text,label\na,1\nb,1\n", 'text,label\na,"1\n', "text,label\na\n", "text,label\n"]
)
def test_a_bad_table_leaves_nothing_behind(tmp_path: Path, store: Path, text: str) -> None:
    (tmp_path / "data.csv").write_text(text)
    with pytest.raises(TableError):
        Datasets(store).import_table(tmp_path / "data.csv")
    assert not store.exists() or list((store / "datasets").iterdir()) == []


def test_an_interrupted_import_leaves_nothing_behind(tmp_path: Path, store: Path) -> None:
    def interrupt(rows: int) -> None:
        if rows > 3000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Datasets(store).import_table(write(tmp_path, 5000), after_block=interrupt)
    assert list((store / "datasets").iterdir()) == []


@pytest.mark.parametrize("limit", [1_000, 40_000, 90_000])
def test_a_full_disk_is_an_error_and_leaves_nothing_behind(tmp_path: Path, store: Path, limit: int) -> None:
    """RLIMIT_FSIZE refuses writes as a full disk does; keys.npy of 5,000 rows has 80,128 bytes."""
    before = (
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))"
    )
    done = subprocess.run(command(store, write(tmp_path, 5000), before), capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "OSError: [Errno 27] File too large" in done.stderr.splitlines()[-1]
    assert list((store / "datasets").iterdir()) == []


def writes_or_ended(store: Path, child: subprocess.Popen[bytes]) -> bool:
    return any(store.glob("datasets/.importing-*")) or child.poll() is not None


def test_a_killed_import_is_not_seen_and_does_not_stop_the_next(tmp_path: Path, store: Path) -> None:
    file = write(tmp_path, 60_000)
    rng = random.Random(3)
    for _ in range(5):
        child = subprocess.Popen(command(store, file), stdout=subprocess.DEVNULL)
        until(partial(writes_or_ended, store, child))
        time.sleep(rng.random() * 0.15)  # a kill at any moment of the import
        child.send_signal(signal.SIGKILL)
        child.wait()
        for version in Datasets(store).list():
            assert version.verify() == []
            assert version.n_rows == 60_000
    assert list(store.glob("datasets/.importing-*")), "no import was killed in its middle"
    version = Datasets(store).import_table(file)
    assert version.verify() == []
    assert len(Datasets(store).list()) == 1


def test_racing_imports_of_one_table_make_one_version(tmp_path: Path, store: Path) -> None:
    file = write(tmp_path, 3000)
    children = [subprocess.Popen(command(store, file), stdout=subprocess.PIPE, text=True) for _ in range(4)]
    versions = {child.communicate()[0].strip() for child in children}
    assert [child.returncode for child in children] == [0, 0, 0, 0]
    assert versions == {Datasets(store).get("data").version}
    assert len(list((store / "datasets").iterdir())) == 1


def test_no_flipped_bit_is_read_silently(tmp_path: Path, store: Path) -> None:
    sound = Datasets(store).import_table(write(tmp_path, 3000))
    expected = (sound.texts(), sound.labels().tolist(), sound.keys().tobytes(), sound.n_bytes().tolist(), sound.classes)
    rng = random.Random(0)
    noticed = 0
    for name in ["table.parquet"] * 60 + ["keys.npy", "n_bytes.npy", "dataset.json"] * 20:
        path = sound.path / name
        whole = path.read_bytes()
        flip(path, rng)
        try:
            found = DatasetVersion(sound.path)
            read = (
                found.texts(),
                found.labels().tolist(),
                found.keys().tobytes(),
                found.n_bytes().tolist(),
                found.classes,
            )
        except (DamagedDataset, StoreFormatError):
            noticed += 1
        else:
            assert read == expected, name
        path.write_bytes(whole)
    assert noticed > 100


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
    path = version.path / "table.parquet"
    data = bytearray(path.read_bytes())
    data[200] ^= 1  # in the first row group
    path.write_bytes(data)
    again = Datasets(store).get("data")
    assert again.texts(slice(5000, 5010)) == texts[5000:5010]
    assert again.texts([2048, 9999]) == [texts[2048], texts[9999]]
    with pytest.raises(DamagedDataset, match=r"table\.parquet"):
        again.texts(slice(0, 1))
    assert again.verify() == ["table.parquet has changed since it was written"]


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
        assert list(datasets.damaged()) == [version.path]


def test_a_truncated_file_is_noticed_when_the_version_is_opened(tmp_path: Path, store: Path) -> None:
    version = Datasets(store).import_table(write(tmp_path, 5))
    os.truncate(version.path / "keys.npy", 100)
    with pytest.raises(DamagedDataset, match=r"keys\.npy has 100 bytes, 208 were written"):
        Datasets(store).get("data")


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
    with pytest.raises(DamagedDataset, match=r"keys.npy has \(5,\) of uint32, not \(5, 16\) of uint8"):
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


def test_a_removed_version_is_removed_and_not_damaged(tmp_path: Path, store: Path) -> None:
    version = Datasets(store).import_table(write(tmp_path, 5))
    Datasets(store).remove("data")
    for use in (
        version.texts,
        version.keys,
        lambda: version.source,
        lambda: DatasetVersion(version.path),
        lambda: version.record_space("1" * 32, encoder="e", job="j"),
        lambda: version.put_split("label", Split(np.zeros(5, np.uint8))),
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
    assert [str(error).splitlines()[0] for error in Datasets(store).damaged().values()] == [
        f"{version.path / 'dataset.json'} is of format jdq-dataset 2; this jdq reads jdq-dataset up to 1"
    ]
    assert [found.name for found in Datasets(store).list()] == ["other"]


def test_the_second_import_of_a_table_to_get_its_name_is_not_needed(tmp_path: Path) -> None:
    partial, target = tmp_path / "partial", tmp_path / "data" / "0123456789ab"
    partial.mkdir()
    assert publish_folder(partial, target)
    (target / "first").touch()
    partial.mkdir()
    (partial / "second").touch()
    assert not publish_folder(partial, target)
    assert [path.name for path in target.iterdir()] == ["first"]


def test_a_folder_that_cannot_get_its_name_for_another_reason_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "partial").mkdir()
    (tmp_path / "target").touch()
    with pytest.raises(NotADirectoryError):
        publish_folder(tmp_path / "partial", tmp_path / "target")
