"""Tables written to the user's files, or to stdout."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jdq.cli.client import BadRequest, Client
from jdq.cli.output import say
from jdq.cli.paths import STDOUT, check_writable

if TYPE_CHECKING:
    from jdq.worker.queue.records import Job

# First characters of cells that Excel or Calc evaluates as formulas; the wide forms come from Japanese keyboards.
RUN_BY_SPREADSHEETS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a table goes, and how it is written."""

    path: Path
    force: bool = False
    excel_safe: bool = False
    bom: bool = False

    def check(self) -> None:
        """Raises BadRequest if the file cannot be written as requested."""
        from jdq.store.table.written import DELIMITED, ENDINGS

        if self.path == STDOUT:
            return
        check_writable(self.path)
        if self.ending not in ENDINGS:
            raise BadRequest(f"{self.path} must end in one of: {', '.join(ENDINGS)}")
        if (self.excel_safe or self.bom) and self.ending not in DELIMITED:
            raise BadRequest(f"--excel-safe and --bom are for {' and '.join(DELIMITED)}, not for {self.path}")
        if self.path.exists() and not self.force:
            raise BadRequest(f"{self.path} exists; --force replaces it")

    @property
    def ending(self) -> str:
        """The suffix of the file's name, which sets its format; CSV on stdout."""
        return ".csv" if self.path == STDOUT else self.path.suffix.lower()


def target_options(to_help: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Adds --to, --force, --excel-safe and --bom; the command gets them as `to`, None without --to."""

    def add(command: Callable[..., None]) -> Callable[..., None]:
        @click.option("--to", type=click.Path(path_type=Path), metavar="FILE", help=to_help)
        @click.option("--force", is_flag=True, help="Replace the file if it exists.")
        @click.option(
            "--excel-safe", is_flag=True, help="Put ' before cells that a spreadsheet would evaluate as formulas."
        )
        @click.option("--bom", is_flag=True, help="Begin with a byte-order mark, which Excel needs for UTF-8.")
        @functools.wraps(command)
        def with_target(
            *arguments: Any, to: Path | None, force: bool, excel_safe: bool, bom: bool, **rest: Any
        ) -> None:
            target = None if to is None else Target(path=to, force=force, excel_safe=excel_safe, bom=bom)
            if target is not None:
                target.check()
            command(*arguments, to=target, **rest)

        return with_target

    return add


def copy_table(client: Client, job: Job, target: Target) -> None:
    """Writes the table of a job that succeeded; raises BadRequest if the job wrote none."""
    from jdq.store.table.written import read_records

    source = table_file(client, job)
    header = next(iter(read_records(source)))
    write_table(read_records(source), target, numbers_from=number_columns(job.kind, header))


def write_table(records: Iterable[Sequence[str]], target: Target, *, numbers_from: int) -> None:
    """Writes the header and rows; the columns from `numbers_from` on hold numbers, or are empty."""
    from jdq.store.files.publish import partial_beside
    from jdq.store.table.written import record_writer, write_records

    target.check()
    records = _safe(records) if target.excel_safe else records
    if target.path == STDOUT:
        sys.stdout.reconfigure(encoding="utf-8-sig" if target.bom else "utf-8", newline="")  # type: ignore[union-attr]
        write = record_writer(sys.stdout)
        for record in records:
            write(record)
        return
    partial = partial_beside(target.path)
    try:
        write_records(partial, records, ending=target.ending, numbers_from=numbers_from, bom=target.bom)
        partial.replace(target.path)
    finally:
        partial.unlink(missing_ok=True)
    say(f"wrote {target.path}", err=True)


def table_file(client: Client, job: Job) -> Path:
    """The table of a job that succeeded, checked; raises BadRequest if the job wrote none."""
    from jdq.store.job_files import JobFiles
    from jdq.worker.queue.contract import WITH_TABLE

    tables = {spec.kind: spec.table for spec in WITH_TABLE}
    if job.kind not in tables:
        raise BadRequest(f"job {job.id} has no table: only these kinds have one: {', '.join(tables)}")
    files = JobFiles(client.store.root)
    source = files.folder(job.id) / tables[job.kind]
    if not source.is_file():
        raise BadRequest(f"no {source}: it was removed, or this JDQ_STORE is not the workers' store")
    if source.with_suffix(".json").exists():  # earlier versions wrote none
        files.check(source.with_suffix(".json"))
    return source


def number_columns(kind: str, header: Sequence[str]) -> int:
    """The position of the first number in the table of a job of this kind."""
    from jdq.worker.queue.contract import WITH_PAGE

    first = {each.kind: each.first_number for each in WITH_PAGE}
    return header.index(first[kind]) if kind in first else probability_columns(header)


def probability_columns(header: Sequence[str]) -> int:
    """The position of the first probability. The label is before it, under a name that may end in underscores."""
    return max(n for n, name in enumerate(header) if name.rstrip("_") == "predicted_label") + 1


def _safe(records: Iterable[Sequence[str]]) -> Iterator[Sequence[str]]:
    for record in records:
        yield ["'" + cell if _is_run(cell) else cell for cell in record]


def _is_run(cell: str) -> bool:
    if not cell.startswith(RUN_BY_SPREADSHEETS):
        return False
    try:
        float(cell)
    except ValueError:
        return True
    return False
