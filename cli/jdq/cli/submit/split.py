"""The options that decide which rows are tested, and the test set of a file."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
import msgspec

from jdq.cli.client import BadRequest, Client
from jdq.cli.ids import FILE_OR_DATASET
from jdq.cli.submit.data import files_or_dataset

if TYPE_CHECKING:
    from jdq.store.datasets import DatasetVersion
    from jdq.worker.heads.split_options import SplitOptions
    from jdq.worker.queue.contract import Extract


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """What the user named: a column with each row's part, one with groups, or a test set (a file or a dataset)."""

    column: str | None = None
    group_column: str | None = None
    test: str | None = None


NO_DIVISION = Division()


def split_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds --split-column, --group-column and --test; the command gets them as `division`."""

    @click.option("--split-column", metavar="C", help="Column with each row's part: train, validation or test.")
    @click.option("--group-column", metavar="C", help="Column of groups that stay in one part, such as companies.")
    @click.option("--test", type=FILE_OR_DATASET, metavar="FILE|DATASET", help="Labelled table to measure on.")
    @functools.wraps(command)
    def with_division(
        *arguments: Any, split_column: str | None, group_column: str | None, test: str | None, **options: Any
    ) -> None:
        division = Division(column=split_column, group_column=group_column, test=test)
        command(*arguments, division=division, **options)

    return with_division


def split_of(client: Client, division: Division, version: DatasetVersion, label_column: str | None) -> SplitOptions:
    """The split of a job on this version, whose columns and values are checked; a test file is imported.

    Raises BadParameter, BadSplit, BadRequest, TableError.
    """
    from jdq.worker.heads.split_options import SplitOptions, check_split, parts_of_cells

    options = SplitOptions(column=division.column, group_column=division.group_column, test_dataset=division.test)
    check_split(options)
    for name, column in (("--split-column", division.column), ("--group-column", division.group_column)):
        if column is not None and column not in version.columns:
            columns = ", ".join(version.columns)
            raise BadRequest(f"{name}: {version.name} has no column {column!r}; it has: {columns}")
    if division.column is not None:
        parts_of_cells(version.cells(division.column), division.column)
    if division.test is None:
        return options
    test = _test_set(client, division.test, version, label_column or version.label_column)
    return msgspec.structs.replace(options, test_dataset=test.name, test_version=test.version)


def _test_set(client: Client, test: str, version: DatasetVersion, label_column: str | None) -> DatasetVersion:
    """The dataset of this name, or the file, read with the columns of the version to be tested."""
    from jdq.store.datasets.names import EVALUATED, name_from
    from jdq.store.table import TableOptions, table_name

    command = f"jdq import --name {version.name}-test"
    options = TableOptions(
        text_column=version.text_column, label_column=label_column, command=command, can_be_unlabelled=False
    )
    test_set = files_or_dataset(client, [test], name=name_from(f"{EVALUATED}{table_name([test])}"), options=options)
    if (test_set.name, test_set.version) == (version.name, version.version):
        raise BadRequest(f"--test {test} is the same table as {version.name} {version.version}: choose another table")
    return test_set


def test_features(
    client: Client, split: SplitOptions, version: DatasetVersion, space: str | None, after: list[str]
) -> Extract | None:
    """The extraction of the split's test set in the feature space; None if no feature is missing.

    after: the running extraction of the version, if the space is not known yet.
    """
    from jdq.worker.queue.contract import Extract

    if split.test_dataset is None:
        return None
    test = client.store.datasets.get(split.test_dataset, split.test_version)
    if space is None:
        running = client.jobbook.job(after[0]).spec
        assert isinstance(running, Extract)
        return msgspec.structs.replace(running, dataset=test.name, version=test.version)
    opened = client.store.open_space(space)
    if not opened.missing(test.keys()).any():
        return None
    definition = opened.definition
    encoder = next((made.encoder for made in version.spaces() if made.space == opened.digest), None)
    if encoder is None:
        raise BadRequest(f"the encoder of feature space {space} is not known\n  try: jdq submit extract {test.name}")
    return Extract(
        dataset=test.name,
        version=test.version,
        encoder=encoder,
        max_length=definition.max_length,
        precision=definition.precision,
        storage_dtype=definition.storage_dtype,
        pooling=(definition.pooling,),
    )
