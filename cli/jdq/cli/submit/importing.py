"""`jdq import`: a table as a dataset in the store, without a job."""

from __future__ import annotations

from typing import Any

import click

from jdq.cli.client import Client
from jdq.cli.output import say
from jdq.cli.submit.data import data_argument, import_file, read_options, table_options
from jdq.cli.submit.dry_run import Show, dry_run_options


@click.command("import")
@data_argument("FILE...")
@table_options()
@click.option("--unlabelled", is_flag=True, help="Import a table without labels.")
@click.option("--name", help="Name of the dataset in the store.  [default: the file's name]")
@dry_run_options("Show what would be imported; store nothing.")
def import_table(
    data: tuple[str, ...], table: dict[str, Any], unlabelled: bool, name: str | None, dry_run: Show | None
) -> None:
    """Import a table as a dataset, without features.

    Prints the dataset's name and version. Needs neither Redis nor workers. FILE is as for `jdq submit extract`.

    \b
    jdq import postings.xlsx --sheet 2024
    jdq submit fine-tune postings
    """
    options = read_options(table, unlabelled=unlabelled)
    if dry_run is not None:
        dry_run(data, name, options, None)
        return
    version = import_file(Client(), data, name=name, options=options)
    say(f"{version.name} {version.version}")
