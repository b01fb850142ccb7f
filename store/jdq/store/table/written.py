"""Tables that jdq writes: any text survives in a cell, and each file is read back before it gets its name."""

import csv
import errno
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TextIO

from jdq.store.errors import CannotWrite
from jdq.store.files.publish import sync
from jdq.store.table.digest import RecordDigest

Cells = Sequence[str]
Values = Sequence[str | float | None]

# Labels of a set are joined in one cell, so a cell may be longer than any that jdq imports.
LONGEST_CELL = 1 << 31
BATCH_ROWS = 1024
DELIMITED = {".csv": ",", ".tsv": "\t"}
ENDINGS = (*DELIMITED, ".jsonl", ".parquet")


class _LineFeeds:
    """Receives records that end in CR LF, and ends them in LF."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, record: str) -> int:
        return self._stream.write(record[:-2] + "\n")


def record_writer(stream: TextIO, delimiter: str = ",") -> Callable[[Values], object]:
    """Writes a record to a stream that was opened with newline="". Cells with any line end are quoted.

    Before Python 3.13 `csv` quotes only the line ends that its own terminator holds, so a lone CR needs CR LF there.
    """
    return csv.writer(_LineFeeds(stream), delimiter=delimiter, lineterminator="\r\n").writerow


def write_records(
    path: Path, records: Iterable[Cells], *, ending: str = ".csv", numbers_from: int | None = None, bom: bool = False
) -> None:
    """Write the header and rows to the new file `path`, durably, and compare every cell with what is read back.

    `ending` is one of ENDINGS. The columns from `numbers_from` on are numbers in JSON Lines and Parquet, with null
    for an empty cell. `bom`: a delimited file begins with a byte-order mark.
    Raises OSError, and CannotWrite where a cell differs.
    """
    written, read = RecordDigest(), RecordDigest()

    def noted() -> Iterator[Values]:
        for number, record in enumerate(records):
            values = record if number == 0 or ending in DELIMITED else _values(record, numbers_from)
            written.add(list(map(_cell, values)))
            yield values

    if ending == ".parquet":
        _write_parquet(path, noted(), numbers_from)
    else:
        with path.open("x", newline="", encoding="utf-8-sig" if bom else "utf-8") as stream:
            if ending == ".jsonl":
                _write_lines(stream, noted())
            else:
                write = record_writer(stream, DELIMITED[ending])
                for values in noted():
                    write(values)
    sync(path)
    for record in read_records(path, ending=ending, bom=bom):
        read.add(record)
    if read.hexdigest() != written.hexdigest():
        raise CannotWrite(path, errno.EIO, "it does not read back as it was written")


def read_records(path: Path, *, ending: str = ".csv", bom: bool = False) -> Iterator[Cells]:
    """The header and rows of a file that `write_records` wrote."""
    if ending == ".parquet":
        yield from _read_parquet(path)
        return
    csv.field_size_limit(LONGEST_CELL)
    with path.open(newline="", encoding="utf-8-sig" if bom else "utf-8") as stream:
        if ending == ".jsonl":
            for number, line in enumerate(stream):
                values = json.loads(line)
                if number == 0:
                    yield list(values)
                yield [_cell(value) for value in values.values()]
        else:
            yield from csv.reader(stream, delimiter=DELIMITED[ending])


def _write_lines(stream: TextIO, records: Iterator[Values]) -> None:
    names = next(records)
    for values in records:
        stream.write(json.dumps(dict(zip(names, values, strict=True)), ensure_ascii=False) + "\n")


def _values(record: Cells, numbers_from: int | None) -> Values:
    end = len(record) if numbers_from is None else numbers_from
    return [*record[:end], *(float(cell) if cell else None for cell in record[end:])]


def _cell(value: str | float | None) -> str:
    return value if isinstance(value, str) else "" if value is None else repr(value)


def _write_parquet(path: Path, records: Iterator[Values], numbers_from: int | None) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq  # slow to import, and other formats do without

    names = next(records)
    end = len(names) if numbers_from is None else numbers_from
    schema = pa.schema([(name, pa.string() if n < end else pa.float64()) for n, name in enumerate(names)])
    with path.open("xb") as stream, pq.ParquetWriter(stream, schema, compression="zstd") as writer:
        while batch := list(islice(records, BATCH_ROWS)):
            columns = zip(zip(*batch, strict=True), schema.types, strict=True)
            writer.write_table(pa.table([pa.array(cells, kind) for cells, kind in columns], schema))


def _read_parquet(path: Path) -> Iterator[Cells]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as source:
        yield source.schema_arrow.names
        for batch in source.iter_batches(batch_size=BATCH_ROWS):
            for record in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                yield [_cell(value) for value in record]
