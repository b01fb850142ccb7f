"""Reading a user's table: cells stay as they are, and what can be found is found."""

import csv
import io
import json
import os
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jdq.store.datasets import Datasets
from jdq.store.table import TableError, TableOptions, open_table
from jdq.store.table.chunk import CHUNK_BYTES
from tests.written_tables import rows_of

KEEP = TableOptions(empty_text="keep", unlabelled=True)


def write(tmp_path: Path, content: str | bytes, name: str = "data.csv") -> Path:
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def test_cells_stay_exactly_as_they_are(tmp_path: Path) -> None:
    file = write(tmp_path, "text,label,n\n NA ,01,1.0\nnull,2   ,1e5\nNone,nan,\n")
    assert rows_of(open_table(file)) == [(" NA ", "01", "1.0"), ("null", "2   ", "1e5"), ("None", "nan", "")]


def test_quotes_separators_and_newlines_inside_cells_are_text(tmp_path: Path) -> None:
    file = write(tmp_path, 'text,label\n"say ""hi"", then\r\ngo","a,b"\nx\'y "z",c\n')
    assert rows_of(open_table(file)) == [('say "hi", then\r\ngo', "a,b"), ('x\'y "z"', "c")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_separator_is_found_in_the_header(tmp_path: Path, delimiter: str) -> None:
    file = write(tmp_path, f'text{delimiter}"a,b;c|d{delimiter}e"{delimiter}label\nx{delimiter}y{delimiter}z\n')
    table = open_table(file, KEEP)
    assert table.delimiter == delimiter
    assert rows_of(table) == [("x", "y", "z")]


@pytest.mark.parametrize("spelled", ["tab", "\\t", "\t"])
def test_a_separator_can_be_given(tmp_path: Path, spelled: str) -> None:
    file = write(tmp_path, "text,more\tlabel\nx\t1\ny\t2\n")
    assert open_table(file, TableOptions(delimiter=spelled, text_column="text,more")).columns.label == "label"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_tells_the_encoding(tmp_path: Path, encoding: str) -> None:
    file = write(tmp_path, "text,label\nπ 검토 ☕,a\ny,b\n".encode(encoding))
    table = open_table(file)
    assert table.columns.names == ("text", "label")
    assert rows_of(table) == [("π 검토 ☕", "a"), ("y", "b")]


def test_a_given_encoding_is_used(tmp_path: Path) -> None:
    file = write(tmp_path, "text,label\n영화,1\n별로,0\n".encode("cp949"))
    assert rows_of(open_table(file, TableOptions(encoding="cp949"))) == [("영화", "1"), ("별로", "0")]


def test_utf_8_that_is_given_still_skips_the_mark(tmp_path: Path) -> None:
    file = write(tmp_path, "text,label\nx,1\ny,0\n".encode("utf-8-sig"))
    assert open_table(file, TableOptions(encoding="utf8")).columns.names == ("text", "label")


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_every_kind_of_line_end_is_read(tmp_path: Path, newline: str) -> None:
    file = write(tmp_path, newline.join(["text,label", "x,1", "", "y,0"]))
    assert rows_of(open_table(file)) == [("x", "1"), ("y", "0")]


def test_empty_rows_at_the_end_are_dropped_and_counted(tmp_path: Path) -> None:
    file = write(tmp_path, "text,label\nx,1\ny,0\n,\n , \n,,,\n")
    table = open_table(file)
    assert rows_of(table) == [("x", "1"), ("y", "0")]
    assert f"{file}: 3 empty rows at the end are left out" in table.warnings()


def test_an_empty_row_between_others_is_a_row(tmp_path: Path) -> None:
    file = write(tmp_path, "text,label\nx,1\n,\ny,0\n")
    table = open_table(file, TableOptions(empty_text="skip"))
    assert rows_of(table) == [("x", "1"), ("y", "0")]
    assert f"{file}: row 2 without text, left out" in table.warnings()


def test_empty_columns_without_a_name_at_the_right_are_dropped(tmp_path: Path) -> None:
    file = write(tmp_path, "text,label,,\nx,1,,\ny,0,,\n")
    assert rows_of(open_table(file)) == [("x", "1"), ("y", "0")]


def test_a_column_without_a_name_that_holds_something_is_kept_under_its_number(tmp_path: Path) -> None:
    file = write(tmp_path, ",text,label,,\n0,x,1\n1,y,0,note\n")
    table = open_table(file)
    assert table.columns.names == ("column_1", "text", "label", "column_4")
    assert rows_of(table) == [("0", "x", "1", ""), ("1", "y", "0", "note")]


@pytest.mark.parametrize(
    ("header", "text", "label"),
    [
        ("id,text,label", "text", "label"),
        ("Title,Description,Category", "Description", "Category"),
        ("id,document,label", "document", "label"),
        ("utterance of yesterday,intent", "utterance of yesterday", "intent"),
        ("sentence", "sentence", None),
        ("id,Job Description,class,label", "Job Description", "label"),
        ("id,text,description,topic", "text", "topic"),
    ],
)
def test_text_and_label_columns_are_found(tmp_path: Path, header: str, text: str, label: str | None) -> None:
    cells = ",".join(f"c{i}" for i in range(header.count(",") + 1))
    columns = open_table(write(tmp_path, f"{header}\n{cells}\n")).columns
    assert (columns.text, columns.label) == (text, label)


def test_two_columns_that_could_be_the_label_leave_the_table_unlabelled_with_a_warning(tmp_path: Path) -> None:
    table = open_table(write(tmp_path, "text,category,intent\nx,a,b\n"))
    assert table.columns.label is None
    assert "category, intent could each be the label" in table.warnings()[0]


def test_labels_that_differ_only_by_case_or_space_stay_apart_with_a_warning(tmp_path: Path) -> None:
    table = open_table(write(tmp_path, "text,label\na,2\nb,2   \nc,x\nd,X\ne,2\nf,x\n"))
    assert [row[1] for row in rows_of(table)] == ["2", "2   ", "x", "X", "2", "x"]
    warnings = "\n".join(table.warnings())
    assert "'2', '2   '" in warnings
    assert "'X', 'x'" in warnings
    assert "2 classes of one row, which a split cannot divide: '2   ', 'X'" in warnings


@pytest.mark.parametrize(("n_rows", "is_doubted"), [(20, False), (21, True)])
def test_a_label_in_every_row_is_doubted(tmp_path: Path, n_rows: int, is_doubted: bool) -> None:
    table = open_table(write(tmp_path, "text,label\n" + "".join(f"a,{n}\n" for n in range(n_rows))))
    assert len(rows_of(table)) == n_rows
    doubt = f"{n_rows} classes in {n_rows} rows: is it a label column?"
    assert any(doubt in warning for warning in table.warnings()) == is_doubted
    assert any("of one row, which a split cannot divide" in warning for warning in table.warnings()) != is_doubted


def test_rows_may_have_no_label_where_the_user_says_so(tmp_path: Path) -> None:
    table = open_table(write(tmp_path, "text,label\na,1\nb,\nc,0\n"), TableOptions(missing_labels="keep"))
    assert len(rows_of(table)) == 3
    assert "row 2 without a label" in table.warnings()[0]
    assert (table.totals.n_rows, table.totals.n_unlabelled, table.totals.n_skipped) == (3, 1, 0)


def test_several_text_columns_become_one_more(tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_text("title,body,label\nChef,Cooks.,1\n ,Sells.,2\nDriver,,1\n")
    options = TableOptions(text_column=("title", "body"))
    version = Datasets(tmp_path / "store").import_table(file, options=options)
    assert version.columns == ("title", "body", "label", "title + body")
    assert (version.text_column, version.source.text_columns) == ("title + body", ("title", "body"))
    assert version.texts() == ["Chef\n\nCooks.", "Sells.", "Driver"]


def test_json_lines_keep_strings_and_write_other_values_as_they_are(tmp_path: Path) -> None:
    lines = '{"text": "a\\nb \\u00e9", "label": 1, "x": 1.0}\n\n{"label": true, "text": "b"}\n{"text":"c","x":null}\n'
    table = open_table(write(tmp_path, lines, "data.jsonl"), KEEP)
    assert rows_of(table) == [("a\nb é", "1", "1.0"), ("b", "true", ""), ("c", "", "")]


def test_parquet_columns_become_text(tmp_path: Path) -> None:
    frame = pa.table(
        {"text": ["01", "b", "NA"], "label": [1, None, 3], "kind": pa.array(["p", "q", "p"]).dictionary_encode()}
    )
    pq.write_table(frame, tmp_path / "data.parquet")
    assert rows_of(open_table(tmp_path / "data.parquet", KEEP)) == [("01", "1", "p"), ("b", "", "q"), ("NA", "3", "p")]


def test_blocks_are_bounded_in_bytes(tmp_path: Path) -> None:
    rows = [("é" * 500, '"')] * 2000
    csv_file = write(tmp_path, "text,b\n" + "".join(f"{text},\n" for text, _ in rows), "plain.csv")
    quoted = write(tmp_path, "text,b\n" + "".join(f'{text},""""\n' for text, _ in rows))
    lines = write(tmp_path, "".join(json.dumps({"text": text, "b": b}) + "\n" for text, b in rows), "data.jsonl")
    for file in (csv_file, quoted, lines):
        blocks = [block[0] for block in open_table(file, KEEP).blocks()]
        assert sum(map(len, blocks)) == 2000
        assert 1 < len(blocks) < 6  # the first is small
        assert max(map(len, blocks)) < CHUNK_BYTES // 500 + 20


def test_blocks_can_be_read_again(tmp_path: Path) -> None:
    table = open_table(write(tmp_path, "text,label\nx,1\ny,0\n,\n"))
    assert rows_of(table) == rows_of(table)
    assert table.totals.n_rows == 2


# No NUL, which is refused, and no lone surrogates, which no encoding holds.
cells = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
# A first cell with something to see: wholly empty rows at the end are not kept.
records = st.lists(st.tuples(cells.map(lambda cell: f"t{cell}"), cells, cells), min_size=1, max_size=8)


@settings(max_examples=150, deadline=None)
@given(
    rows=records,
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    newline=st.sampled_from(["\n", "\r\n"]),
)
def test_any_text_comes_back_from_a_delimited_file(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str]],
    delimiter: str,
    encoding: str,
    newline: str,
) -> None:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=delimiter, lineterminator=newline, quoting=csv.QUOTE_ALL)
    writer.writerows([("text", "b", "c"), *rows])
    file = write(tmp_path_factory.mktemp("t"), stream.getvalue().encode(encoding))
    assert rows_of(open_table(file, KEEP)) == rows


