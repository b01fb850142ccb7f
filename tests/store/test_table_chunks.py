"""Lines without quotes are divided by pyarrow, all others by csv: where the first answers, both say the same."""

import csv
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jdq.store.table import TableError, TableOptions, open_table
from jdq.store.table.chunk import Chunk, as_columns, as_numbers, chunk_bytes, chunked
from jdq.store.table.delimited import _splitter
from tests.written_tables import rows_of

# What might be more than a character to one of the readers.
PIECES = [*"ab é,\";\t'\\#\n\r\0\v\f\x1c\x85\u2028\ufeff", ",", ",", "\n", "\n", "\r\n", "NA", "null", "영화", "1e5"]
texts = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)


def by_csv(text: str, delimiter: str, *, quotes: bool) -> list[list[str]]:
    stream = io.StringIO(text, newline="")
    return list(csv.reader(stream, delimiter=delimiter, quoting=0 if quotes else csv.QUOTE_NONE, strict=True))


@settings(max_examples=1000, deadline=None)
@given(text=texts, width=st.integers(1, 3), delimiter=st.sampled_from([",", ";", "\t", "é", " "]), quotes=st.booleans())
@example(text="a,b\n\nc,d\n", width=2, delimiter=",", quotes=True)
@example(text="\ufeffa,b\n", width=2, delimiter=",", quotes=True)
@example(text="a\n\nb", width=1, delimiter=",", quotes=True)
@example(text="a\rb,c\n", width=2, delimiter=",", quotes=True)
@example(text='"a,b",c\n', width=2, delimiter=",", quotes=True)
def test_what_pyarrow_divides_is_what_csv_reads(text: str, width: int, delimiter: str, quotes: bool) -> None:
    columns = _splitter(width, delimiter, quotes=quotes)(text.encode())
    rows = list(map(list, zip(*(column.to_pylist() for column in columns), strict=True)))
    if rows:
        assert rows == by_csv(text, delimiter, quotes=quotes)


@pytest.mark.parametrize("text", ["a,b\nc,d\n", "a,b\r\nc,d\r\n", "a,b\nc,d", "é,영화\n,\n", "\0,\x1c\n' , #\n"])
def test_plain_lines_are_divided_by_pyarrow(text: str) -> None:
    columns = _splitter(2, ",", quotes=True)(text.encode())
    assert [list(row) for row in zip(*(column.to_pylist() for column in columns), strict=True)] == by_csv(
        text, ",", quotes=True
    )


@pytest.mark.parametrize("delimiter", [";", "\t", " "])
def test_lines_are_divided_only_at_the_delimiter(delimiter: str) -> None:
    columns = _splitter(2, delimiter, quotes=True)(f"a,b|c{delimiter}d\n".encode())
    assert [column.to_pylist() for column in columns] == [["a,b|c"], ["d"]]
    assert _splitter(2, "é", quotes=True)("aéb\n".encode()) == []


def test_quotes_are_divided_where_they_are_text() -> None:
    assert _splitter(1, ",", quotes=False)(b'"a\n')[0].to_pylist() == ['"a']
    assert _splitter(1, ",", quotes=True)(b'"a\n') == []


@pytest.mark.parametrize("data", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\x80"])
def test_bytes_that_are_not_utf_8_are_left_to_csv(data: bytes) -> None:
    with pytest.raises(UnicodeDecodeError):
        data.decode()
    assert _splitter(2, ",", quotes=True)(b"a," + data + b"\n") == []


def in_chunks_of(patch: pytest.MonkeyPatch, size: int) -> None:
    """Reads tables in pieces of so many bytes, and the header in one of its own."""
    patch.setattr("jdq.store.table.chunk.CHUNK_BYTES", size)
    patch.setattr("jdq.store.table.chunk.COLUMN_BYTES", 0)
    patch.setattr("jdq.store.table.delimited.FIRST_BYTES", 1)


cells = st.lists(st.sampled_from(["a", "é", '"', ",", "\n", "\r\n", " ", "영화"]), max_size=4).map("".join)


@settings(max_examples=300, deadline=None)
@given(
    rows=st.lists(st.tuples(cells.map(lambda cell: f"t{cell}"), cells), min_size=1, max_size=30),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp949"]),
    newline=st.sampled_from(["\n", "\r\n"]),
    size=st.integers(1, 80),
)
def test_no_cell_depends_on_where_a_piece_of_the_file_ends(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], encoding: str, newline: str, size: int
) -> None:
    file = tmp_path_factory.mktemp("t") / "data.csv"
    with file.open("w", newline="", encoding=encoding, errors="replace") as stream:
        csv.writer(stream, lineterminator=newline).writerows([("text", "b"), *rows])
    with file.open(newline="", encoding=encoding) as stream:
        expected = [tuple(row) for row in csv.reader(stream)][1:]
    with pytest.MonkeyPatch.context() as patch:
        in_chunks_of(patch, size)
        given_encoding = "cp949" if encoding == "cp949" else None
        table = open_table(file, TableOptions(encoding=given_encoding, unlabelled=True, delimiter=","))
        assert rows_of(table) == expected


