"""Copying a prediction's table to a file of the user."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jdq.cli.client import BadRequest, Client

if TYPE_CHECKING:
    from jdq.worker.queue.jobbook import Job


def check_target(target: Path) -> None:
    """Raises BadRequest where the file cannot be written."""
    if not target.absolute().parent.is_dir():
        raise BadRequest(f"no folder {target.absolute().parent}")
    if target.is_dir():
        raise BadRequest(f"{target} is a folder")


def copy_table(client: Client, job: Job, target: Path) -> None:
    """Copies the table of a prediction that succeeded; raises BadRequest where the job wrote none."""
    from jdq.store.job_files import JobFiles

    check_target(target)
    if job.kind != "predict":
        raise BadRequest(f"job {job.id} is a {job.kind}: only a prediction has a table")
    source = JobFiles(client.store.root).folder(job.id) / "predictions.csv"
    if not source.is_file():
        raise BadRequest(f"no {source}: it was removed, or this JDQ_STORE is not the workers' store")
    partial = target.with_name(f".{target.name}.partial")
    try:
        shutil.copyfile(source, partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    click.echo(f"wrote {target}", err=True)
