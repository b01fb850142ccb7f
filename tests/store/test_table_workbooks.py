"""Sheets of workbooks: Excel and OpenDocument."""

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from jdq.store.table import TableError, TableOptions, open_table
from jdq.store.table.workbook import _number, _ods_extent
from tests.written_tables import rows_of, zipped

Cells = Sequence[str | float | bool]
WORKBOOKS = Path(__file__).parent / "workbooks"
SHEET = """<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>{}</sheetData></worksheet>"""


def workbook(sheets: dict[str, list[Cells]]) -> bytes:
    """A minimal .xlsx."""

    def cell(value: str | float | bool) -> str:
        if isinstance(value, bool):
            return f'<c t="b"><v>{int(value)}</v></c>'
        return (
            f'<c t="inlineStr"><is><t xml:space="preserve">{value}</t></is></c>'
            if isinstance(value, str)
            else f"<c><v>{value}</v></c>"
        )

    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006/relationships"
    names = list(enumerate(sheets, start=1))
    listed = "".join(f'<sheet name="{name}" sheetId="{n}" r:id="r{n}"/>' for n, name in names)
    targets = "".join(
        f'<Relationship Id="r{n}" Type="{relations}/worksheet" Target="worksheets/sheet{n}.xml"/>' for n, _ in names
    )
    files = {
        "_rels/.rels": f'<Relationships xmlns="{package}"><Relationship Id="r" Type="{relations}/officeDocument"'
        f' Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{relations}"><sheets>{listed}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}">{targets}</Relationships>',
    }
    for n, rows in enumerate(sheets.values(), start=1):
        cells = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in rows)
        files[f"xl/worksheets/sheet{n}.xml"] = SHEET.format(cells)
    return zipped({name: content.encode() for name, content in files.items()})


def test_the_cells_of_a_workbook_stay_what_they_show(tmp_path: Path) -> None:
    file = tmp_path / "data.xlsx"
    rows: list[Cells] = [("text", "label", "n"), ("007", 3, 1.5), (" =1+1", 20241231, True), ("x", 2**53, 2**53 + 2)]
    file.write_bytes(workbook({"Data": rows, "empty": []}))
    table = open_table(file)
    exact, inexact = "9007199254740992", "9007199254740994.0"
    assert rows_of(table) == [("007", "3", "1.5"), (" =1+1", "20241231", "TRUE"), ("x", exact, inexact)]
    assert (table.kind, table.encoding, table.delimiter) == ("workbook", None, None)


def test_one_of_several_sheets_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data.xlsx").write_bytes(workbook({"Old": [("text",), ("x",)], "New one": [("text",), ("y",)]}))
    with pytest.raises(TableError) as caught:
        open_table("data.xlsx")
    fact = "data.xlsx has 2 sheets: Old, New one"
    assert str(caught.value) == f"{fact}\n  try: jdq submit extract data.xlsx --sheet Old"
    assert rows_of(open_table("data.xlsx", TableOptions(sheet="New one"))) == [("y",)]
    with pytest.raises(TableError) as caught:
        open_table("data.xlsx", TableOptions(sheet="Next"))
    fact = "no sheet 'Next' in data.xlsx; it has: Old, New one"
    assert str(caught.value) == f"{fact}\n  try: jdq submit extract data.xlsx --sheet Old"


def test_cells_that_are_too_far_apart_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(workbook({"Data": [("text",)]}))) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    far = "<row>" + " " * (1 << 18) + '<c r="A1"><v>1</v></c></row><row><c r="XFD1048576"><v>1</v></c></row>'
    files["xl/worksheets/sheet1.xml"] = SHEET.format(far).encode()
    file = tmp_path / "data.xlsx"
    file.write_bytes(zipped(files))
    with pytest.raises(
        TableError, match=r"a sheet has 1,048,576 rows and 16,384 columns; a workbook may have 30,000,000"
    ):
        open_table(file)


def open_document(rows: str) -> bytes:
    """An ODS file with one sheet of these rows."""
    table, office, text = (f"urn:oasis:names:tc:opendocument:xmlns:{name}:1.0" for name in ("table", "office", "text"))
    content = (
        f'<office:document-content xmlns:office="{office}" xmlns:table="{table}" xmlns:text="{text}"><office:body>'
        f'<office:spreadsheet><table:table table:name="S">{rows}</table:table></office:spreadsheet></office:body>'
        "</office:document-content>"
    )
    mimetype = b"application/vnd.oasis.opendocument.spreadsheet"
    return zipped({"mimetype": mimetype, "content.xml": content.encode(), "META-INF/manifest.xml": b"<manifest/>"})


