"""What an import record says of the file, or the files, that a table came from."""

import hashlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jdq.store.datasets import Datasets
from jdq.store.datasets.importing import _read_ahead
from jdq.store.table import TableError, TableOptions


def test_several_files_are_named_in_order_with_a_digest_of_their_digests(tmp_path: Path) -> None:
    contents = {"a.csv": b"text,label\na,1\n", "b.csv": b"text,label\nb,2\nc,1\n"}
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    digests = [hashlib.sha256(data).hexdigest() for data in contents.values()]
    source = Datasets(tmp_path).import_table([tmp_path / name for name in contents], name="both").source
    assert source.file == "a.csv, b.csv"
    assert source.sha256 == hashlib.sha256("".join(digests).encode()).hexdigest()
    assert source.size_bytes == sum(map(len, contents.values()))
    assert [file.sha256 for file in source.files] == digests


def test_one_file_is_recorded_by_itself(tmp_path: Path) -> None:
    data = b"text,label\na,1\n,2\nb,2\n"
    (tmp_path / "a.csv").write_bytes(data)
    version = Datasets(tmp_path).import_table(tmp_path / "a.csv", options=TableOptions(empty_text="skip"))
    source = version.source
    assert (source.sha256, source.files) == (hashlib.sha256(data).hexdigest(), ())
    assert (source.n_skipped_rows, source.text_columns) == (1, ())


def test_without_the_option_no_row_is_skipped_and_joined_columns_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("title,body,label\na,b,1\nc,d,2\n")
    options = TableOptions(text_column=("title", "body"))
    source = Datasets(tmp_path).import_table(tmp_path / "a.csv", options=options).source
    assert source.n_skipped_rows == 0
    assert source.text_columns == ("title", "body")


def test_one_block_is_read_ahead_while_the_last_is_written() -> None:
    read: list[int] = []
    second = threading.Event()

    def blocks() -> Iterator[list[pa.Array]]:
        for number in range(4):
            read.append(number)
            yield [pa.array([str(number)])]
            if number == 0:
                second.set()
        raise TableError("at the end")

    ahead = _read_ahead(blocks(), lambda _: None)
    assert next(ahead)[0].to_pylist() == ["0"]
    assert second.wait(10)
    assert read in ([0], [0, 1])
    assert [next(ahead)[0].to_pylist() for _ in range(3)] == [["1"], ["2"], ["3"]]
    with pytest.raises(TableError, match="at the end"):
        next(ahead)


def test_importing_and_reading_load_no_pandas(tmp_path: Path) -> None:
    """It would take half a second and 45 MB, which pyarrow spends on it wherever it is installed."""
    table = pa.table({"text": ["one", "two"], "label": ["a", "b"]})
    pq.write_table(table, tmp_path / "a.parquet")
    (tmp_path / "b.csv").write_text('text,label\none,a\n"say ""two""",b\n')
    (tmp_path / "c.csv").write_text("text,label\nthree,a\nfour,b\n")
    (tmp_path / "d.jsonl").write_text('{"text": "one", "label": "a"}\n{"text": "two", "label": "b"}\n')
    code = (
        "import sys; from jdq.store import open_store; datasets = open_store('store').datasets\n"
        "for files in (['a.parquet'], ['b.csv', 'c.csv'], ['d.jsonl']): datasets.import_table(files).labels()\n"
        "assert 'pandas' not in sys.modules and len(datasets.names()) == 3"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
