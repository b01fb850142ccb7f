"""Where tables come from: files, folders, patterns, standard input, URLs."""

import functools
import gzip
import http.server
import importlib.util
import io
import os
import sys
import threading
from pathlib import Path

import pytest

from jdq.store.datasets import Datasets
from jdq.store.table import TableError, open_table, table_name
from tests.store.conftest import error_of
from tests.written_tables import rows_of

CONTENT = b'text,label\n"a\r b",1\n\xc3\xa9,2\n'
ROWS = [("a\r b", "1"), ("é", "2")]


def test_several_files_are_one_table_that_says_where_each_row_is_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("b.csv").write_text("text,label\nx,1\n")
    Path("a.csv").write_text("text,label\ny,2\nz,1\n,\n")
    expected = [("y", "2", "a.csv"), ("z", "1", "a.csv"), ("x", "1", "b.csv")]
    for names in (["a.csv", "b.csv", "./a.csv"][:2], ["*.csv"], ["."], [str(tmp_path / "[ab].csv")]):
        table = open_table(names)
        assert table.names == ("text", "label", "file")
        assert rows_of(table) == expected
    version = Datasets(tmp_path / "store").import_table(["a.csv", "b.csv"], name="both")
    assert [file.file for file in version.source.files] == ["a.csv", "b.csv"]
    assert (version.source.file, version.columns) == ("a.csv, b.csv", ("text", "label", "file"))
    Path("c.csv").write_text("text,kind\nx,1\n")
    with pytest.raises(
        TableError, match=r"c.csv has columns other than those of a.csv: text, kind; that has: text, label"
    ):
        open_table(["a.csv", "c.csv"])
    with pytest.raises(TableError, match=r"no file matches d\*.csv"):
        open_table("d*.csv")


def test_standard_input_is_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(CONTENT))))
    version = Datasets(tmp_path).import_table("-")
    assert (version.name, version.n_rows, version.source.file) == ("stdin", 2, "-")


class _Serving(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


def test_a_url_is_a_table(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    pytest.importorskip("aiohttp")
    (tmp_path / "data.csv.gz").write_bytes(gzip.compress(CONTENT))
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(_Serving, directory=str(tmp_path))
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        version = Datasets(tmp_path / "store").import_table(f"{url}/data.csv.gz")
        with pytest.raises(TableError, match=rf"cannot read {url}/none.csv: 404"):
            open_table(f"{url}/none.csv")
        server.shutdown()
    assert (version.name, version.n_rows, version.source.file) == ("data", 2, "data.csv.gz")
    with pytest.raises(TableError, match=r"cannot read http://127.0.0.1:1/data.csv: Cannot connect to host"):
        open_table("http://127.0.0.1:1/data.csv")
    with fsspec.open("memory://folder/data.csv", "wb") as stream:
        stream.write(CONTENT)
    assert rows_of(open_table("memory://folder/data.csv")) == ROWS
    fsspec.filesystem("memory").touch("folder/empty.csv")
    with pytest.raises(TableError, match=r"^empty.csv is empty"):
        open_table("memory://folder/empty.csv")
    with pytest.raises(TableError, match=r"cannot read memory://none.csv: no such file"):
        open_table("memory://none.csv")
    with pytest.raises(TableError, match="cannot read nothing://a: "):
        open_table("nothing://a")


@pytest.mark.parametrize(("url", "package"), [("s3://bucket/a.csv", "s3fs"), ("gs://bucket/a.csv", "gcsfs")])
def test_a_url_whose_package_is_missing_names_it(url: str, package: str) -> None:
    pytest.importorskip("fsspec")
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    with pytest.raises(TableError, match=rf"cannot read {url}: .*nstall {package}"):
        open_table(url)


def test_without_fsspec_a_url_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(TableError, match=r"reading s3://a needs fsspec\n  try: pip install 'jdq\[urls\]'"):
        open_table("s3://a")


@pytest.mark.parametrize(
    ("names", "name"),
    [
        (["folder/data.csv.gz"], "data"),
        (["data.jsonl", "b.jsonl"], "data"),
        (["folder/*.csv"], "folder"),
        (["s3://bucket/a/data.parquet"], "data"),
        (["hf:org/name"], "name"),
        (["-"], "stdin"),
    ],
)
def test_a_table_is_called_after_its_first_file(names: list[str], name: str) -> None:
    assert table_name(names) == name


def test_no_such_file(tmp_path: Path) -> None:
    assert error_of(tmp_path / "none.csv").startswith(f"no such file: {tmp_path}/none.csv (in ")


def test_a_folder_without_a_table_or_with_several_kinds(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    assert error_of(tmp_path) == f"{tmp_path} is a folder without a table; it has the folders: train"
    (tmp_path / "train").rmdir()
    assert error_of(tmp_path) == f"{tmp_path} is a folder without a table"
    for name in ("a.csv", "b.parquet", "README.md"):
        (tmp_path / name).touch()
    several = f"{tmp_path} has tables of several kinds: a.csv, b.parquet; name those to read"
    assert error_of(tmp_path) == several


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:

    os.mkfifo(tmp_path / "pipe")
    assert "is not a regular file" in error_of(tmp_path / "pipe")


def test_the_tables_of_a_folder_may_be_packed_and_named_in_capitals(tmp_path: Path) -> None:
    for name in ("b.csv.gz", "A.CSV.gz"):
        (tmp_path / name).write_bytes(gzip.compress(CONTENT))
    for name in (".hidden.csv.gz", "notes.txt.gz", "dataset_info.json"):
        (tmp_path / name).touch()
    assert rows_of(open_table(tmp_path)) == [(*row, name) for name in ("A.CSV.gz", "b.csv.gz") for row in ROWS]