def open_document_row(*cells: str, rows: int = 1, columns: int = 1) -> str:
    """The row, and each of its cells, repeated so many times; an empty cell has no value."""
    return (
        f'<table:table-row table:number-rows-repeated="{rows}">'
        + "".join(
            f'<table:table-cell table:number-columns-repeated="{columns}"'
            + (f' office:value-type="string"><text:p>{cell}</text:p></table:table-cell>' if cell else "/>")
            for cell in cells
        )
        + "</table:table-row>"
    )


def test_open_document_sheets_are_read(tmp_path: Path) -> None:
    file = tmp_path / "data.ods"
    blank = open_document_row("", rows=1_000_000, columns=16_384)
    rows = "".join(open_document_row(*row) for row in [("text", "label"), ("é", "01"), ("b", "2")])
    file.write_bytes(open_document(rows + blank))
    assert rows_of(open_table(file)) == [("é", "01"), ("b", "2")]


@pytest.mark.parametrize(("rows", "columns"), [(1_048_575, 29), (2, 15_000_001), (10**12, 1)])
def test_repeated_cells_that_would_fill_the_memory_are_refused(tmp_path: Path, rows: int, columns: int) -> None:
    file = tmp_path / "data.ods"
    file.write_bytes(open_document(open_document_row("text") + open_document_row("a", rows=rows, columns=columns)))
    with pytest.raises(TableError, match=f"a sheet has {rows + 1:,} rows and {columns:,} columns; a workbook may have"):
        open_table(file)
    file.write_bytes(open_document("<table:table-row"))
    with pytest.raises(TableError, match=r"data.ods is not a readable workbook: not well-formed"):
        open_table(file)


@pytest.mark.parametrize("ending", ["xls", "xlsb"])
def test_a_sheet_that_excel_saved_has_the_text_of_each_type(ending: str) -> None:
    options = TableOptions(sheet="Sheet1", skip_lines=1, header=False, text_column="column_1")
    [cells] = rows_of(open_table(WORKBOOKS / f"base.{ending}", options))
    assert cells[:5] == ("String", "1", "1.1", "TRUE", "FALSE")
    assert cells[5:] == ("2010-10-10", "2010-10-10 10:10:10", "10:10:10", "10:10:10.100000", "10 days, 15:10:10")


def test_cells_of_a_binary_workbook_that_are_far_apart_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(WORKBOOKS / "base.xlsb") as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    sheet = files["xl/worksheets/sheet1.bin"]
    at = sheet.index(b"\x00\x19") + 2  # behind the type and the size of the first row
    files["xl/worksheets/sheet1.bin"] = sheet[:at] + (50_000_000).to_bytes(4, "little") + sheet[at + 4 :]
    (tmp_path / "data.xlsb").write_bytes(zipped(files))
    with pytest.raises(TableError, match="a sheet has 50,000,001 rows and 10 columns; a workbook may have 30,000,000"):
        open_table(tmp_path / "data.xlsb")


def test_the_numbers_of_a_binary_workbook_have_seven_bits_per_byte() -> None:
    for data, most, number in [(b"\x7f", 2, 127), (b"\x81\x01\x05", 2, 129), (b"\xff\xff\xff\x7f", 4, (1 << 28) - 1)]:
        assert _number(io.BytesIO(data), most) == number
    assert _number(io.BytesIO(b"\x80\x80\x01"), 2) == 0
    assert _number(io.BytesIO(b"\x80"), 2) is None


def test_the_largest_sheet_of_an_open_document_counts() -> None:
    def extent(*sheets: str) -> tuple[int, int]:
        tables = "".join(f"<table:table>{rows}</table:table>" for rows in sheets)
        return _ods_extent(io.BytesIO(f"<a xmlns:table='t' xmlns:office='o' xmlns:text='x'>{tables}</a>".encode()))

    cell = '<table:table-cell office:value-type="float"/>'
    row = f"<table:table-row><table:table-cell/>{cell}</table:table-row>"
    wide = f"<table:table-row><table:covered-table-cell table:number-columns-repeated='8'/>{cell}</table:table-row>"
    assert extent() == extent("<table:table-row><table:table-cell/></table:table-row>") == (0, 0)
    assert extent(row * 3) == (2, 3)
    assert extent(row * 3, row) == extent(row, row * 3) == (2, 3)
    assert extent(row * 3, wide, row) == (9, 1)
    assert extent(wide + row) == (9, 2)
