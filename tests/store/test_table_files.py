"""Every table of the test data folder, read as its known content says."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from jdq.store.table import TableError, TableOptions, open_table

KEEP = {"unlabelled": True, "empty_text": "keep"}
SPECTRUM = [
    "comma_in_quotes",
    "empty",
    "empty_crlf",
    "escaped_quotes",
    "json",
    "newlines",
    "newlines_crlf",
    "quotes_and_newlines",
    "simple",
    "simple_crlf",
    "utf8",
]

# What the csvkit files are refused for; all others are read as Python's csv module reads them.
REFUSED = {
    "bad.csv": "lines 2, 3 have more or fewer cells than the header, which has 3 (line 2 has 4)",
    "bad_skip_lines.csv": "lines 5, 6 have more or fewer cells than the header, which has 3 (line 5 has 4)",
    "blanks_converted.csv": "no row with text",
    "empty.csv": "is empty",
    "join_a_short.csv": "lines 2, 3 have more or fewer cells",
    "no_header_row.csv": "a header and no rows",
    "no_header_row2.csv": "a header and no rows",
    "null_byte.csv": "NUL character in line 2",
    "test_empty_columns_long_row.csv": "no row with text",
    "test_empty_columns_short_row.csv": "no row with text",
    "test_extra_header.csv": "line 2 has 3 cells; the header has 4",
    "test_join_short_rows.csv": "lines 2, 3 have more or fewer cells",
    "test_latin1.csv": "not UTF-8: byte 16, line 3 has a9",
}


def read(file: Path, **options: object) -> tuple[tuple[str, ...], list[tuple[str, ...]], list[str]]:
    table = open_table(file, TableOptions(**options))  # type: ignore[arg-type]
    rows = [row for block in table.blocks() for row in block]
    return table.columns.names, rows, table.warnings()


@pytest.mark.parametrize("name", SPECTRUM)
def test_csv_spectrum(data_dir: Path, name: str) -> None:
    folder = data_dir / "csv-spectrum"
    # In the folder's copy of newlines_crlf.csv all line ends are LF, while its JSON has CRLF.
    expected = json.loads((folder / f"json__{name}.json").read_text().replace("\\r\\n", "\\n"))
    columns, rows, _ = read(folder / f"csvs__{name}.csv", text_column=next(iter(expected[0])), **KEEP)
    found = [dict(zip(columns, row, strict=True)) for row in rows]
    assert found == expected


def reference(file: Path) -> list[list[str]]:
    encoding = "utf-16" if "utf16" in file.name else "utf-8-sig"
    delimiter = {"sniff_limit.csv": ";", "dummy.tsv": "\t"}.get(file.name.removeprefix("examples__"), ",")
    with file.open(encoding=encoding, newline="") as stream:
        return [record for record in csv.reader(stream, delimiter=delimiter) if any(cell.strip() for cell in record)]


@pytest.mark.parametrize("name", REFUSED)
def test_csvkit_files_that_are_no_table_are_refused_with_the_reason(data_dir: Path, name: str) -> None:
    file = data_dir / "csvkit" / f"examples__{name}"
    text_column = "column_a" if name.startswith("bad") else "a"
    with pytest.raises(TableError) as caught:
        read(file, text_column=text_column, **KEEP)
    assert REFUSED[name] in str(caught.value)


def test_all_other_csvkit_files_are_read_as_python_reads_them(data_dir: Path) -> None:
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


def test_real_job_postings(data_dir: Path) -> None:
    columns, rows, warnings = read(data_dir / "emscad_120.csv", label_column="fraudulent")
    assert (len(columns), len(rows), warnings) == (18, 120, [])
    assert sum(row[-1] == "1" for row in rows) == 11
    with (data_dir / "emscad_120.csv").open(encoding="utf-8", newline="") as stream:
        assert rows == [tuple(record) for record in list(csv.reader(stream))[1:]]


def test_real_postings_without_a_label_in_some_rows_are_named(data_dir: Path) -> None:
    with pytest.raises(TableError, match=r"no label in column 'function' in rows \d+, .* and \d+ more\n"):
        read(data_dir / "emscad_120.csv", label_column="function")
    assert len(read(data_dir / "emscad_120.csv", label_column="function", missing_labels="keep")[1]) == 120


def test_two_hundred_empty_rows_of_a_spreadsheet_are_dropped(data_dir: Path) -> None:
    file = data_dir / "emscad_25_rows_then_200_empty.csv"
    _, rows, warnings = read(file)
    assert len(rows) == 25
    assert warnings == [f"{file}: 200 empty rows at the end are left out"]


@pytest.mark.parametrize(
    ("name", "n_rows", "text", "label", "n_classes"),
    [
        ("jobs_uk_4cat_120.csv", 120, "Description", "Category", 4),
        ("banking_10intents_200.csv", 200, "text", "category", 10),
        ("nsmc_like_400.tsv", 400, "document", "label", 2),
        ("nsmc_like_100_utf16.csv", 100, "document", "label", 2),
    ],
)
def test_public_sets_need_no_options(
    data_dir: Path, name: str, n_rows: int, text: str, label: str, n_classes: int
) -> None:
    table = open_table(data_dir / name)
    assert sum(map(len, table.blocks())) == n_rows
    assert (table.columns.text, table.columns.label, len(table.findings.classes)) == (text, label, n_classes)


def test_cp949_is_suggested_and_then_read(data_dir: Path) -> None:
    file = data_dir / "nsmc_like_200_cp949.tsv"
    with pytest.raises(TableError, match=r"byte 27, line 2(.|\n)*--encoding cp949$"):
        read(file)
    _, rows, _ = read(file, encoding="cp949")
    assert len(rows) == 200
    assert rows[0][1].startswith("이왕 만드는거 이쁜 배우로")


def test_the_sms_set_with_unnamed_columns_is_read_with_the_suggested_encoding(data_dir: Path) -> None:
    file = data_dir / "sms_spam_latin1_300.csv"
    with pytest.raises(TableError, match=r"byte 606, line 7(.|\n)*--encoding cp1252$"):
        read(file)
    columns, rows, _ = read(file, encoding="cp1252", text_column="v2", label_column="v1")
    assert columns[:2] == ("v1", "v2")
    assert len(rows) == 300
    assert {row[0] for row in rows} == {"ham", "spam"}


def test_the_demo_table_ships_seven_classes() -> None:
    from tests.conftest import PROJECT

    table = open_table(PROJECT / "demo" / "jobs.csv")
    rows = [row for block in table.blocks() for row in block]
    assert table.columns.names == ("title", "text", "label")
    assert (len(rows), len({row[1] for row in rows}), len(table.findings.classes)) == (410, 401, 7)
    assert table.warnings() == []
