"""`jdq report`: a page about one head or fine-tune."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jdq.cli.client import Client
from jdq.cli.ids import REPORTED, with_page
from jdq.cli.output import say
from jdq.cli.paths import STDOUT, check_writable
from jdq.cli.short_jobs import short_jobs

if TYPE_CHECKING:
    from jdq.store.store import Store
    from jdq.worker.queue.contract import Report


@click.command()
@click.argument("wanted", type=REPORTED, metavar="JOB|DATASET")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("report.html"),
    show_default=True,
    help="File to write, or - for stdout.",
)
def report(wanted: str, output: Path) -> None:
    """Write a report on a head, a fine-tune or a table.

    One self-contained HTML page about the head or model of JOB, about the best one of DATASET, or about what
    find-label-errors or find-duplicates found. Computes on this machine, without Redis, if torch is installed, else on
    the workers.

    \b
    jdq report train-head-7kq2m9xw -o report.html
    """
    from jdq.worker.report.comparison import best_of

    if output != STDOUT:
        check_writable(output)
    client = Client()
    write_report(client, wanted if wanted in with_page(client) else best_of(client.store, wanted), output)


def write_report(client: Client, job: str, output: Path) -> None:
    """Writes the page about the job's head, model or table into the file, or to stdout."""
    from jdq.store.files.publish import replace

    with short_jobs(client) as compute:
        page = compute(report_spec(client.store, job))
    if output == STDOUT:
        sys.stdout.buffer.write(page)
        return
    replace(output, page)
    say(f"{output}: {job}", err=True)


def report_spec(store: Store, job: str) -> Report:
    """The job that writes the page. Raises NoResult if the job has left neither a head nor a model nor a table."""
    from jdq.store.job_files import JobFiles
    from jdq.store.trained import Heads, Models
    from jdq.worker.queue.contract import Report

    if Heads(store.root).has(job):
        origin = Heads(store.root).record(job)["origin"]
        return Report(head=job, dataset=origin["dataset"], version=origin["dataset_version"])
    if Models(store.root).has(job):
        origin = Models(store.root).record(job)["origin"]
        return Report(model=job, dataset=origin["dataset"], version=origin["dataset_version"])
    result = JobFiles(store.root).get_result(job)
    return Report(table=job, dataset=result["dataset"], version=result["version"])
