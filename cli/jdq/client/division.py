"""Which rows a job from Python tests: the same choices as the commands offer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from jdq.cli.client import BadRequest
from jdq.client.inputs import Table, files_of
from jdq.client.job import Job, dataset_of

if TYPE_CHECKING:
    from jdq.cli.submit.split import Division


@contextmanager
def division_of(column: str | None, group_column: str | None, test: Table | Job[Any] | None) -> Iterator[Division]:
    """What the caller named; a data frame to test on is a file inside the context only. Raises BadRequest."""
    from jdq.cli.submit.split import Division

    if test is None:
        yield Division(column=column, group_column=group_column)
        return
    with files_of(dataset_of(test)) as (files, _):
        if len(files) > 1:
            raise BadRequest(f"test is one table, not {len(files)} files")
        yield Division(column=column, group_column=group_column, test=files[0])
