"""Import a user's table into a temporary folder, which is then renamed: a version is complete, or does not exist."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from jdq.store.datasets.columnar import footer_digest
from jdq.store.datasets.contents import RECORD, TABLE, write_contents
from jdq.store.datasets.records import DatasetRecord, ImportRecord, now_after
from jdq.store.datasets.side_files import IMPORTS, put
from jdq.store.files.digests import indented, to_json
from jdq.store.files.publish import make_folder, publish, sync
from jdq.store.table import SourceFile, Table
from jdq.store.table.rows import Block

IMPORTING = ".importing-"
VERSION_DIGITS = 12

AfterBlock = Callable[[int], None]


def import_into(folder: Path, table: Table, *, after_block: AfterBlock | None) -> tuple[DatasetRecord, ImportRecord]:
    """Write the table's files and its record durably into the empty `folder`.

    Raises TableError for a fault of the table, and OSError.
    """
    columns, names = table.columns, table.names
    contents = write_contents(folder, names, columns.text, columns.label, _counted(table, after_block))
    totals = table.totals
    record = DatasetRecord(
        digest=contents.digest,
        columns=names,
        text_column=columns.text,
        label_column=columns.label,
        n_rows=contents.n_rows,
        n_texts=contents.n_texts,
        n_unlabelled=totals.n_unlabelled if columns.label is not None else contents.n_rows,
        classes=dict(sorted(totals.classes.items())),
        files=contents.files,
        footer=footer_digest(folder / TABLE),
    ).with_digest()
    publish(folder / RECORD, indented(record))
    return record, import_record(table)


def _counted(table: Table, after_block: AfterBlock | None) -> Iterator[Block]:
    """The table's blocks; `after_block` is called when the next one is wanted."""
    done = 0
    for block in _read_ahead(table.blocks()):
        yield block
        done += len(block[0])
        if after_block is not None:
            after_block(done)


def _read_ahead(blocks: Iterator[Block]) -> Iterator[Block]:
    """The blocks; another thread reads the next one meanwhile, mostly in C code that runs beside Python."""
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, blocks, None)
        while (block := coming.result()) is not None:
            coming = reader.submit(next, blocks, None)
            yield block


def import_record(table: Table) -> ImportRecord:
    """Where the table came from, imported now. Raises TableError where a file has changed since it was read."""
    files = tuple(table.sources())
    several = len(files) > 1
    return ImportRecord(
        file=", ".join(file.file for file in files),
        size_bytes=sum(file.size_bytes for file in files),
        sha256=_digest_of(files) if several else files[0].sha256,
        imported_at=now_after(None),
        encoding=table.encoding,
        separator=table.delimiter,
        n_empty_rows=table.totals.n_empty,
        n_skipped_rows=table.totals.n_skipped,
        warnings=tuple(table.warnings()),
        text_columns=table.columns.joined,
        files=files if several else (),
    )


def _digest_of(files: Sequence[SourceFile]) -> str:
    """The digest of the files' digests, in order."""
    return hashlib.sha256("".join(file.sha256 for file in files).encode()).hexdigest()


def put_import(version: Path, record: ImportRecord) -> None:
    """Record in the version's folder that this file has its table."""
    put(version / IMPORTS / import_name(record.imported_at), to_json(record))


def import_name(at: datetime) -> str:
    """Microseconds since 1970 in 17 digits, so that names sort by time."""
    return f"{int(at.timestamp()):011d}{at.microsecond:06d}.json"


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
