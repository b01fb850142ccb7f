"""Breadth: the public tables of the test data folder, read as their known content says; skipped without the folder.

What these files have in common with users' own is held by test_table_files.py, which writes its tables itself.
"""

import csv
import json
from pathlib import Path

import pytest

from jdq.store.table import TableError, open_table
from tests.store.test_table_files import KEEP, read
from tests.written_tables import rows_of

# What the csvkit files are refused for; all others are read as Python's csv module reads them.
REFUSED = {
    "bad.csv": "lines 2, 3 have more or fewer cells than the header, which has 3 (line 2 has 4)",
    "bad_skip_lines.csv": "lines 5, 6 have more or fewer cells than the header, which has 3 (line 5 has 4)",
    "blanks_converted.csv": "no row with text",
    "empty.csv": "is empty",
    "join_a_short.csv": "lines 2, 3 have more or fewer cells",
    "no_header_row.csv": "a header and no rows",
    "no_header_row2.csv": "a header and no rows",
    "null_byte.csv": "NUL characters in row 1",
    "test_empty_columns_long_row.csv": "no row with text",
    "test_empty_columns_short_row.csv": "no row with text",
    "test_extra_header.csv": "line 2 has 3 cells; the header has 4",
    "test_join_short_rows.csv": "lines 2, 3 have more or fewer cells",
    "test_latin1.csv": "not UTF-8: byte 16, line 3 has a9",
}


def test_csv_spectrum(data_dir: Path, subtests: pytest.Subtests) -> None:
    files = sorted((data_dir / "csv-spectrum").glob("csvs__*.csv"))
    assert len(files) == 11
    for file in files:
        name = file.stem.removeprefix("csvs__")
        with subtests.test(name):
            # In the folder's copy of newlines_crlf.csv all line ends are LF, while its JSON has CRLF.
            expected = json.loads(file.with_name(f"json__{name}.json").read_text().replace("\\r\\n", "\\n"))
            columns, rows, _ = read(file, text_column=next(iter(expected[0])), **KEEP)
            assert [dict(zip(columns, row, strict=True)) for row in rows] == expected


def reference(file: Path) -> list[list[str]]:
    encoding = "utf-16" if "utf16" in file.name else "utf-8-sig"
    delimiter = {"sniff_limit.csv": ";", "dummy.tsv": "\t"}.get(file.name.removeprefix("examples__"), ",")
    with file.open(encoding=encoding, newline="") as stream:
        return [record for record in csv.reader(stream, delimiter=delimiter) if any(cell.strip() for cell in record)]


def test_csvkit_files_are_read_as_python_reads_them_or_refused_with_the_reason(
    data_dir: Path, subtests: pytest.Subtests
) -> None:
    for name, reason in REFUSED.items():
        with subtests.test(name), pytest.raises(TableError) as caught:
            text_column = "column_a" if name.startswith("bad") else "a"
            read(data_dir / "csvkit" / f"examples__{name}", text_column=text_column, **KEEP)
        assert reason in str(caught.value)
    files = [file for file in (data_dir / "csvkit").glob("*.[ct]sv") if file.name[len("examples__") :] not in REFUSED]
    assert len(files) == 57
    for file in files:
        header, *expected = reference(file)
        columns, rows, _ = read(file, text_column=next(name for name in header if name.strip()), **KEEP)
        named = [name or f"column_{place + 1}" for place, name in enumerate(header)][: len(columns)]
        assert list(columns) == named, file.name
        padded = [(record + [""] * len(columns))[: len(columns)] for record in expected]
        assert [list(row) for row in rows if any(row)] == padded, file.name
        assert not any(cell for record in expected for cell in record[len(columns) :]), file.name


def test_public_sets_need_no_options_but_a_label_column_that_many_could_be(
    data_dir: Path, subtests: pytest.Subtests
) -> None:
    for name, n_rows, text, label, n_classes in [
        ("jobs_uk_4cat_120.csv", 120, "Description", "Category", 4),
        ("banking_10intents_200.csv", 200, "text", "category", 10),
        ("nsmc_like_400.tsv", 400, "document", "label", 2),
        ("nsmc_like_100_utf16.csv", 100, "document", "label", 2),
    ]:
        with subtests.test(name):
            table = open_table(data_dir / name)
            assert len(rows_of(table)) == n_rows
            assert (table.columns.text, table.columns.label, len(table.totals.classes)) == (text, label, n_classes)
    columns, rows, warnings = read(data_dir / "emscad_120.csv", label_column="fraudulent")
    assert (len(columns), len(rows), warnings) == (18, 120, [])
    with (data_dir / "emscad_120.csv").open(encoding="utf-8", newline="") as stream:
        assert rows == [tuple(record) for record in list(csv.reader(stream))[1:]]


def test_real_files_in_other_encodings_suggest_the_right_one(data_dir: Path, subtests: pytest.Subtests) -> None:
    for name, place, encoding, n_rows in [
        ("nsmc_like_200_cp949.tsv", "byte 27, line 2", "cp949", 200),
        ("sms_spam_latin1_300.csv", "byte 606, line 7", "cp1252", 300),
    ]:
        with subtests.test(name):
            with pytest.raises(TableError, match=rf"{place}(.|\n)*--encoding {encoding}$"):
                read(data_dir / name)
            columns = {"text_column": "v2", "label_column": "v1"} if name.startswith("sms") else {}
            assert len(read(data_dir / name, encoding=encoding, **columns)[1]) == n_rows
