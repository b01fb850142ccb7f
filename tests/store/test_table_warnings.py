"""What is unusual but no error is imported, and reported."""

from pathlib import Path

import pytest

from jdq.store.table import TableOptions, open_table
from tests.written_tables import rows_of


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (
            "text,label\nHello,1\nIt\u00e2\u20ac\u2122s fine,2\n",
            "row 2 may be in another encoding: 'It\u00e2\u20ac\u2122s fine'",
        ),
        ("text,label\nx,1\nCaf\u00c3\u00a9,2\n", "row 2 may be in another encoding"),
        ("text,label\nx,1\n\x1b$)C\x0e?5H-\x0f,2\n", "row 2 may be in another encoding"),
        ("text,label\ntext,label\nx,1\ny,2\n", "row 1: the header again"),
        ("spam,text\nham,x\nspam,y\n", "row 2: a column's name again; if the first line is a row, use --no-header"),
        ("n,text,label\n1,x,a\n2,y,label\n", "row 2: a column's name again"),
        (
            "text,label,\nx,1\nHello, world,1\ny,2\n",
            "line 3 is the first with something in column 3, which has no name",
        ),
        ("# made by hand\ntext\n", "the header begins with '#'; if it is a comment, use --skip-lines"),
        ("I liked it\nIt was bad\n", "the first line is taken as the name of the only column: 'I liked it'"),
        ('id,text,label\n1,"a ""b""",x\n2,Boots"Warm, and dry"\n', "row 2 may have lost a delimiter before a quote"),
        ("text\na\nb\rc\n", "rows end in CR or LF: does a cell have a line end without quotes?"),
        ("text\na\nb\r\nc\n", "rows end in CR LF or LF: does a cell have a line end without quotes?"),
        ("text,x,x\na,b,c\n", "more than one column 'x'; the later ones are numbered (x_2)"),
    ],
)
def test_what_is_odd_is_reported(tmp_path: Path, content: str, word: str) -> None:
    file = tmp_path / "data.csv"
    file.write_text(content, encoding="utf-8")
    options = TableOptions(missing_labels="keep", label_column="label") if "label" in content else TableOptions()
    table = open_table(file, options)
    rows_of(table)
    assert any(word in warning for warning in table.warnings()), table.warnings()


def test_mixed_line_ends_are_reported_in_any_encoding(tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_bytes("text\na\nb\rc\n".encode("utf-16"))
    table = open_table(file)
    assert rows_of(table) == [("a",), ("b",), ("c",)]
    assert table.warnings() == [f"{file}: rows end in CR or LF: does a cell have a line end without quotes?"]


def test_the_words_around_a_garbled_letter_are_shown(tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_text(f"id,text\n1,{'x' * 20}\u00c3\u00a9{'y' * 20}\ufffd\n2,It\u00e2\u20ac\u2122s\n", encoding="utf-8")
    table = open_table(file)
    rows_of(table)
    shown = f"{'x' * 15}\u00c3\u00a9{'y' * 13}"
    assert table.warnings() == [f"{file}: rows 1, 2 may be in another encoding: {shown!r}"]


@pytest.mark.parametrize(
    "text", ["São Paulo, NÃO", "naïve café \u2013 \u201cquoted\u201d", '12" and 14" screens', "영화 검토", "Ââ"]
)
def test_what_is_not_odd_is_not(tmp_path: Path, text: str) -> None:
    file = tmp_path / "data.tsv"
    file.write_text(f"text\tother\n{text}\t{text}\n", encoding="utf-8")
    table = open_table(file, TableOptions(quoting="none"))
    assert rows_of(table) == [(text, text)]
    assert table.warnings() == []


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_line_ends_inside_quotes_are_not_odd(tmp_path: Path, newline: str) -> None:
    file = tmp_path / "data.csv"
    file.write_bytes(newline.join(['"text\r"', *['"a\rb"', '"c\nd"', '"e\r\nf"'] * 30_000]).encode())
    table = open_table(file)
    assert len(rows_of(table)) == 90_000
    assert [warning for warning in table.warnings() if "rows end in" in warning] == []
