"""`jdq report`: a page about one head or fine-tune."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from jdq.cli.client import Client
from jdq.cli.ids import TRAINED_OR_DATASET
from jdq.cli.output import say
from jdq.cli.paths import STDOUT, check_writable
from jdq.cli.short_jobs import short_jobs


@click.command()
@click.argument("wanted", type=TRAINED_OR_DATASET, metavar="JOB|DATASET")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("report.html"),
    show_default=True,
    help="File to write, or - for stdout.",
)
def report(wanted: str, output: Path) -> None:
    """Write a report on a head or fine-tune.

    One self-contained HTML page about the head or model of JOB, or about the best one of DATASET. Computes on this
    machine, without Redis, if torch is installed, else on the workers.

    \b
    jdq report train-head-7kq2m9xw -o report.html
    """
    from jdq.worker.report.comparison import best_of

    if output != STDOUT:
        check_writable(output)
    client = Client()
    write_report(client, best_of(client.store, wanted), output)


def write_report(client: Client, job: str, output: Path) -> None:
    """Writes the page about the job's head or model into the file, or to stdout."""
    from jdq.store.files.publish import replace
    from jdq.store.trained import Heads, Models
    from jdq.worker.queue.contract import Report

    root = client.store.root
    head = job if Heads(root).has(job) else None
    origin = (Heads(root) if head else Models(root)).record(job)["origin"]
    made_on = {"dataset": origin["dataset"], "version": origin["dataset_version"]}
    with short_jobs(client) as compute:
        page = compute(Report(head=head, model=None if head else job, **made_on))
    if output == STDOUT:
        sys.stdout.buffer.write(page)
        return
    replace(output, page)
    say(f"{output}: {job}", err=True)
