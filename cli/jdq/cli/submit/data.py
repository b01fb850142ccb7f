"""The data of a job: files to import, or a dataset in the store."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from jdq.cli.client import Client
from jdq.cli.ids import FILE_OR_DATASET
from jdq.cli.output import counted
from jdq.cli.programs import program_output, require_worker_packages
from jdq.worker.heads.options import LABEL_SEPARATOR

if TYPE_CHECKING:
    from jdq.store.datasets import Datasets, DatasetVersion
    from jdq.store.table import TableOptions


def table_options(*, labels: bool = True) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Adds the options for reading a table; the command gets them as `table`, for `read_options`."""

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
        "--text-column",
        multiple=True,
        help="Column with the texts; may be repeated to join several.  [default: `text`, else the only column "
        "with a common name, such as `description`, else the only one that is not the label]",
    ),
    "encoding": click.option(
        "--encoding", help="Character encoding.  [default: UTF-8, or UTF-16 with a byte-order mark]"
    ),
    "delimiter": click.option(
        "--delimiter", "--separator", "delimiter", help="Column delimiter.  [default: detected in the first line]"
    ),
    "no_quotes": click.option("--no-quotes", is_flag=True, help="Read quote characters as text."),
    "skip_lines": click.option(
        "--skip-lines", type=click.IntRange(min=0), default=0, help="Number of lines to skip above the header."
    ),
    "no_header": click.option(
        "--no-header",
        is_flag=True,
        help="Read the first line as a row; columns are named `column_1`, `column_2` and so on.",
    ),
    "nul": click.option(
        "--nul",
        type=click.Choice(["error", "drop"]),
        default="error",
        show_default=True,
        help="Reject a file with NUL characters, or remove them.",
    ),
    "sheet": click.option("--sheet", help="Sheet of a workbook.  [default: the only one that is not empty]"),
    "skip_empty": click.option(
        "--skip-empty", is_flag=True, help="Skip rows without a text instead of rejecting the file."
    ),
}
_LABELS: dict[str, Callable[[Callable[..., None]], Callable[..., None]]] = {
    "label_column": click.option(
        "--label-column",
        help="Column with the labels.  [default: `label`, else the only column with a common name, such as `category`]",
    ),
    "missing_labels": click.option(
        "--missing-labels",
        type=click.Choice(["error", "keep"]),
        default="error",
        show_default=True,
        help="Reject a file with unlabelled rows, or keep these rows, without training on them.",
    ),
}
_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", " ": "space"}


def data_argument(metavar: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Adds the argument for files, folders, patterns, URLs or "-", as `data`."""
    return click.argument("data", type=FILE_OR_DATASET, nargs=-1, required=True, metavar=metavar)


def read_options(table: dict[str, Any], *, unlabelled: bool = False, keep_empty: bool = False) -> TableOptions:
    """The options of the running command for reading a table. `keep_empty`: --skip-empty keeps the rows."""
    from jdq.store.table import TableOptions

    options = dict(table)
    no_quotes, no_header, skip_empty = (options.pop(name) for name in ("no_quotes", "no_header", "skip_empty"))
    context = click.get_current_context()
    return TableOptions(
        quoting="none" if no_quotes else "standard",
        header=not no_header,
        empty_text="error" if not skip_empty else "keep" if keep_empty else "skip",
        unlabelled=unlabelled,
        command=_typed(context),
        typed=tuple(context.params["data"]),
        can_be_unlabelled="unlabelled" in context.params,
        **options,
    )


def _typed(context: click.Context) -> str:
    """The command as the user typed it, without the data and the options for reading it."""
    words = ["jdq", *context.command_path.split()[1:]]
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) == ParameterSource.COMMANDLINE
        if given and isinstance(parameter, click.Option) and name not in {*_TABLE, *_LABELS, "unlabelled"}:
            value = context.params[name]
            values = value if parameter.multiple else [value]
            words += [
                word
                for each in values
                for word in ([parameter.opts[0]] if each is True else [parameter.opts[0], str(each)])
            ]
    return shlex.join(words)


def import_file(client: Client, files: Sequence[str], *, name: str | None, options: TableOptions) -> DatasetVersion:
    """Imports the files as a dataset version in the store; see `imported`."""
    return imported(client.store.datasets, files, name=name, options=options, note=client.note)


def imported(
    datasets: Datasets,
    files: Sequence[str],
    *,
    name: str | None,
    options: TableOptions,
    note: Callable[[str], object],
) -> DatasetVersion:
    """The files as a dataset version; assumptions and warnings go to `note`. Raises TableError."""
    from jdq.store.datasets import name_from
    from jdq.store.table import table_name

    name = name_from(table_name(files)) if name is None else name
    files = [path for file in files for path in (_from_hub(file) if _is_hub_name(file) else [file])]
    version = datasets.import_table(files, name=name, options=options)
    note(assumptions(version))
    for warning in version.source.warnings:
        note(f"warning: {warning}")
    return version


def _is_hub_name(file: str) -> bool:
    return file.startswith("hf:") and not file.startswith("hf://")


def _from_hub(file: str) -> list[str]:
    """The files of hf:OWNER/NAME, one or more for each split, in the cache of `datasets`."""
    import msgspec

    require_worker_packages(["datasets"], extra="hub")
    paths = program_output("jdq.worker.programs.load_dataset", [file.removeprefix("hf:")])
    return msgspec.json.decode(paths, type=list[str])


def assumptions(version: DatasetVersion) -> str:
    """How a file was read, in one line."""
    source = version.source
    how = [source.encoding.upper()] if source.encoding else []
    if source.separator is not None:
        how.append(_DELIMITERS.get(source.separator, repr(source.separator)))
    columns = f"text column {version.text_column}"
    if version.label_column is not None:
        n_without = version.record.n_unlabelled
        without = f", {counted(n_without, 'row')} without" if n_without else ""
        columns += f", label column {version.label_column} ({len(version.classes):,} classes{without})"
    return f"{source.file}: {', '.join([*how, counted(version.n_rows, 'row')])}; {columns}"


def files_or_dataset(client: Client, data: Sequence[str], *, name: str | None, options: TableOptions) -> DatasetVersion:
    """The newest version of the dataset with this name, or the files, imported. A file has priority over a dataset."""
    if len(data) == 1 and not Path(data[0]).exists() and data[0] in client.store.datasets.names():
        return client.store.datasets.get(data[0])
    return import_file(client, data, name=name, options=options)


def check_classes(
    version: DatasetVersion,
    column: str | None,
    label_separator: str | None,
    note: Callable[[str], object] | None = None,
) -> None:
    """Raises NoLabels if the column has fewer than two classes.

    Reports rows without a label to `note`, unless it is the dataset's own column, about which its import has warned.
    """
    from jdq.store.datasets import NoLabels
    from jdq.worker.heads.options import labels_in

    labels = [str(label) for label in version.labels(column, missing="keep")]
    missing = sum(not label.strip() for label in labels)
    distinct = {label for label in labels if label.strip()}
    if label_separator is not None:
        distinct = set().union(*(labels_in(cell, label_separator) for cell in distinct))
    if len(distinct) < 2:
        version.check_labels(column)  # names the other columns, if every row has a label
        classes = f"one class only: {distinct.pop()!r}" if distinct else "no labels"
        raise NoLabels(f"column {column or version.label_column!r} of {version.name} has {classes}")
    if note and missing and label_separator is None and column not in (None, version.label_column):
        note(f"warning: {missing:,} of {len(labels):,} rows have no label and are skipped")


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
