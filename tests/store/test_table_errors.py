"""Bad input: each error names the file, the rows or lines, the values, and the next command."""

from pathlib import Path

import pytest

from jdq.store.table import TableOptions, open_table
from tests.store.conftest import Failing, error_of
from tests.written_tables import rows_of


@pytest.mark.parametrize("content", ["", "\n\n", ",,\n", " \n", "\ufeff"])
def test_an_empty_file(failing: Failing, content: str) -> None:
    assert failing(content) == "data.csv is empty: it needs a header line and rows"


@pytest.mark.parametrize("content", ["text,label\n", "text,label", "text,label\n\n"])
def test_a_header_without_rows(failing: Failing, content: str) -> None:
    assert failing(content) == "data.csv has a header and no rows; its columns: text, label"


def test_rows_that_are_all_empty(failing: Failing) -> None:
    assert failing("text,label\n,\n,\n") == "data.csv has a header and no row with text; columns: text, label"


def test_no_such_column_suggests_the_nearest(failing: Failing) -> None:
    options = TableOptions(text_column="descripton", label_column="category")
    assert failing("title,Description,category\na,b,c\n", options) == (
        "no column 'descripton' in data.csv; it has: title, Description, category"
        "\n  try: jdq submit extract data.csv --label-column category --text-column Description"
    )


def test_no_text_column_suggests_the_column_with_the_longest_cell(failing: Failing) -> None:
    assert failing("a,b b,label\nx,a long sentence,1\n") == (
        "no column 'text' in data.csv; it has: a, b b, label\n  try: jdq submit extract data.csv --text-column 'b b'"
    )


def test_several_text_columns_are_named(failing: Failing) -> None:
    message = failing("id,review,comment\n1,a,bb\n")
    assert message.startswith("data.csv: review, comment could each be the text column; it has: id, review, comment")
    assert message.endswith("--text-column comment")


def test_the_next_command_keeps_what_the_user_typed(failing: Failing) -> None:
    options = TableOptions(
        encoding="cp949", delimiter="tab", quoting="none", empty_text="skip", command="jdq submit fine-tune"
    )
    message = failing("a\tb\nx\ty\n", options)
    given = "--encoding cp949 --delimiter tab --no-quotes --skip-empty"
    assert message.endswith(f"\n  try: jdq submit fine-tune data.csv {given} --text-column a")


def test_duplicate_columns(failing: Failing) -> None:
    message = failing("text,label,label\na,b,c\n")
    assert message.startswith("data.csv has more than one column 'label'; it has: text, label, label")


def test_one_column_cannot_be_text_and_label(failing: Failing) -> None:
    message = failing("text,label\na,b\n", TableOptions(text_column="text", label_column="text"))
    assert message.startswith("data.csv: column 'text' cannot be both the text and the label")


def test_rows_without_text_are_numbered_as_the_user_counts(failing: Failing) -> None:
    assert failing("text,label\na,1\n   ,0\nb,1\n,0\nc,1\n") == (
        "data.csv: no text in column 'text' in rows 2, 4\n  try: jdq submit extract data.csv --skip-empty"
    )


def test_at_most_ten_rows_are_named_and_the_others_counted(failing: Failing) -> None:
    message = failing("text,label\n" + ",1\n" * 310 + "a,1\nb,0\n")
    assert "in rows 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 300 more\n" in message


def test_rows_without_a_label(failing: Failing) -> None:
    assert failing("text,label\na,1\nb, \nc,0\n") == (
        "data.csv: no label in column 'label' in row 2\n  try: jdq submit extract data.csv --missing-labels keep"
    )


def test_one_class_only(failing: Failing) -> None:
    assert failing("text,label\na,1\nb,1\n") == (
        "data.csv: column 'label' has one class only: '1', in 2 rows\n  try: jdq submit extract data.csv --unlabelled"
    )


def test_ragged_rows_are_named_by_their_lines(failing: Failing) -> None:
    content = 'text,label\n"two\nlines",1\nb\nc,0\nd,1,2\n'
    assert failing(content).startswith(
        "data.csv: lines 4, 6 have more or fewer cells than the header, which has 2 (line 4 has 1)"
    )


