"""An open user's table: its columns are known, and its rows can be read in order, in blocks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jdq.store.table.chunk import as_columns
from jdq.store.table.columns import FILE_COLUMN, choose_columns
from jdq.store.table.files import expand
from jdq.store.table.options import TableError, TableOptions, some
from jdq.store.table.options import columns as listed
from jdq.store.table.part import Part
from jdq.store.table.rows import Block, Rows, Totals
from jdq.store.table.source import open_source


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file that was read: its name without its folder, size and digest."""

    file: str
    size_bytes: int
    sha256: str


class Table:
    """One or more files with the same columns; made by `open_table`. With several, the column `file` says which.

    `encoding` and `delimiter` are those of the first file: None where its kind has none. `totals` are those of all
    rows when `blocks` is exhausted.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = parts
        first = parts[0]
        self.file = first.source.path
        self.kind, self.encoding, self.delimiter = first.kind, first.encoding, first.delimiter
        self.totals = Totals()
        used = [any(column) for column in zip(*(part.used for part in parts), strict=False)]
        self.columns = choose_columns(
            first.source, first.header, first.first, used, first.header_below(), is_row=first.header_is_a_row
        )
        self._assumed = list(self.columns.warnings)
        for name, classes in first.notes.class_names.items():
            fact = f"column {name!r} has class numbers, which are imported as the classes' names"
            self._assumed.append(f"{self.file}: {fact}: {some(classes)}")
        self._warnings = self._assumed
        for part in parts[1:]:
            if part.header != first.header:
                fact = f"{part.source.path} has columns other than those of {self.file}: {listed(part.header)}"
                raise TableError(f"{fact}; that has: {listed(first.header)}")
        self._file_column = [_unused(FILE_COLUMN, self.columns.names)] if len(parts) > 1 else []

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns of a row."""
        return (*self.columns.names, *self._file_column)

    def blocks(self) -> Iterator[Block]:
        """The rows in order, by columns, in blocks of about 1 MiB (more with over 1,000 columns). No cell is changed.

        Raises TableError for faulty rows at the end of the file: what was yielded before must then be discarded.
        """
        self.totals = Totals()
        self._warnings = [*self._assumed]
        for part in self.parts:
            rows = Rows(part, self.columns, self.totals)
            for block in rows.blocks():
                names = [as_columns([[part.source.path.name]] * len(block[0]))[0] for _ in self._file_column]
                yield [*block, *names]
            part.source.check_unchanged()
            self._warnings += rows.warnings()
        if self.columns.label is not None:
            self.totals.check_classes(self.parts[0].source, self.columns.label)

    def warnings(self) -> list[str]:
        """What is unusual but not an error, one sentence each; complete when `blocks` is exhausted."""
        return self._warnings + [f"{self.file}: {warning}" for warning in self.totals.warnings()]

    def sources(self) -> list[SourceFile]:
        """The files as they were read; raises TableError where one has changed since."""
        files = []
        for source in (part.source for part in self.parts):
            digest = source.sha256()
            source.check_unchanged()
            files.append(SourceFile(file=source.path.name, size_bytes=source.size_bytes, sha256=digest))
        return files


def open_table(file: str | Path | Sequence[str | Path], options: TableOptions | None = None) -> Table:
    """Open a table: a file, a folder of files, a pattern, several of these, a URL, or "-" for standard input.

    CSV, TSV, JSON Lines (.jsonl, .ndjson), a JSON array (.json), Parquet, Arrow, Excel and ODS; also compressed with
    gzip, bzip2, xz, zstd or zip. Raises TableError where a file or its header cannot be used; `Table.blocks` raises it
    for faulty rows.
    """
    files = [file] if isinstance(file, str | Path) else file
    sources = [open_source(name, options or TableOptions()) for name in expand([str(name) for name in files])]
    return Table([Part(source) for source in sources])


def _unused(name: str, taken: Sequence[str]) -> str:
    while name in taken:
        name += "_"
    return name
