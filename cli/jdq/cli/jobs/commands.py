"""`jdq jobs`, `status`, `watch`, `result`, `cancel`, `retry`, `failed`: jobs as the ledger has them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

import click

from jdq.cli.client import BadRequest, Client
from jdq.cli.ids import JOB
from jdq.cli.jobs.history import prune, rm, time_of
from jdq.cli.jobs.tables import Target, copy_table, target_options
from jdq.cli.output import duration, json_option, moment, print_json, print_table, say
from jdq.cli.paths import STDOUT
from jdq.worker.queue.contract import KINDS, NOBODY, JobState
from jdq.worker.queue.exit_codes import ExitCode

if TYPE_CHECKING:
    from jdq.worker.queue.records import Job


@click.command()
@click.argument("job", type=JOB)
@json_option
def status(job: str, as_json: bool) -> None:
    """Show the state and progress of JOB."""
    from jdq.cli.jobs.progress import describe_job
    from jdq.cli.jobs.summary import summary
    from jdq.cli.jobs.waiting import explained

    client = Client()
    [known] = explained(client.jobbook, [client.job(job)])
    if as_json:
        print_json(describe_job(known))
        return
    say(summary(known))
    for line in _about(known):
        say(f"  {line}")


def _about(job: Job) -> Iterator[str]:
    by = "" if job.owner == NOBODY else f" by {job.owner}"
    yield f"{job.kind} of dataset {job.spec.dataset} {job.spec.version}, submitted {moment(job.created)}{by}"
    if job.time_limit_s is not None:
        yield f"time limit {duration(job.time_limit_s)}"
    yield f"{job.chunks_done} of {job.chunks_total} chunks done, {job.chunks_leased} running"
    for worker in job.workers:
        yield f"running on {worker}"
    for event in job.log:
        where = f"chunk {event['chunk']}, attempt {event['attempt']}, " if "chunk" in event else ""
        yield f"{where}{moment(event['at'] / 1000)}: {event['reason']}"
    if job.error:
        yield job.error.message


@click.group(invoke_without_command=True)
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Maximum number of jobs to list."
)
@click.option("--state", type=click.Choice([*map(str, JobState)]), help="Only jobs in this state.")
@click.option(
    "--since", metavar="TIME", help="Only jobs since TIME: a date (2026-01-31), or a time before now (90m, 36h, 7d)."
)
@click.option("--owner", metavar="NAME", help="Only jobs of this owner.")
@click.option("--mine", is_flag=True, help="Only your own jobs: those of JDQ_USER, or of your login name.")
@click.option("--kind", type=click.Choice(KINDS), help="Only jobs of this kind.")
@json_option
@click.pass_context
def jobs(
    context: click.Context,
    limit: int,
    state: str | None,
    since: str | None,
    owner: str | None,
    mine: bool,
    kind: str | None,
    as_json: bool,
) -> None:
    """List jobs, newest first; remove old ones."""
    from jdq.cli.jobs.waiting import explained

    if context.invoked_subcommand:
        return
    if mine and owner is not None:
        raise click.UsageError("--mine and --owner cannot be combined")
    client = Client()
    owner = client.config.user if mine else owner
    known = client.jobbook.newest(since=time_of(since, "--since") if since else None, owner=owner)
    listed = list(islice((job for job in known if matches(job, state, owner, kind)), limit))
    _list(explained(client.jobbook, listed), as_json)


def matches(job: Job, state: str | None, owner: str | None, kind: str | None) -> bool:
    """Whether the job matches all criteria that are given."""
    return state in (None, job.state) and owner in (None, job.owner) and kind in (None, job.kind)


@click.command()
@json_option
def failed(as_json: bool) -> None:
    """List failed jobs and their errors."""
    of_state = [job for job in Client().jobbook.jobs() if job.error and job.state == JobState.FAILED]
    if as_json:
        _list(of_state, as_json)
        return
    for job in of_state:
        say(f"{job.id}  {job.kind} of {job.spec.dataset}, {moment(job.ended)}")
        for line in (job.error.message if job.error else "").splitlines():
            say(f"  {line}")


def _list(listed: list[Job], as_json: bool) -> None:
    from jdq.cli.jobs.progress import describe_job, state_text
    from jdq.cli.jobs.summary import done_text

    if as_json:
        print_json([describe_job(job) for job in listed])
        return
    owners = len({job.owner for job in listed}) > 1  # the column is useless if all jobs have the same owner
    rows = [
        [
            job.id,
            *([job.owner] if owners else []),
            state_text(job),
            job.spec.dataset,
            done_text(job) or "-",
            duration(job.wall_s),
            moment(job.created),
        ]
        for job in listed
    ]
    print_table(["job", *(["owner"] if owners else []), "state", "dataset", "done", "time", "submitted"], rows)


jobs.add_command(rm)
jobs.add_command(prune)


@click.command()
@click.argument("job", type=JOB)
@json_option
def watch(job: str, as_json: bool) -> None:
    """Show a live progress bar of JOB.

    Returns when the job ends, with exit code 1 if it failed or was cancelled. Ctrl-C leaves the job running. With
    --json, prints a line for each change.
    """
    from jdq.cli.jobs.watch import watch_job

    ended = watch_job(Client(), job, as_json=as_json)
    if ended.error:
        say(f"jdq: {ended.error.message}", err=True)
    if ended.state != JobState.SUCCEEDED:
        sys.exit(ExitCode.FAILED)


@click.command()
@click.argument("job", type=JOB)
@target_options("File for the job's table (.csv, .tsv, .jsonl, .parquet), or - for stdout.")
@json_option
def result(job: str, to: Target | None, as_json: bool) -> None:
    """Print the result of JOB.

    Exit code 1 if the job failed or was cancelled.
    """
    from jdq.cli.jobs.progress import describe_result
    from jdq.cli.jobs.results import print_result
    from jdq.worker.queue.contract import WITH_TABLE

    client = Client()
    ended = client.job(job)
    if not ended.state.ended:
        raise BadRequest(f"job {job} is {ended.state}; it has no result yet\n  try: jdq watch {job}")
    if ended.state != JobState.SUCCEEDED:
        say(f"jdq: job {job} {ended.state}" + (f": {ended.error.message}" if ended.error else ""), err=True)
        sys.exit(ExitCode.FAILED)
    if to is not None:
        copy_table(client, ended, to)
        if to.path == STDOUT:
            return
    if as_json:
        print_json(describe_result(ended))
    else:
        print_result(ended)
        if to is None and isinstance(ended.spec, WITH_TABLE):
            say(f"the table: jdq result {ended.id} --to out.csv", err=True)


@click.command()
@click.argument("job", type=JOB)
@click.option("--force", is_flag=True, help="Cancel another owner's job; its log then names you.")
def cancel(job: str, force: bool) -> None:
    """Cancel JOB; computed features are kept."""
    if not Client().cancel(job, force=force):
        raise BadRequest(f"job {job} has already ended\n  try: jdq status {job}")
    say(f"{job} cancelled", err=True)


@click.command()
@click.argument("job", type=JOB)
def retry(job: str) -> None:
    """Retry a failed or cancelled JOB.

    Finished chunks are kept.
    """
    client = Client()
    client.job(job)
    client.retry(job)
    say(job)
