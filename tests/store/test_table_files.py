"""Whole tables as users have them: odd but sound files are read as Python's csv module reads them, others refused."""

import codecs
import csv
import io
from pathlib import Path

import pytest

from jdq.store.table import TableError, TableOptions, open_table
from tests.written_tables import DEMO_TABLE, MESSAGES, REVIEWS, delimited, postings, repeated, rows_of, wide_postings

KEEP = {"unlabelled": True, "empty_text": "keep"}

# name -> (content, delimiter)
SOUND = {
    "comma in quotes": ('first,last,address,zip\nJohn,Doe,"120 any st., Anytown",08123', ","),
    "quoted and empty": ('a,b,c\n1,"",""\n2,3,4', ","),
    "quotes in quotes": ('a,b\n1,"ha ""ha"" ha"\n3,4\n', ","),
    "JSON in a cell": ('key,val\n1,"{""type"": ""Point"", ""at"": [102.0, 0.5]}"\n', ","),
    "line ends in cells": ('a,b,c\n"Once upon \na time",5,6\n7,"one\r\ntwo\rthree",9\n', ","),
    "line ends in the header": ('"\t\n start \r\n end ",b\nd,e\n', ","),
    "CRLF": ("a,b\r\n1,2\r\n3,4\r\n", ","),
    "CR": ('a,b\r1,2\r"Once upon\ra time",5\r', ","),
    "blank lines first": ("\n\n\na,b\n1,2\n", ","),
    "semicolons": ("a;b;c\n1;2,5;3\n", ";"),
    "tabs": ("a\tb\n1\t2,3\n", "\t"),
    "words for nothing": ("a,b,c,d,e\nx,NA,N/A,NONE,NULL\n", ","),
    "numbers and dates": ('a,b,c\n01,00.11,0.10\n"1,7","200.000.000",02/01/2014\n', ","),
    "names that differ by case": ("A,a,b\nx,y,z\n", ","),
    "a column without a name": ("text,,label\nx,1,a\ny,2,b\n", ","),
    "one column": ("a\n4.5\n5\n", ","),
}

# What a file with the columns a, b, c is refused for.
REFUSED: dict[str, tuple[str | bytes, str]] = {
    "bad lines": ('a,b,c\n1,27,,"I\'m too long!"\n,"I\'m too short!"\n0,x,17\n', "lines 2, 3 have more or fewer cells"),
    "bad lines after blank ones": (
        "\n\n\na,b,c\n1,2,3,4\n5\n",
        "lines 5, 6 have more or fewer cells than the header, which has 3",
    ),
    "one short line": ("a,b,c\n1,2,3\n1,2\n", "line 3 has 2 cells; the header has 3"),
    "one long line": ("a,b,c\n1,2,3,4\n", "line 2 has 4 cells; the header has 3"),
    "one blank line": ("\n", "is empty"),
    "a header": ("a,b,c\n", "a header and no rows"),
    "rows of commas": ("a,b,c\n,,\n,,\n", "no row with text"),
    "rows of more commas": ("a,b,c\n,,,\n", "no row with text"),
    "rows of fewer commas": ("a,b,c\n,\n", "no row with text"),
    "NUL": ("a,b,c\n\0,2,3\n", "NUL characters in row 1"),
    "not UTF-8": (b"a,b,c\n1,2,3\n4,5,\xa9", "not UTF-8: byte 16, line 3 has a9"),
}


def read(file: Path, **options: object) -> tuple[tuple[str, ...], list[tuple[str, ...]], list[str]]:
    table = open_table(file, TableOptions(**options))  # type: ignore[arg-type]
    rows = rows_of(table)
    return table.columns.names, rows, table.warnings()


def written(folder: Path, content: str | bytes, name: str = "table.csv", *, encoding: str = "utf-8") -> Path:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return file


@pytest.mark.parametrize("name", SOUND)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16-be with a mark", "utf-16"])
def test_odd_but_sound_files_are_read_as_python_reads_them(tmp_path: Path, name: str, encoding: str) -> None:
    content, delimiter = SOUND[name]
    if encoding == "utf-16-be with a mark":
        file = written(tmp_path, codecs.BOM_UTF16_BE + content.encode("utf-16-be"))
    else:
        file = written(tmp_path, content, encoding=encoding)
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter)
    header, *expected = [record for record in reader if record]
    columns, rows, _ = read(file, text_column=header[0], **KEEP)
    assert list(columns) == [column or f"column_{place}" for place, column in enumerate(header, start=1)]
    assert [list(row) for row in rows] == expected


