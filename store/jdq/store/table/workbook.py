"""Records of a sheet of a workbook: Excel (.xlsx, .xlsm, .xlsb, .xls) and OpenDocument (.ods)."""

from __future__ import annotations

import datetime
import functools
import io
import re
import zipfile
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

from jdq.store.table.chunk import Record
from jdq.store.table.options import TableError, TableOptions, some
from jdq.store.table.source import READ_BYTES, Source

if TYPE_CHECKING:
    from python_calamine import CalamineSheet, CalamineWorkbook

# Floats hold every integer up to here; a spreadsheet has no other numbers.
EXACT = 1 << 53
# A sheet is in memory as a whole, with 32 bytes per cell of the rectangle around its cells.
MOST_CELLS = 30_000_000
_CELL = re.compile(rb' r="([A-Z]{1,3})(\d{1,7})"')
CELL_BYTES = 16


def workbook_records(source: Source, options: TableOptions) -> Iterator[Record]:
    """(row of the sheet, cells), the header first. Text stays as it is, numbers are as short as they can be.

    Raises TableError where the file is damaged, no sheet has the given name, or none is given and several have cells.
    """
    from python_calamine import CalamineError, CalamineWorkbook  # only workbooks need it

    try:
        with io.BufferedReader(source.raw(), READ_BYTES) as stream:
            _check_extent(source, stream)
            workbook = CalamineWorkbook.from_filelike(stream)
            sheet = _sheet(source, workbook, options)
            for row, values in enumerate(sheet.iter_rows(), start=1):
                if row > options.skip_lines:
                    yield row, [_text(value) for value in values]
    except (CalamineError, OSError) as error:
        raise TableError(f"{source.path} is not a readable workbook: {error}") from None


def _check_extent(source: Source, stream: IO[bytes]) -> None:
    """Raises TableError where a sheet's cells are so far apart that the cells between them would fill the memory."""
    if not zipfile.is_zipfile(stream):
        stream.seek(0)
        return
    with zipfile.ZipFile(stream) as archive:
        for name in archive.namelist():
            if name.startswith("xl/worksheets/") and name.endswith(".xml"):
                with archive.open(name) as sheet:
                    columns, rows = _extent(sheet)
                if columns * rows > MOST_CELLS:
                    fact = f"{source.path}: a sheet has {rows:,} rows and {columns:,} columns"
                    raise TableError(f"{fact}; a workbook may have {MOST_CELLS:,} cells: save the sheet as CSV")
    stream.seek(0)


def _extent(sheet: IO[bytes]) -> tuple[int, int]:
    """The last column and row with a cell."""
    columns = rows = 0
    tail = b""
    while block := sheet.read(READ_BYTES):
        for letters, number in _CELL.findall(tail + block):
            columns = max(columns, functools.reduce(lambda place, letter: place * 26 + letter - 64, letters, 0))
            rows = max(rows, int(number))
        tail = block[-CELL_BYTES:]
    return columns, rows


def _sheet(source: Source, workbook: CalamineWorkbook, options: TableOptions) -> CalamineSheet:
    names = workbook.sheet_names
    if options.sheet is not None:
        if options.sheet not in names:
            fact = f"no sheet {options.sheet!r} in {source.path}; it has: {some(names)}"
            raise TableError(fact + options.try_with(source.path, "--sheet", names[0]))
        return workbook.get_sheet_by_name(options.sheet)
    sheets = [sheet for sheet in map(workbook.get_sheet_by_name, names) if sheet.height]
    if not sheets:
        raise TableError(f"{source.path} is empty: it needs a header line and rows")
    if len(sheets) > 1:
        fact = f"{source.path} has {len(sheets)} sheets: {some([sheet.name for sheet in sheets])}"
        raise TableError(fact + options.try_with(source.path, "--sheet", sheets[0].name))
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
