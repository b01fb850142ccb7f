"""Every kind of file that holds a table: packed, workbooks, arrays, several files, standard input, URLs."""

from __future__ import annotations

import bz2
import functools
import gzip
import http.server
import importlib.util
import io
import json
import lzma
import os
import sys
import threading
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jdq.store.datasets import Datasets
from jdq.store.table import TableError, TableOptions, open_table, table_name
from tests.written_tables import rows_of

Cells = Sequence[str | float | bool]
WORKBOOKS = Path(__file__).parent / "workbooks"
CONTENT = b'text,label\n"a\r b",1\n\xc3\xa9,2\n'
ROWS = [("a\r b", "1"), ("é", "2")]
PACK: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: pa.compress(data, "zstd", asbytes=True),
    "zip": lambda data: zipped({"folder/data.csv": data, "__MACOSX/data.csv": b"x"}),
}


def zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


@pytest.mark.parametrize("ending", PACK)
def test_a_packed_file_is_read_without_unpacking_it(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"data.csv.{ending}"
    file.write_bytes(PACK[ending](CONTENT))
    version = Datasets(tmp_path / "store").import_table(file)
    assert (version.name, version.n_rows, version.source.size_bytes) == ("data", 2, file.stat().st_size)
    assert rows_of(open_table(file)) == ROWS


@pytest.mark.parametrize("ending", PACK)
def test_a_packed_file_that_is_damaged_is_refused(tmp_path: Path, ending: str) -> None:
    lines = "".join(f"text {n * 7919 % 100_003},{n % 5}\n" for n in range(20_000))
    file = tmp_path / f"data.csv.{ending}"
    packed = PACK[ending](b"text,label\n" + lines.encode())
    file.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(TableError, match=r"cannot be unpacked|damaged zip archive"):
        rows_of(open_table(file))


@pytest.mark.parametrize("ending", [ending for ending in PACK if ending != "zst"])
def test_a_bomb_is_refused_before_it_goes_off(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jdq.store.table.source.UNPACKED_FREELY", 1 << 16)
    file = tmp_path / f"data.csv.{ending}"
    file.write_bytes(PACK[ending](b"text,label\n" + b"x,1\ny,2\n" * (1 << 15)))
    with pytest.raises(TableError, match=r"unpacks to more than 200 times its size"):
        rows_of(open_table(file))


def test_an_archive_of_several_files_names_them(tmp_path: Path) -> None:
    file = tmp_path / "data.zip"
    file.write_bytes(zipped({"a.csv": CONTENT, "b.csv": CONTENT}))
    with pytest.raises(TableError, match=r"holds 2 files: a.csv, b.csv"):
        open_table(file)
    file.write_bytes(zipped({"word/document.xml": b""}))
    with pytest.raises(TableError, match=r"is a Word document"):
        open_table(file)


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
    rows: list[Cells] = [("text", "label", "n"), ("007", 3, 1.5), (" =1+1", 20241231, True)]
    file.write_bytes(workbook({"Data": rows, "empty": []}))
    table = open_table(file)
    assert rows_of(table) == [("007", "3", "1.5"), (" =1+1", "20241231", "TRUE")]
    assert (table.kind, table.encoding, table.delimiter) == ("workbook", None, None)


def test_one_of_several_sheets_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data.xlsx").write_bytes(workbook({"Old": [("text",), ("x",)], "New one": [("text",), ("y",)]}))
    with pytest.raises(TableError) as caught:
        open_table("data.xlsx")
    fact = "data.xlsx has 2 sheets: Old, New one"
    assert str(caught.value) == f"{fact}\n  try: jdq submit extract data.xlsx --sheet Old"
    assert rows_of(open_table("data.xlsx", TableOptions(sheet="New one"))) == [("y",)]
    with pytest.raises(TableError, match=r"no sheet 'Next' in data.xlsx; it has: Old, New one"):
        open_table("data.xlsx", TableOptions(sheet="Next"))


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


def test_a_json_array_is_a_table(tmp_path: Path) -> None:
    file = tmp_path / "data.json"
    file.write_text('\ufeff [{"text": "a\\n", "label": 1.0},\n {"label": "2", "text": "b"}]', encoding="utf-8")
    assert rows_of(open_table(file)) == [("a\n", "1.0"), ("b", "2")]


def test_a_key_that_an_object_repeats_is_reported(tmp_path: Path) -> None:
    file = tmp_path / "data.jsonl"
    file.write_text('{"text": "a \\"text\\": "}\n{"text":"b","text":"c"}\n')
    table = open_table(file)
    assert rows_of(table) == [('a "text": ',), ("c",)]
    assert table.warnings() == [f"{file}: line 2: a name occurs twice in the object; the last one counts"]


def test_several_files_are_one_table_that_says_where_each_row_is_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("b.csv").write_text("text,label\nx,1\n")
    Path("a.csv").write_text("text,label\ny,2\nz,1\n,\n")
    expected = [("y", "2", "a.csv"), ("z", "1", "a.csv"), ("x", "1", "b.csv")]
    for names in (["a.csv", "b.csv", "./a.csv"][:2], ["*.csv"], ["."], [str(tmp_path / "[ab].csv")]):
        table = open_table(names)
        assert table.names == ("text", "label", "file")
        assert rows_of(table) == expected
    version = Datasets(tmp_path / "store").import_table(["a.csv", "b.csv"], name="both")
    assert [file.file for file in version.source.files] == ["a.csv", "b.csv"]
    assert (version.source.file, version.columns) == ("a.csv, b.csv", ("text", "label", "file"))
    Path("c.csv").write_text("text,kind\nx,1\n")
    with pytest.raises(
        TableError, match=r"c.csv has columns other than those of a.csv: text, kind; that has: text, label"
    ):
        open_table(["a.csv", "c.csv"])
    with pytest.raises(TableError, match=r"no file matches d\*.csv"):
        open_table("d*.csv")


def test_a_data_set_that_was_saved_to_disk_is_a_table(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_dict({"text": ["a", "b"], "label": [0, 1]}).save_to_disk(str(tmp_path / "set"))
    assert rows_of(open_table(tmp_path / "set")) == [("a", "0"), ("b", "1")]


def described_labels(labels: pa.Array, **feature: object) -> pa.Table:
    """A table as `datasets` writes it."""
    info = {"info": {"features": {"text": [{"dtype": "string"}], "label": {"_type": "ClassLabel", **feature}}}}
    table = pa.table({"text": ["a", "b", "c", "d"], "label": labels})
    return table.replace_schema_metadata({"huggingface": json.dumps(info)})


@pytest.mark.parametrize("ending", ["arrow", "parquet"])
def test_class_labels_of_a_hugging_face_data_set_are_imported_as_their_names(tmp_path: Path, ending: str) -> None:
    table = described_labels(pa.array([1, -1, 0, None]), names=["neg", "pos"])
    file = tmp_path / f"data.{ending}"
    with pa.ipc.new_stream(file, table.schema) as stream:
        stream.write(table)
    if ending == "parquet":
        pq.write_table(table, file)
    version = Datasets(tmp_path / "store").import_table(file, options=TableOptions(missing_labels="keep"))
    assert list(version.labels(missing="keep")) == ["pos", "", "neg", ""]
    assert version.source.warnings == (
        f"{file}: column 'label' has numbers of classes, which are imported as their names: neg, pos",
        f"{file}: rows 2, 4 without a label",
        f"{file}: 2 classes of one row, which a split cannot divide: 'neg', 'pos'",
    )


@pytest.mark.parametrize("number", [2, -2])
def test_a_class_label_without_a_name_is_refused(tmp_path: Path, number: int) -> None:
    pq.write_table(described_labels(pa.array([0, 1, 0, number]), names=["neg", "pos"]), tmp_path / "data.parquet")
    with pytest.raises(TableError, match=f"'label' has class {number}; the file names 2 classes, from 0 on"):
        rows_of(open_table(tmp_path / "data.parquet"))


@pytest.mark.parametrize(
    ("labels", "feature"),
    [
        (["1", "0", "1", "0"], {"names": ["neg", "pos"]}),
        ([1, 0, 1, 0], {"names": None}),
        ([1, 0, 1, 0], {"names": ["neg", "pos"], "_type": "Value"}),
    ],
)
def test_labels_that_are_not_described_as_classes_stay_as_they_are(
    tmp_path: Path, labels: list[object], feature: dict[str, object]
) -> None:
    pq.write_table(described_labels(pa.array(labels), **feature), tmp_path / "data.parquet")
    assert [label for _, label in rows_of(open_table(tmp_path / "data.parquet"))] == ["1", "0", "1", "0"]


def test_a_description_that_is_damaged_is_ignored(tmp_path: Path) -> None:
    table = pa.table({"text": ["a", "b"], "label": [0, 1]}).replace_schema_metadata({"huggingface": "{"})
    pq.write_table(table, tmp_path / "data.parquet")
    assert rows_of(open_table(tmp_path / "data.parquet")) == [("a", "0"), ("b", "1")]


def test_standard_input_is_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(CONTENT))))
    version = Datasets(tmp_path).import_table("-")
    assert (version.name, version.n_rows, version.source.file) == ("stdin", 2, "-")


