"""Packed files, and files that change: what is read is what is recorded."""

import bz2
import gzip
import hashlib
import lzma
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

from jdq.store.datasets import Datasets
from jdq.store.table import TableError, open_table
from tests.written_tables import rows_of, zipped

CONTENT = b'text,label\n"a\r b",1\n\xc3\xa9,2\n'
ROWS = [("a\r b", "1"), ("é", "2")]
PACK: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: pa.compress(data, "zstd", asbytes=True),
    "zip": lambda data: zipped({"folder/data.csv": data, "__MACOSX/data.csv": b"x"}),
}


@pytest.mark.parametrize("ending", PACK)
def test_a_packed_file_is_read_without_unpacking_it(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"data.csv.{ending}"
    file.write_bytes(PACK[ending](CONTENT))
    version = Datasets(tmp_path / "store").import_table(file)
    assert (version.name, version.n_rows, version.source.size_bytes) == ("data", 2, file.stat().st_size)
    assert rows_of(open_table(file)) == ROWS


@pytest.mark.parametrize("ending", PACK)
def test_a_packed_file_that_is_damaged_is_refused(tmp_path: Path, ending: str) -> None:
    lines = "".join(f"text {n * 7919 % 100_003},{n % 5}\n" for n in range(20_000))
    file = tmp_path / f"data.csv.{ending}"
    packed = PACK[ending](b"text,label\n" + lines.encode())
    file.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(TableError, match=r"cannot be unpacked|damaged zip archive"):
        rows_of(open_table(file))


@pytest.mark.parametrize("ending", [ending for ending in PACK if ending != "zst"])
def test_a_bomb_is_refused_before_it_goes_off(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jdq.store.table.source.UNPACKED_FREELY", 1 << 16)
    file = tmp_path / f"data.csv.{ending}"
    file.write_bytes(PACK[ending](b"text,label\n" + b"x,1\ny,2\n" * (1 << 15)))
    with pytest.raises(TableError, match=r"unpacks to more than 200 times its size"):
        rows_of(open_table(file))


def test_a_zip_archive_is_refused_by_the_size_that_it_gives_for_its_table(tmp_path: Path) -> None:
    file = tmp_path / "data.zip"
    file.write_bytes(zipped({"data.csv": b"x" * (1 << 27)}))
    with pytest.raises(TableError, match=r"unpacks to more than 200 times its size"):
        open_table(file)


def test_an_archive_of_several_files_names_them(tmp_path: Path) -> None:
    file = tmp_path / "data.zip"
    file.write_bytes(zipped({"a.csv": CONTENT, "b.csv": CONTENT}))
    with pytest.raises(TableError, match=r"holds 2 files: a.csv, b.csv"):
        open_table(file)
    file.write_bytes(zipped({"word/document.xml": b""}))
    with pytest.raises(TableError, match=r"is a Word document"):
        open_table(file)


@pytest.mark.parametrize("what", ["appended to", "overwritten", "replaced", "deleted"])
@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, what: str, ending: str) -> None:
    file = tmp_path / f"data{ending}"
    if ending == ".csv":
        file.write_text("text\n" + ("x" * 200 + "\n") * 5000)
    else:
        pq.write_table(pa.table({"text": ["x"] * 5000}), file)
    store = Datasets(tmp_path / "store")

    def change(done: int) -> None:
        if 2000 < done < 3000:
            data = file.read_bytes()
            if what == "appended to":
                file.write_bytes(data + b"y\n")
            elif what == "overwritten":
                file.write_bytes(data[:-2] + b"y\n")
                os.utime(file, ns=(0, 0))
            elif what == "replaced":
                other = file.with_name("other")
                other.write_bytes(data)
                other.replace(file)
            else:
                file.unlink()

    with pytest.raises(TableError, match=r"was changed while it was read; nothing was imported|not a readable Parquet"):
        store.import_table(file, after_block=change)
    assert store.names() == []


def test_the_digest_is_of_the_bytes_that_were_read(tmp_path: Path) -> None:

    for name, data in (
        ("data.csv", CONTENT),
        ("data.csv.zip", PACK["zip"](CONTENT)),
        ("d.csv.gz", gzip.compress(CONTENT)),
    ):
        (tmp_path / name).write_bytes(data)
        version = Datasets(tmp_path / "store").import_table(tmp_path / name)
        assert version.source.sha256 == hashlib.sha256(data).hexdigest()