@settings(max_examples=50, deadline=None)
@given(rows=records)
def test_any_text_comes_back_from_json_lines_and_parquet(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("t")
    objects = [dict(zip(("text", "b", "c"), row, strict=True)) for row in rows]
    lines = write(folder, "".join(json.dumps(found, ensure_ascii=False) + "\n" for found in objects), "data.jsonl")
    pq.write_table(pa.Table.from_pylist(objects), folder / "data.parquet")
    assert rows_of(open_table(lines, KEEP)) == rows
    assert rows_of(open_table(folder / "data.parquet", KEEP)) == rows


pieces = st.sampled_from([*"aé영\"',;\t \n\r0\\\u2028\x85\v", "\r\n", "NA"])
odd_cells = st.lists(pieces, max_size=5).map("".join)


def write_by(writer: str, file: Path, rows: list[tuple[str, str, str]], delimiter: str, newline: str) -> None:
    columns = ["text", "b", "c"]
    if writer == "pandas":
        pd.DataFrame(rows, columns=columns).to_csv(file, index=False, sep=delimiter, lineterminator=newline)
    elif writer == "polars":
        table = pl.DataFrame(rows, schema=columns, orient="row")
        table.write_csv(file, separator=delimiter, line_terminator=newline)
    else:
        with file.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream, delimiter=delimiter, lineterminator=newline).writerows([columns, *rows])


# `make tables` reads 100,000.
@settings(max_examples=int(os.environ.get("JDQ_TABLES", "300")), deadline=None)
@given(
    rows=st.lists(st.tuples(odd_cells.map(lambda cell: f"t{cell}"), odd_cells, odd_cells), min_size=2, max_size=4),
    writer=st.sampled_from(["pandas", "polars", "csv"]),
    delimiter=st.sampled_from([",", ";", "\t"]),
    newline=st.sampled_from(["\n", "\r\n"]),
)
def test_what_writers_make_is_never_read_differently_without_a_word(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str]],
    writer: str,
    delimiter: str,
    newline: str,
) -> None:
    """pandas and csv leave a lone CR without quotes, for example, which then ends a row."""
    file = tmp_path_factory.getbasetemp() / "generated.csv"
    write_by(writer, file, rows, delimiter, newline)
    try:
        table = open_table(file, KEEP)
        same = rows_of(table) == rows
    except TableError:
        return
    assert same or table.warnings()
