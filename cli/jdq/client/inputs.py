"""The data of a job from Python: a data frame, a list of texts, files, or a dataset in the store."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from jdq.cli.client import BadRequest
from jdq.client.suggestions import TEXTS

if TYPE_CHECKING:
    import pandas as pd

    from jdq.client.connection import Connection
    from jdq.store.datasets import DatasetVersion

# As on the command line, a path may also be a folder, a pattern or a URL.
Data: TypeAlias = "pd.DataFrame | pd.Series[Any] | Path | str | Sequence[str] | Sequence[Path]"
Table: TypeAlias = "pd.DataFrame | Path | str"
Columns: TypeAlias = str | Sequence[str] | None


@contextmanager
def files_of(data: Data, label: Columns = None) -> Iterator[tuple[list[str], str | None]]:
    """The files to import, which may exist only inside the context, and the label column if it is known.

    label: a column's name, or the labels of a list of texts. Raises BadRequest.
    """
    import pandas as pd

    if isinstance(data, str | Path):
        yield [str(data)], _name_of(label)
    elif isinstance(data, pd.DataFrame):
        with _written(data) as file:
            yield [file], _name_of(label)
    else:
        items = list(data)
        if items and all(isinstance(item, Path) for item in items):
            yield [str(item) for item in items], _name_of(label)
            return
        frame, column = _listed(items, label)
        with _written(frame) as file:
            yield [file], column


def imported(
    connection: Connection,
    data: Data,
    text: Columns,
    label: Columns,
    name: str | None,
    *,
    prefix: str = "",
    **options: Any,
) -> DatasetVersion:
    """The data as a dataset in the store, read with these options. Raises BadRequest, TableError."""
    from jdq.cli.submit.data import files_or_dataset
    from jdq.store.datasets import name_from
    from jdq.store.table import TableOptions, table_name

    text_column = text if text is None or isinstance(text, str) else tuple(text)
    with files_of(data, label) as (files, column):
        name = name or name_from(prefix + table_name(files))
        table = TableOptions(text_column=text_column, label_column=column, **options)
        return files_or_dataset(connection, files, name=name, options=table)


def _name_of(label: Columns) -> str | None:
    if label is None or isinstance(label, str):
        return label
    raise BadRequest("a list of labels needs a list of texts; for a table, label is the name of a column")


def _listed(texts: Sequence[Any], label: Columns) -> tuple[pd.DataFrame, str | None]:
    """A table of texts and, if given, labels."""
    import pandas as pd

    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise BadRequest(f"text {number} is {type(text).__name__}, not str")
    if label is None:
        return pd.DataFrame({"text": texts}, dtype=object), None
    if isinstance(label, str):
        raise BadRequest("a list of texts has no columns: label must be a list with a label for each text")
    labels = list(label)
    if len(labels) != len(texts):
        raise BadRequest(f"{len(texts):,} texts, but {len(labels):,} labels")
    return pd.DataFrame({"text": texts, "label": labels}, dtype=object), "label"


@contextmanager
def _written(frame: pd.DataFrame) -> Iterator[str]:
    """The table as a file whose cells are the values converted by `str`; missing ones are empty."""
    if not frame.columns.is_unique:
        raise BadRequest("two columns of the data frame have the same name")
    cells = frame.astype(object).where(frame.notna(), None)
    cells.columns = [str(name) for name in frame.columns]
    cells = cells.map(lambda cell: None if cell is None else str(cell))
    with tempfile.TemporaryDirectory(prefix="jdq-") as folder:
        file = str(Path(folder) / f"{TEXTS}.parquet")
        cells.to_parquet(file, index=False)
        yield file
