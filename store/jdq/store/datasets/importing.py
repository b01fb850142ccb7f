"""Import a user's table into a temporary folder, which is then renamed: a version is complete, or does not exist."""

import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jdq.store.datasets.columnar import footer_digest, table_writer
from jdq.store.datasets.records import KEYS, N_BYTES, RECORD, TABLE, DatasetRecord, FileRecord, ImportRecord, now_after
from jdq.store.files.digests import file_digest, indented
from jdq.store.files.publish import make_folder, publish, sync
from jdq.store.keys import KEY_BYTES, keys_of_bytes, repeats
from jdq.store.table import Table
from jdq.store.table.chunk import as_numbers
from jdq.store.table.digest import RecordDigest
from jdq.store.table.rows import Block

IMPORTING = ".importing-"
VERSION_DIGITS = 12
WRITE_BYTES = 1 << 20

AfterBlock = Callable[[int], None]


def import_into(folder: Path, table: Table, *, after_block: AfterBlock) -> tuple[DatasetRecord, ImportRecord]:
    """Write the table's files and its record durably into the empty `folder`.

    Memory grows by 20 bytes per row: a .npy file begins with its shape, which is known only at the end. Raises
    TableError for a fault of the table, and OSError.
    """
    digest, keys, n_bytes = _write_table(folder, table, after_block)
    columns, totals = table.columns, table.totals
    for name, array in ((KEYS, keys), (N_BYTES, n_bytes)):
        publish(folder / name, partial(np.save, arr=array))
    record = DatasetRecord(
        digest=digest,
        columns=table.names,
        text_column=columns.text,
        label_column=columns.label,
        n_rows=len(keys),
        n_texts=int(np.count_nonzero(~repeats(keys))),
        n_unlabelled=totals.n_unlabelled if columns.label is not None else len(keys),
        classes=dict(sorted(totals.classes.items())),
        files={name: _durable(folder / name) for name in (TABLE, KEYS, N_BYTES)},
        footer=footer_digest(folder / TABLE),
    ).with_digest()
    publish(folder / RECORD, indented(record))
    return record, import_record(table)


def _write_table(folder: Path, table: Table, after_block: AfterBlock) -> tuple[str, np.ndarray, np.ndarray]:
    """Write table.parquet; the table's digest, the texts' keys (rows, 16) and their sizes in bytes (rows,)."""
    # Whatever file, encoding or delimiter the table came in, its digest is over this record, and one per row.
    digest = RecordDigest()
    digest.add(["jdq-dataset-1", table.columns.text, table.columns.label or "", *table.names])
    text, keys, n_bytes = table.names.index(table.columns.text), bytearray(), bytearray()
    # pyarrow writes each column of a row group by itself, which may be a few bytes.
    file = (folder / TABLE).open("xb", buffering=WRITE_BYTES)
    writer = table_writer(file, table.names)
    try:
        for block in _read_ahead(table.blocks(), after_block):
            lengths = np.column_stack([as_numbers(pc.binary_length(column)) for column in block]).astype("<u4")
            digest.add_columns(block, lengths)
            keys += keys_of_bytes(block[text].cast(pa.binary()).to_pylist())
            n_bytes += lengths[:, text].tobytes()
            writer.write_table(pa.Table.from_arrays(list(block), schema=writer.schema), row_group_size=len(lengths))
    except BaseException:
        with contextlib.suppress(OSError), file:  # an error of closing must not hide the first
            writer.close()
        raise
    writer.close()
    file.close()
    return digest.hexdigest(), np.frombuffer(keys, np.uint8).reshape(-1, KEY_BYTES), np.frombuffer(n_bytes, "<u4")


def _durable(path: Path) -> FileRecord:
    """Make the finished file durable; its size and digest."""
    sync(path)
    return FileRecord(size_bytes=path.stat().st_size, blake2b=file_digest(path))


def _read_ahead(blocks: Iterator[Block], after_block: AfterBlock) -> Iterator[Block]:
    """The blocks; another thread reads the next one meanwhile, mostly in C code that runs beside Python."""
    done = 0
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, blocks, None)
        while (block := coming.result()) is not None:
            coming = reader.submit(next, blocks, None)
            yield block
            done += len(block[0])
            after_block(done)


def import_record(table: Table) -> ImportRecord:
    """Where the table came from, imported now. Raises TableError where a file has changed since it was read."""
    files = tuple(table.sources())
    several = len(files) > 1
    digests = "".join(file.sha256 for file in files)
    return ImportRecord(
        file=", ".join(file.file for file in files),
        size_bytes=sum(file.size_bytes for file in files),
        sha256=hashlib.sha256(digests.encode()).hexdigest() if several else digests,
        imported_at=now_after(None),
        encoding=table.encoding,
        separator=table.delimiter,
        n_empty_rows=table.totals.n_empty,
        n_skipped_rows=table.totals.n_skipped,
        warnings=tuple(table.warnings()),
        text_columns=table.columns.joined,
        files=files if several else (),
    )


def publish_folder(partial: Path, target: Path) -> bool:
    """Give the finished folder its name; False where that folder exists. Durable in both cases."""
    for folder, _, _ in os.walk(partial):
        sync(Path(folder))
    make_folder(target.parent)
    try:
        partial.rename(target)
        written = True
    except OSError:
        if not target.is_dir():
            raise
        written = False
    sync(target.parent)
    sync(partial.parent)
    return written


@contextlib.contextmanager
def temporary_folder(root: Path) -> Iterator[Path]:
    """A new folder in `root` for an import; removed afterwards unless it has been renamed."""
    make_folder(root)
    folder = root / f"{IMPORTING}{secrets.token_hex(8)}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
