"""Tables that jdq writes: each cell comes back, whatever is in it, and a file that differs is not published."""

import csv
import io
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jdq.store.errors import CannotWrite
from jdq.store.table import written
from jdq.store.table.written import BATCH_ROWS, ENDINGS, read_records, record_writer, write_records

ODD = [
    "plain",
    "",
    " ",
    'a "quote"',
    "a,b",
    "a\tb",
    "CR\ronly",
    "LF\nonly",
    "both\r\n",
    "영화",
    "=1+1",
    "\ufeffmark",
    "\0",
]
HEADER = ["text", 'odd "name",', "p_a", "p_b"]
RECORDS = [HEADER, *([cell, ODD[-1 - n], repr(n / 7), "" if n % 3 else "1e-05"] for n, cell in enumerate(ODD))]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("bom", [False, True])
def test_every_cell_comes_back(tmp_path: Path, ending: str, bom: bool) -> None:
    write_records(tmp_path / "out", RECORDS, ending=ending, bom=bom)
    assert [list(record) for record in read_records(tmp_path / "out", ending=ending, bom=bom)] == RECORDS
    data = (tmp_path / "out").read_bytes()
    assert data.startswith(b"\xef\xbb\xbf") == (bom and ending != ".parquet")


@pytest.mark.parametrize(("ending", "delimiter"), [(".csv", ","), (".tsv", "\t")])
def test_a_delimited_file_is_what_other_programs_read(tmp_path: Path, ending: str, delimiter: str) -> None:
    write_records(tmp_path / "out", RECORDS, ending=ending, numbers_from=2)
    with (tmp_path / "out").open(newline="", encoding="utf-8") as stream:
        assert list(csv.reader(stream, delimiter=delimiter)) == RECORDS
    lines = (tmp_path / "out").read_bytes().splitlines(keepends=True)
    assert lines[1] == delimiter.join(["plain", "\0", "0.0", "1e-05"]).encode() + b"\n"


def test_numbers_are_numbers_in_json_lines_and_parquet(tmp_path: Path) -> None:
    for ending in (".jsonl", ".parquet"):
        write_records(tmp_path / f"out{ending}", RECORDS, ending=ending, numbers_from=2)
    values = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.schema.types == [pa.string(), pa.string(), pa.float64(), pa.float64()]
    assert table.column_names == list(values[0]) == HEADER
    assert table.to_pylist() == values
    assert [value["p_a"] for value in values] == [n / 7 for n in range(len(ODD))]
    assert [value["p_b"] for value in values] == [None if n % 3 else 1e-05 for n in range(len(ODD))]
    assert "영화" in (tmp_path / "out.jsonl").read_text(encoding="utf-8")
    assert [list(record)[2:] for record in read_records(tmp_path / "out.jsonl", ending=".jsonl")][4] == [
        "0.42857142857142855",
        "1e-05",
    ]


def test_a_table_of_several_batches_keeps_its_order(tmp_path: Path) -> None:
    records = [["text"], *([str(n)] for n in range(2 * BATCH_ROWS + 1))]
    write_records(tmp_path / "out", records, ending=".parquet")
    assert [list(record) for record in read_records(tmp_path / "out", ending=".parquet")] == records
    assert pq.read_metadata(tmp_path / "out").num_row_groups == 3


def test_cells_may_be_longer_than_any_that_is_imported(tmp_path: Path) -> None:
    csv.field_size_limit(1 << 10)
    write_records(tmp_path / "out", [["text"], ["x" * (1 << 12)]])
    assert [len(cell) for [cell] in read_records(tmp_path / "out")] == [4, 1 << 12]


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_does_not_read_back_is_reported(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(written, "read_records", lambda path, **_: [*RECORDS[:-1], [*RECORDS[-1][:-1], "x"]])
    with pytest.raises(CannotWrite, match="it does not read back as it was written") as caught:
        write_records(tmp_path / "out", RECORDS, ending=ending)
    assert str(tmp_path / "out") in str(caught.value)


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_file_is_replaced_and_each_is_durable(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    durable: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda fd: durable.append(os.fstat(fd).st_size))
    write_records(tmp_path / "out", RECORDS, ending=ending)
    assert durable == [(tmp_path / "out").stat().st_size]
    with pytest.raises(FileExistsError):
        write_records(tmp_path / "out", RECORDS, ending=ending)


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
@pytest.mark.parametrize("last", [["3"], ["3", "4", "5"]])
def test_records_of_unlike_length_are_refused(tmp_path: Path, ending: str, last: list[str]) -> None:
    with pytest.raises(ValueError, match="zip"):
        write_records(tmp_path / "out", [["a", "b"], ["1", "2"], last], ending=ending)


def test_a_stream_gets_records_that_end_in_line_feeds() -> None:
    stream = io.StringIO(newline="")
    write = record_writer(stream)
    for record in (["a\r", "b\n"], ["c", ""]):
        write(record)
    assert stream.getvalue() == '"a\r","b\n"\nc,\n'