class _Serving(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


def test_a_url_is_a_table(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    pytest.importorskip("aiohttp")
    (tmp_path / "data.csv.gz").write_bytes(gzip.compress(CONTENT))
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(_Serving, directory=str(tmp_path))
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        version = Datasets(tmp_path / "store").import_table(f"{url}/data.csv.gz")
        with pytest.raises(TableError, match=rf"cannot read {url}/none.csv: 404"):
            open_table(f"{url}/none.csv")
        server.shutdown()
    assert (version.name, version.n_rows, version.source.file) == ("data", 2, "data.csv.gz")
    with pytest.raises(TableError, match=r"cannot read http://127.0.0.1:1/data.csv: Cannot connect to host"):
        open_table("http://127.0.0.1:1/data.csv")
    with fsspec.open("memory://folder/data.csv", "wb") as stream:
        stream.write(CONTENT)
    assert rows_of(open_table("memory://folder/data.csv")) == ROWS
    with pytest.raises(TableError, match=r"cannot read memory://none.csv: no such file"):
        open_table("memory://none.csv")
    with pytest.raises(TableError, match="cannot read nothing://a: "):
        open_table("nothing://a")


@pytest.mark.parametrize(("url", "package"), [("s3://bucket/a.csv", "s3fs"), ("gs://bucket/a.csv", "gcsfs")])
def test_a_url_whose_package_is_missing_names_it(url: str, package: str) -> None:
    pytest.importorskip("fsspec")
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    with pytest.raises(TableError, match=rf"cannot read {url}: .*nstall {package}"):
        open_table(url)


def test_without_fsspec_a_url_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(TableError, match=r"reading s3://a needs fsspec\n  try: pip install 'jdq\[urls\]'"):
        open_table("s3://a")


@pytest.mark.parametrize(
    ("names", "name"),
    [
        (["folder/data.csv.gz"], "data"),
        (["data.jsonl", "b.jsonl"], "data"),
        (["folder/*.csv"], "folder"),
        (["s3://bucket/a/data.parquet"], "data"),
        (["hf:org/name"], "name"),
        (["-"], "stdin"),
    ],
)
def test_a_table_is_called_after_its_first_file(names: list[str], name: str) -> None:
    assert table_name(names) == name


def test_several_text_columns_become_one_more(tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_text("title,body,label\nChef,Cooks.,1\n ,Sells.,2\nDriver,,1\n")
    options = TableOptions(text_column=("title", "body"))
    version = Datasets(tmp_path / "store").import_table(file, options=options)
    assert version.columns == ("title", "body", "label", "title + body")
    assert (version.text_column, version.source.text_columns) == ("title + body", ("title", "body"))
    assert version.texts() == ["Chef\n\nCooks.", "Sells.", "Driver"]


@pytest.mark.parametrize("what", ["appended to", "overwritten", "replaced", "deleted"])
@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, what: str, ending: str) -> None:
    file = tmp_path / f"data{ending}"
    if ending == ".csv":
        file.write_text("text\n" + ("x" * 200 + "\n") * 5000)
    else:
        pq.write_table(pa.table({"text": ["x"] * 5000}), file)
    store = Datasets(tmp_path / "store")

    def change(done: int) -> None:
        if 2000 < done < 3000:
            data = file.read_bytes()
            if what == "appended to":
                file.write_bytes(data + b"y\n")
            elif what == "overwritten":
                file.write_bytes(data[:-2] + b"y\n")
                os.utime(file, ns=(0, 0))
            elif what == "replaced":
                other = file.with_name("other")
                other.write_bytes(data)
                other.replace(file)
            else:
                file.unlink()

    with pytest.raises(TableError, match=r"was changed while it was read; nothing was imported|not a readable Parquet"):
        store.import_table(file, after_block=change)
    assert store.names() == []


def test_the_digest_is_of_the_bytes_that_were_read(tmp_path: Path) -> None:
    import hashlib

    for name, data in (
        ("data.csv", CONTENT),
        ("data.csv.zip", PACK["zip"](CONTENT)),
        ("d.csv.gz", gzip.compress(CONTENT)),
    ):
        (tmp_path / name).write_bytes(data)
        version = Datasets(tmp_path / "store").import_table(tmp_path / name)
        assert version.source.sha256 == hashlib.sha256(data).hexdigest()


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
        (
            "text,label,\nx,1\nHello, world,1\ny,2\n",
            "line 3 is the first with something in column 3, which has no name",
        ),
        ("# made by hand\ntext\n", "the header begins with '#'; if it is a comment, use --skip-lines"),
        ("I liked it\nIt was bad\n", "the first line is taken for the name of the only column: 'I liked it'"),
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
