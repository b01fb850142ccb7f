"""What an error suggests: options with which the file is probably a table. The client's test_tables.py runs them."""

import pytest

from jdq.store.table import TableOptions
from tests.store.conftest import Failing

TRY = "\n  try: jdq submit extract data.csv"
QUOTES = "\n  a delimiter inside a cell needs quotes around the cell"
ROW = "\n  this looks like a row: if the file has no header, its columns are column_1, column_2, ..."
MANY = "lines 2, 3, 4 have more or fewer cells than the header, which has 1 (line 2 has {})"
CARETS = "text^label\na, b^1\nc^2\nd, e^1\nf, g^2\nh^1\n"

# name -> (content, options, message without the file's name and TRY)
STATES: dict[str, tuple[str, TableOptions, str]] = {
    "a line that names the delimiter": (
        "sep=;\ntext;label\nx;1\ny;2\n",
        TableOptions(),
        f"data.csv: line 1 names the delimiter (sep=;) and is not the header{TRY} --skip-lines 1 --delimiter ';'",
    ),
    "a line that names the tab": (
        "sep=\t\ntext\tlabel\nx\t1\ny\t2\n",
        TableOptions(),
        f"data.csv: line 1 names the delimiter (sep=\t) and is not the header{TRY} --skip-lines 1 --delimiter tab",
    ),
    "lines above": (
        "Export of 2024\n\nid,text\n1,x\n2,a b\n",
        TableOptions(),
        "data.csv: lines 3, 4, 5 have more or fewer cells than the header, which has 1 (line 3 has 2)"
        f"{QUOTES}{TRY} --skip-lines 2 --text-column text",
    ),
    "lines above, below which is the text column": (
        "text\nid,text,label\n1,x,a\n2,y,b\n",
        TableOptions(text_column="text"),
        f"data.csv: {MANY.format(3)}{QUOTES}{TRY} --text-column text --skip-lines 1",
    ),
    "lines above, below which is another text column": (
        "text\nid,review\n1,long words\n2,y\n",
        TableOptions(text_column="text"),
        f"data.csv: {MANY.format(2)}{QUOTES}{TRY} --skip-lines 1 --text-column review",
    ),
    "names below two of five": (
        "Export,2024,,,\nid,review,kind,a,b\n1,xyz,p,q,r\n2,y,p,q,r\n",
        TableOptions(),
        "no column 'text' in data.csv; it has: Export, 2024, column_3, column_4, column_5"
        f"{TRY} --skip-lines 1 --text-column review",
    ),
    "three names of five": (
        "Export,month,x,,\nid,review,kind,a,b\n1,x,p,q,long\n2,y,p,q,r\n",
        TableOptions(),
        f"no column 'text' in data.csv; it has: Export, month, x, column_4, column_5{TRY} --text-column month",
    ),
    "one column of texts with commas": (
        "text\nHello, I want to pay\nMy card, which is lost, is blue\nWhy, then, me\n",
        TableOptions(),
        f"data.csv: {MANY.format(2)}{QUOTES}{TRY} --delimiter tab",
    ),
    "one column of texts with commas and tabs": (
        "text\nHello, I want\tto pay\nMy card, which is lost, is blue\nWhy, then, me\n",
        TableOptions(),
        f"data.csv: {MANY.format(2)}{QUOTES}{TRY} --delimiter ';'",
    ),
    "another delimiter": (
        CARETS,
        TableOptions(text_column="text^label"),
        "data.csv: lines 2, 4, 5 have more or fewer cells than the header, which has 1 (line 2 has 2)"
        f"{QUOTES}{TRY} --text-column 'text^label' --delimiter '^'",
    ),
    "a delimiter that the user named": (
        CARETS,
        TableOptions(delimiter=",", text_column="text^label"),
        "data.csv: lines 2, 4, 5 have more or fewer cells than the header, which has 1 (line 2 has 2)" + QUOTES,
    ),
    "one row with a delimiter in a cell": (
        "text,label\na,x\nb,y\nc\n",
        TableOptions(),
        f"data.csv: line 4 has 1 cell; the header has 2{QUOTES}",
    ),
    "no header": (
        "1,I liked it a lot\n2,It was bad\n",
        TableOptions(),
        f"no column 'text' in data.csv; it has: 1, I liked it a lot{ROW}{TRY} --no-header --text-column column_2",
    ),
    "no header, but cells that recur": (
        "spam,hello\nham,good bye\nspam,buy now\n",
        TableOptions(),
        f"no column 'text' in data.csv; it has: spam, hello{ROW}{TRY} --no-header --text-column column_2",
    ),
    "the header twice": (
        "a,b\na,b\n1,2\n",
        TableOptions(),
        f"no column 'text' in data.csv; it has: a, b{TRY} --text-column a",
    ),
    "no such label": (
        "a,b\n1,2\n",
        TableOptions(text_column="a", label_column="zzz"),
        f"no column 'zzz' in data.csv; it has: a, b{TRY} --text-column a --label-column b",
    ),
    "no such text besides another": (
        "a,b,c\n1,2,3\n",
        TableOptions(text_column=("a", "zzz"), label_column="b"),
        f"no column 'zzz' in data.csv; it has: a, b, c{TRY} --label-column b --text-column a --text-column c",
    ),
    "no such text nor another": (
        "a\n1\n",
        TableOptions(text_column="zzz", label_column="a"),
        f"no column 'zzz' in data.csv; it has: a{TRY} --label-column a --text-column a",
    ),
    "several usual names": (
        "id,review,comment\n1,a,bb\n2,a,\n3,a,\n",
        TableOptions(),
        "data.csv: review, comment could each be the text column; it has: id, review, comment"
        f"{TRY} --text-column review",
    ),
    "a name that is repeated": (
        "x,x,label\na long cell,b,c\n",
        TableOptions(),
        f"no column 'text' in data.csv; it has: x, x_2, label{TRY} --text-column x_2",
    ),
}


@pytest.mark.parametrize("state", STATES)
def test_an_error_ends_with_what_makes_the_file_a_table(failing: Failing, state: str) -> None:
    content, options, message = STATES[state]
    assert failing(content, options) == message
