"""Records of a sheet of a workbook: Excel (.xlsx, .xlsm, .xlsb, .xls) and OpenDocument (.ods)."""

import datetime
import functools
import io
import itertools
import re
import zipfile
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING
from xml.parsers import expat

from jdq.store.table.chunk import Record
from jdq.store.table.options import TableError, some
from jdq.store.table.source import READ_BYTES, Source

if TYPE_CHECKING:
    from python_calamine import CalamineSheet, CalamineWorkbook

# Floats hold every integer up to here; a spreadsheet has no other numbers.
EXACT = 1 << 53
# A sheet is in memory as a whole, with 32 bytes per cell of the rectangle around its cells.
MOST_CELLS = 30_000_000
_CELL = re.compile(rb' r="([A-Z]{1,3})(\d{1,7})"')
CELL_BYTES = 16
# Types of records in a sheet of .xlsb: BrtRowHdr; BrtCellBlank to BrtFmlaError, and BrtCellRString.
ROW, CELLS = 0, frozenset([*range(1, 12), 62])


def workbook_records(source: Source) -> Iterator[Record]:
    """(row of the sheet, cells), the header first. Text stays as it is, numbers are as short as they can be.

    Raises TableError where the file is damaged, no sheet has the given name, or none is given and several have cells.
    """
    from python_calamine import CalamineError, CalamineWorkbook  # only workbooks need it

    try:
        with io.BufferedReader(source.raw(), READ_BYTES) as stream:
            _check_extent(source, stream)
            workbook = CalamineWorkbook.from_filelike(stream)
            sheet = _sheet(source, workbook)
            for row, values in enumerate(sheet.iter_rows(), start=1):
                if row > source.options.skip_lines:
                    yield row, [_text(value) for value in values]
    except (CalamineError, OSError) as error:
        raise TableError(f"{source.path} is not a readable workbook: {error}") from None


def _check_extent(source: Source, stream: IO[bytes]) -> None:
    """Raises TableError where a sheet's cells are so far apart that the cells between them would fill the memory.

    A sheet of the old format, .xls, has at most 16 Mi cells.
    """
    if zipfile.is_zipfile(stream):
        archive = zipfile.ZipFile(stream)
        for name, (pattern, extent) in itertools.product(archive.namelist(), EXTENTS):
            if re.fullmatch(pattern, name):
                with archive.open(name) as sheet:
                    columns, rows = extent(sheet)
                if columns * rows > MOST_CELLS:
                    fact = f"{source.path}: a sheet has {rows:,} rows and {columns:,} columns"
                    raise TableError(f"{fact}; a workbook may have {MOST_CELLS:,} cells: save the sheet as CSV")
    stream.seek(0)


def _xlsx_extent(sheet: IO[bytes]) -> tuple[int, int]:
    """The last column and row with a cell."""
    columns = rows = 0
    tail = b""
    while block := sheet.read(READ_BYTES):
        for letters, number in _CELL.findall(tail + block):
            columns = max(columns, functools.reduce(lambda place, letter: place * 26 + letter - 64, letters, 0))
            rows = max(rows, int(number))
        tail = block[-CELL_BYTES:]
    return columns, rows


def _xlsb_extent(sheet: IO[bytes]) -> tuple[int, int]:
    """The last column and row with a cell. A record is its type, its size, and that many bytes ([MS-XLSB] 2.1.4)."""
    columns = rows = 0
    while (kind := _number(sheet, 2)) is not None:
        data = sheet.read(_number(sheet, 4) or 0)
        if kind == ROW:
            rows = max(rows, int.from_bytes(data[:4], "little") + 1)
        elif kind in CELLS:
            columns = max(columns, int.from_bytes(data[:4], "little") + 1)
    return columns, rows


def _number(sheet: IO[bytes], most: int) -> int | None:
    """The number in the next bytes, at most so many: seven bits each, the lowest first; the last has no eighth bit."""
    number = 0
    for place in range(most):
        if not (byte := sheet.read(1)):
            return None
        number |= (byte[0] & 0x7F) << 7 * place
        if byte[0] < 0x80:
            break
    return number


def _ods_extent(content: IO[bytes]) -> tuple[int, int]:
    """The last column and row with a cell in the largest sheet: a row or cell says how often it is repeated."""
    row = column = rows = columns = 0
    largest = (0, 0, 0)

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal row, column, rows, columns, largest
        match name:
            case "table:table":
                row = rows = columns = 0
            case "table:table-row":
                row += int(attributes.get("table:number-rows-repeated", "1"))
                column = 0
            case "table:table-cell" | "table:covered-table-cell":
                column += int(attributes.get("table:number-columns-repeated", "1"))
        if name == "text:p" or "office:value-type" in attributes:
            rows, columns = max(rows, row), max(columns, column)
            largest = max(largest, (columns * rows, columns, rows))

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    try:
        parser.ParseFile(content)
    except (expat.ExpatError, ValueError) as error:
        raise OSError(str(error)) from None
    return largest[1:]


EXTENTS = (
    (r"xl/worksheets/.*\.xml", _xlsx_extent),
    (r"xl/worksheets/.*\.bin", _xlsb_extent),
    (r"content\.xml", _ods_extent),
)


def _sheet(source: Source, workbook: "CalamineWorkbook") -> "CalamineSheet":
    names, wanted = workbook.sheet_names, source.options.sheet
    if wanted is not None:
        if wanted not in names:
            raise source.error(f"no sheet {wanted!r} in {source.path}; it has: {some(names)}", "--sheet", names[0])
        return workbook.get_sheet_by_name(wanted)
    sheets = [sheet for sheet in map(workbook.get_sheet_by_name, names) if sheet.height]
    if not sheets:
        raise TableError(f"{source.path} is empty: it needs a header line and rows")
    if len(sheets) > 1:
        fact = f"{source.path} has {len(sheets)} sheets: {some([sheet.name for sheet in sheets])}"
        raise source.error(fact, "--sheet", sheets[0].name)
    return sheets[0]


def _text(value: object) -> str:
    """A cell as text: 3.0 is "3", as a spreadsheet shows it; a time is in ISO 8601, a truth value in capitals."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float) and value.is_integer() and abs(value) <= EXACT:
        return str(int(value))
    return value.isoformat(sep=" ") if isinstance(value, datetime.datetime) else str(value)