def test_an_unclosed_quote_is_named_by_the_line_it_began_on(failing: Failing) -> None:
    message = failing('text,label\na,1\n"b,0\nc,1\n')
    assert "data.csv: the record that begins on line 3 has a quote that is not closed" in message
    assert message.endswith("try: jdq submit extract data.csv --no-quotes")


def test_text_after_a_closing_quote(failing: Failing) -> None:
    message = failing('text,label\na,1\n"b" c,0\n')
    assert "line 3: text follows a closing quote" in message


def test_quotes_can_be_taken_for_text(tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_text('text,label\n"b" c,0\n"d,1\n')
    assert rows_of(open_table(file, TableOptions(quoting="none"))) == [('"b" c', "0"), ('"d', "1")]


def test_nul_characters_name_their_rows_and_can_be_removed(failing: Failing, tmp_path: Path) -> None:
    assert failing(b"text,label\na,1\nb\0,0\n") == (
        "data.csv has NUL characters in row 2\n  try: jdq submit extract data.csv --nul drop"
    )
    table = open_table(tmp_path / "data.csv", TableOptions(nul="drop"))
    assert rows_of(table) == [("a", "1"), ("b", "0")]
    assert "data.csv: NUL characters are left out in row 2" in table.warnings()[0]


@pytest.mark.parametrize(
    ("magic", "what"),
    [
        (b"PK\x03\x04", "zip"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"BZh9", "bz2"),
        (b"\xfd7zXZ\0", "xz"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "workbook"),
        (b"%PDF-1.7", "PDF"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (b"<!DOCTYPE html>\n<html>", "HTML"),
        (b"\xef\xbb\xbf\n<?xml ", "XML"),
        (b'{"text": "a"}\n', "name it .json or .jsonl"),
    ],
)
def test_what_is_no_text_is_called_by_its_name(failing: Failing, magic: bytes, what: str) -> None:
    assert what in failing(magic + b"...")


def test_rows_are_faulty_only_after_the_entire_file_was_read(tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_text("text,label\n" + "a,1\n" * 3000 + "b\n" + "c,0\n" * 3000 + "d\n")
    assert "lines 3002, 6003 have more or fewer cells" in error_of(file)


def test_a_line_too_long_for_a_table_is_refused(failing: Failing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jdq.store.table.source.LINE_BYTES", 1000)
    assert failing("text,label\n" + "x" * 1000) == "data.csv has a line of more than 1,000 bytes: is it a table?"
    assert failing("text,label\n" + "x" * 500 + "\r" + "x" * 500 + ",1\ny,2\n").startswith(
        "data.csv: line 2 has 1 cell"
    )


def test_a_cell_that_is_too_long_is_refused(failing: Failing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jdq.store.table.delimited.CELL_CHARACTERS", 1000)
    long = "text,label\n" + "x" * 1001 + ",1\n"
    fact = "data.csv: the record that begins on line 2 has a cell of more than 1,000 characters"
    assert failing(long).startswith(f"{fact}, or a quote that is not closed\n")
    assert failing(long, TableOptions(quoting="none")) == fact


def test_more_columns_than_a_table_can_have_are_refused(failing: Failing) -> None:
    content = ",".join(f"c{n}" for n in range(20_001)) + "\n" + "," * 20_000 + "x\n"
    assert failing(content) == "data.csv has 20,001 columns; a table may have 20,000"


def test_surplus_empty_cells_are_dropped_where_every_row_has_them(tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_text("text,label\na,x,,\nb,y,,\n,\n")
    table = open_table(file)
    assert rows_of(table) == [("a", "x"), ("b", "y")]
    assert "every row has 4 cells, the last of them empty and without a name; left out" in table.warnings()[1]


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        ("id,text,label\n1,Hi,ham\n2,Hello, world,\n", "line 3 has 4 cells; the header has 3"),
        ("text,label\na,x,\nb,y,,\n", "lines 2, 3 have more or fewer cells"),
        ("text\nDear sir,\nDear madam,\n", "lines 2, 3 have more or fewer cells"),
        (
            "text,label\na,x,,\nb\nc,y,\n",
            "lines 2, 3, 4 have more or fewer cells than the header, which has 2 (line 2 has 4)",
        ),
    ],
)
def test_other_surplus_cells_are_faults(failing: Failing, content: str, fact: str) -> None:
    assert failing(content).startswith(f"data.csv: {fact}")
