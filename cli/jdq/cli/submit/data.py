"""The data of a job: a file to import, or a dataset of the store."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jdq.cli.client import Client
from jdq.worker.heads.options import LABEL_SEPARATOR

if TYPE_CHECKING:
    from jdq.store.datasets import DatasetVersion


def table_options(*, labels: bool = True) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Adds the options for reading a table; the command gets them as `table`, for `import_file`."""

    def add(command: Callable[..., None]) -> Callable[..., None]:
        names = list(_TABLE) + (list(_LABELS) if labels else [])

        @functools.wraps(command)
        def with_table(*arguments: Any, **options: Any) -> None:
            table = {name: options.pop(name) for name in names}
            command(*arguments, table=table, **options)

        wrapped: Callable[..., None] = with_table
        for option in reversed([*_TABLE.values(), *(_LABELS.values() if labels else ())]):
            wrapped = option(wrapped)
        return wrapped

    return add


_TABLE: dict[str, Callable[[Callable[..., None]], Callable[..., None]]] = {
    "text_column": click.option(
        "--text-column", help="Column with the texts.  [default: `text`, or the only candidate]"
    ),
    "encoding": click.option(
        "--encoding", help="Character encoding.  [default: UTF-8, or UTF-16 with a byte order mark]"
    ),
    "delimiter": click.option(
        "--delimiter", "--separator", "delimiter", help="Column delimiter.  [default: detected in the first line]"
    ),
    "no_quotes": click.option("--no-quotes", is_flag=True, help="Read quote characters as text."),
    "skip_empty": click.option(
        "--skip-empty", is_flag=True, help="Skip rows without a text instead of rejecting the file."
    ),
}
_LABELS: dict[str, Callable[[Callable[..., None]], Callable[..., None]]] = {
    "label_column": click.option(
        "--label-column", help="Column with the labels.  [default: `label`, or the dataset's own]"
    ),
    "missing_labels": click.option(
        "--missing-labels",
        type=click.Choice(["error", "keep"]),
        default="error",
        show_default=True,
        help="Reject a file with unlabelled rows, or keep these rows, without training on them.",
    ),
}


def import_file(
    client: Client, file: Path, *, name: str | None, table: dict[str, Any], command: str, unlabelled: bool = False
) -> DatasetVersion:
    """Imports the file as a dataset version and prints its warnings. Raises TableError, before anything is stored."""
    from jdq.store.table import TableOptions

    client.jobbook  # noqa: B018 - fails before the import where Redis does not answer
    options = dict(table)
    no_quotes, skip_empty = options.pop("no_quotes"), options.pop("skip_empty")
    read_options = TableOptions(
        quoting="none" if no_quotes else "standard",
        empty_text="skip" if skip_empty else "error",
        unlabelled=unlabelled,
        command=command,
        **options,
    )
    version = client.store.datasets.import_table(file, name=name, options=read_options)
    for warning in version.source.warnings:
        click.echo(f"warning: {warning}", err=True)
    return version


def file_or_dataset(
    client: Client, data: str, *, name: str | None, table: dict[str, Any], command: str, unlabelled: bool = False
) -> DatasetVersion:
    """The newest version of the dataset with this name, or the file, imported. A file has priority over a dataset."""
    if not Path(data).exists() and data in client.store.datasets.names():
        return client.store.datasets.get(data)
    return import_file(client, Path(data), name=name, table=table, command=command, unlabelled=unlabelled)


def check_classes(version: DatasetVersion, column: str | None, label_separator: str | None) -> None:
    """Raises NoLabels where the column has fewer than two classes; warns of rows without a label."""
    from jdq.store.datasets import NoLabels
    from jdq.worker.heads.options import labels_in

    labels = [str(label) for label in version.labels(column, missing="keep")]
    missing = sum(not label.strip() for label in labels)
    distinct = {label for label in labels if label.strip()}
    if label_separator is not None:
        distinct = set().union(*(labels_in(cell, label_separator) for cell in distinct))
    if len(distinct) < 2:
        version.check_labels(column)  # names the other columns, where every row has a label
        classes = f"one class only: {distinct.pop()!r}" if distinct else "no labels"
        raise NoLabels(f"column {column or version.label_column!r} of {version.name} has {classes}")
    if missing and label_separator is None:
        click.echo(f"warning: {missing:,} of {len(labels):,} rows have no label and are skipped", err=True)


def encoder_name(encoder: str) -> str:
    """A folder as an absolute path, for the workers; other names (hub, fine-tune's id) unchanged."""
    path = Path(encoder).expanduser()
    return str(path.resolve()) if path.is_dir() else encoder


def label_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds --multi-label and --label-separator; the command gets `labels_by`, None for one label per row."""

    @click.option(
        "--multi-label", is_flag=True, help="Read each cell as a set of labels; an empty cell is the empty set."
    )
    @click.option(
        "--label-separator", default=LABEL_SEPARATOR, show_default=True, help="Separator of the labels in a cell."
    )
    @functools.wraps(command)
    def with_labels(*arguments: Any, multi_label: bool, label_separator: str, **options: Any) -> None:
        command(*arguments, labels_by=label_separator if multi_label else None, **options)

    return with_labels