@pytest.mark.parametrize("size", [1, 7, 30, 1000])
@pytest.mark.parametrize("above", ["a,1\n", 'a,"1"\n', 'a,"\n"\n', "\n", "a,1\r\n"])
@pytest.mark.parametrize("skipped", [0, 2])
def test_the_line_of_a_fault_is_right_wherever_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, above: str, skipped: int
) -> None:
    in_chunks_of(monkeypatch, size)
    head = "x\n" * skipped + "text,b\n" + above * 5
    line = head.count("\n") + 1
    for fault, fact in [("c\n", f"line {line} has 1 cell"), ('c,"d" e\n', f"line {line}: text follows")]:
        (tmp_path / "data.csv").write_bytes((head + fault + above * 3).encode())
        with pytest.raises(TableError, match=fact):
            rows_of(open_table(tmp_path / "data.csv", TableOptions(unlabelled=True, skip_lines=skipped)))


def test_a_chunk_is_rows_or_columns() -> None:
    columns = [pa.array(["a", "b"]), pa.array(["1", ""])]
    records = [(7, ["a", "1"]), (8, ["b", ""])]
    by_columns, by_rows = Chunk([], columns, line=7), Chunk(records)
    assert by_columns.records() == by_rows.records() == records
    assert by_columns.columns(2) is columns
    assert list(by_rows.columns(2)) == columns
    assert [column.type for column in by_rows.columns(2)] == [pa.string(), pa.string()]
    assert by_rows.records() == records
    assert (by_columns.columns(3), Chunk(records).columns(1), Chunk([]).columns(0)) == ((), (), ())
    assert Chunk([(1, ["a"]), (2, ["a", "b"])]).columns(2) == ()
    assert Chunk([], columns).records()[0][0] == 0
    for ragged in (lambda: as_columns([["a"], ["a", "b"]]), Chunk([], [*columns, pa.array(["c"])]).records):
        with pytest.raises(ValueError, match="zip"):
            ragged()


def test_records_are_chunked_by_their_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    in_chunks_of(monkeypatch, 10)

    def sizes(*cells: str) -> list[list[int]]:
        return [[line for line, _ in chunk.records()] for chunk in chunked((n, [c]) for n, c in enumerate(cells))]

    assert sizes("12345", "12345", "1234567890", "1", "123456789", "1") == [[0, 1], [2], [3, 4], [5]]
    assert sizes("1234567890") == [[0]]
    assert sizes() == []


def test_a_chunk_grows_with_the_columns_up_to_a_bound() -> None:
    assert (chunk_bytes(1), chunk_bytes(256), chunk_bytes(257)) == (1 << 19, 1 << 19, 257 << 11)
    assert chunk_bytes(20_000) == 12 << 20


def test_a_table_of_several_chunks_counts_its_rows_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks that pyarrow divides, chunks that csv reads, and rows with a fault in between."""
    in_chunks_of(monkeypatch, 40)
    rows = [(f"text {n}", "xy"[n % 2]) for n in range(40)]
    rows[20] = ('a "quote"', "x")
    rows[30] = ("bad \ufffd", "y")
    file = tmp_path / "data.csv"
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("text", "label"), *rows])
    table = open_table(file)
    assert rows_of(table) == rows
    assert table.warnings() == [f"{file}: row 31 may be in another encoding: 'bad \ufffd'"]
    assert (table.totals.n_rows, dict(table.totals.classes)) == (40, {"x": 19, "y": 21})


def test_numbers_of_a_part_of_an_array() -> None:
    assert as_numbers(pa.array([1, 2, 3], pa.int32())[1:]).tolist() == [2, 3]
    assert as_numbers(pc.binary_length(pa.array(["a", "영화", "xy"])[:2])).tolist() == [1, 6]