@pytest.mark.parametrize("name", REFUSED)
def test_files_that_are_no_table_are_refused_with_the_reason(tmp_path: Path, name: str) -> None:
    content, reason = REFUSED[name]
    with pytest.raises(TableError) as caught:
        read(written(tmp_path, content), text_column="a", **KEEP)
    assert reason in str(caught.value)


def test_a_job_boards_export_is_read_cell_by_cell(tmp_path: Path) -> None:
    exported = wide_postings(120)
    columns, rows, warnings = read(written(tmp_path, delimited(exported)), label_column="fraudulent")
    assert columns == tuple(exported[0])
    assert rows == [tuple(row) for row in exported[1:]]
    assert warnings == []


def test_rows_of_an_export_without_a_label_are_named_and_can_be_kept(tmp_path: Path) -> None:
    file = written(tmp_path, delimited(wide_postings(120)))
    named = r"no label in column 'function' in rows 1, 4, 7, .* and 30 more\n"
    with pytest.raises(TableError, match=named):
        read(file, label_column="function")
    _, rows, warnings = read(file, label_column="function", missing_labels="keep")
    assert len(rows) == 120
    assert any("and 30 more without a label" in warning for warning in warnings)


def test_two_hundred_rows_of_commas_below_a_spreadsheet_are_left_out(tmp_path: Path) -> None:
    exported = wide_postings(25)
    blank = ["," * (len(exported[0]) - 1)] * 200
    file = written(tmp_path, delimited(exported, newline="\r\n") + "\r\n".join([*blank, ""]))
    _, rows, warnings = read(file, label_column="fraudulent")
    assert len(rows) == 25
    assert warnings[0] == f"{file}: 200 empty rows at the end are left out"


@pytest.mark.parametrize(
    ("header", "delimiter", "encoding"),
    [
        (("id", "document", "label"), "\t", "utf-8"),
        (("id", "document", "label"), ",", "utf-16"),
        (("Webindex", "Description", "Category"), ",", "utf-8-sig"),
        (("n", "text", "category"), ";", "utf-8"),
    ],
)
def test_common_layouts_need_no_options(
    tmp_path: Path, header: tuple[str, str, str], delimiter: str, encoding: str
) -> None:
    rows = [(str(n), *row) for n, row in enumerate(repeated(REVIEWS, 100))]
    content = delimited([header, *rows], delimiter=delimiter)
    table = open_table(written(tmp_path, content, "table.txt", encoding=encoding))
    assert rows_of(table) == rows
    assert (table.columns.text, table.columns.label, set(table.totals.classes)) == (header[1], header[2], {"0", "1"})


def test_cp949_is_suggested_and_then_read(tmp_path: Path) -> None:
    reviews = repeated(REVIEWS, 200)
    content = delimited([("document", "label"), *reviews], delimiter="\t")
    file = written(tmp_path, content, "reviews.tsv", encoding="cp949")
    first = len("document\tlabel\n0 ")  # ASCII up to here
    with pytest.raises(TableError, match=rf"byte {first}, line 2(.|\n)*--encoding cp949$"):
        read(file)
    assert read(file, encoding="cp949")[1] == reviews


def test_messages_in_latin_letters_with_unnamed_columns_are_read_with_the_suggested_encoding(tmp_path: Path) -> None:
    rows = [("v1", "v2", "", "", ""), *((label, text, "", "", "") for text, label in _messages(300))]
    file = written(tmp_path, delimited(rows, newline="\r\n"), "messages.csv", encoding="cp1252")
    with pytest.raises(TableError, match=r"line 2 has e9(.|\n)*--encoding cp1252$"):
        read(file)
    columns, found, _ = read(file, encoding="cp1252", text_column="v2", label_column="v1")
    assert columns == ("v1", "v2")
    assert found == [row[:2] for row in rows[1:]]


def _messages(n_rows: int) -> list[tuple[str, str]]:
    return repeated([(text, label) for label, text in MESSAGES], n_rows)


def test_the_demo_table_ships_seven_classes() -> None:
    table = open_table(DEMO_TABLE)
    rows = rows_of(table)
    assert table.columns.names == ("title", "text", "label")
    assert (len(rows), len({row[1] for row in rows}), len(table.totals.classes)) == (410, 401, 7)
    assert table.warnings() == []
    assert rows == [tuple(posting.values()) for posting in postings()]
