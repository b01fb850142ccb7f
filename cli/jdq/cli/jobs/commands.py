"""`jdq status`, `jobs`, `watch`, `result`, `cancel`: jobs as the ledger has them."""

from __future__ import annotations

import datetime
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jdq.cli.client import BadRequest, Client
from jdq.cli.exits import Exit
from jdq.cli.output import clock, duration, json_option, print_json, print_table

if TYPE_CHECKING:
    from jdq.worker.queue.jobbook import Job

STATES = ("queued", "running", "succeeded", "failed", "cancelled")


@click.command()
@click.argument("job")
@json_option
def status(job: str, as_json: bool) -> None:
    """Show how JOB stands."""
    from jdq.cli.jobs.progress import describe_job
    from jdq.cli.jobs.watch import summary

    found = Client().job(job)
    if as_json:
        print_json(describe_job(found))
        return
    click.echo(summary(found))
    click.echo(f"  {found.kind} of dataset {found.spec.dataset} {found.spec.version}, submitted {clock(found.created)}")
    click.echo(f"  {found.chunks_done} of {found.chunks_total} chunks done, {found.chunks_leased} running")
    for worker in found.workers:
        click.echo(f"  worked on by {worker}")
    for event in found.log:
        where = f"chunk {event['chunk']}, attempt {event['attempt']}, " if "chunk" in event else ""
        click.echo(f"  {where}{clock(event['at'] / 1000)}: {event['reason']}")
    if found.error:
        click.echo(f"  {found.error.message}")


@click.command()
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many.")
@click.option("--state", type=click.Choice(STATES), help="Only jobs in this state.")
@click.option("--since", metavar="TIME", help="Only jobs submitted since: 2026-01-31, or an age such as 90m, 36h, 7d.")
@json_option
def jobs(limit: int, state: str | None, since: str | None, as_json: bool) -> None:
    """List the jobs, newest first."""
    found = Client().jobbook.jobs(since=_moment(since) if since else None)
    _list([job for job in found if state in (None, job.state)][:limit], as_json)


@click.command()
@json_option
def failed(as_json: bool) -> None:
    """List the jobs that failed, and why."""
    found = [job for job in Client().jobbook.jobs() if job.error and job.state == "failed"]
    if as_json:
        _list(found, as_json)
        return
    for job in found:
        click.echo(f"{job.id}  {job.kind} of {job.spec.dataset}, {clock(job.ended)}")
        for line in (job.error.message if job.error else "").splitlines():
            click.echo(f"  {line}")


def _list(found: list[Job], as_json: bool) -> None:
    from jdq.cli.jobs.progress import describe_job, progress_of, state_text

    if as_json:
        print_json([describe_job(job) for job in found])
        return
    rows = []
    for job in found:
        progress = progress_of(job)
        texts = "-" if progress.texts_total is None else f"{progress.texts_done:,}/{progress.texts_total:,}"
        rows.append([job.id, state_text(job), job.spec.dataset, texts, duration(job.wall_s), clock(job.created)])
    print_table(["job", "state", "dataset", "texts", "time", "submitted"], rows)


def _moment(text: str) -> float:
    """A date, or an age, in seconds since 1970."""
    units = {"m": 60, "h": 3600, "d": 86400}
    try:
        if text[-1:] in units:
            return time.time() - float(text[:-1]) * units[text[-1]]
        return datetime.datetime.fromisoformat(text).astimezone().timestamp()
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither a date nor an age such as 36h", param_hint="--since") from None


@click.command()
@click.argument("job")
@json_option
def watch(job: str, as_json: bool) -> None:
    """Show a live bar of JOB until it ends; exit code 1 when it failed."""
    from jdq.cli.jobs.progress import describe_job
    from jdq.cli.jobs.watch import watch_job
    from jdq.worker.queue.contract import JobState

    ended = watch_job(Client(), job)
    if as_json:
        print_json(describe_job(ended))
    if ended.error:
        click.echo(f"jdq: {ended.error.message}", err=True)
    if ended.state != JobState.SUCCEEDED:
        sys.exit(Exit.FAILED)


@click.command()
@click.argument("job")
@click.option(
    "--to", type=click.Path(path_type=Path, dir_okay=False), help="Write the table of a prediction to this file."
)
@json_option
def result(job: str, to: Path | None, as_json: bool) -> None:
    """Print what came out of JOB; exit code 1 when it failed."""
    from jdq.cli.jobs.progress import describe_result
    from jdq.cli.jobs.results import print_result
    from jdq.worker.queue.contract import JobState

    client = Client()
    found = client.job(job)
    if not found.state.ended:
        raise BadRequest(f"job {job} is {found.state}; it has no result yet\n  try: jdq watch {job}")
    if found.state != JobState.SUCCEEDED:
        click.echo(f"jdq: job {job} {found.state}" + (f": {found.error.message}" if found.error else ""), err=True)
        sys.exit(Exit.FAILED)
    if to is not None:
        from jdq.cli.jobs.tables import copy_table

        copy_table(client, found, to)
    if as_json:
        print_json(describe_result(found))
    else:
        print_result(found)


@click.command()
@click.argument("job")
def cancel(job: str) -> None:
    """End JOB; what is computed stays in the store and is reused."""
    client = Client()
    client.job(job)
    if not client.jobbook.cancel(job):
        raise BadRequest(f"job {job} has ended already\n  try: jdq status {job}")
    click.echo(f"{job} cancelled", err=True)


@click.command()
@click.argument("job")
def retry(job: str) -> None:
    """Run JOB again after it failed or was cancelled; what it has finished is kept."""
    client = Client()
    client.job(job)
    client.retry(job)
    click.echo(job)


COMMANDS = (status, jobs, watch, result, cancel, retry, failed)
