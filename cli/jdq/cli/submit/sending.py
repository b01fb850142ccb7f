"""The options of every job, and submitting it."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from jdq.cli.client import BadRequest, Client
from jdq.cli.ids import JOB
from jdq.cli.output import say
from jdq.worker.config import Config, read_config
from jdq.worker.queue.exit_codes import ExitCode

if TYPE_CHECKING:
    from jdq.worker.queue.contract import Spec
    from jdq.worker.queue.records import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """The job's priority, the jobs it waits for, and whether the command waits until it ends.

    `id_to_stderr`: stdout is for the job's table.
    """

    priority: str | None
    after: tuple[str, ...]
    wait: bool
    id_to_stderr: bool = False


def job_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds --priority, --after and --wait; the command gets them as `sending`."""

    @click.option(
        "--priority",
        type=click.Choice(["high", "normal", "low"]),
        help="Priority of the job's chunks.  [default: normal; of a search low]",
    )
    @click.option(
        "--after", type=JOB, multiple=True, metavar="JOB", help="Start after JOB has succeeded; may be repeated."
    )
    @click.option("--wait", is_flag=True, help="Wait until the job ends; exit code 1 if it failed.")
    @functools.wraps(command)
    def with_sending(*arguments: Any, priority: str | None, after: tuple[str, ...], wait: bool, **options: Any) -> None:
        if priority == "high":
            _check_right(read_config())
        command(*arguments, sending=Sending(priority=priority, after=after, wait=wait), **options)

    return with_sending


def _check_right(config: Config) -> None:
    """Raises BadRequest where this user must not submit urgent jobs."""
    if not config.may_be_urgent:
        raise BadRequest(
            f"--priority high is for {config.high_priority} (JDQ_HIGH_PRIORITY), and you are {config.user}\n"
            "  try: --priority normal"
        )


def send(client: Client, spec: Spec, sending: Sending, *, after: Sequence[str] = ()) -> Job | None:
    """Submits the job and prints its id. With --wait, returns the job that succeeded, else None.

    after: jobs to wait for, besides those that the user named. Exits where the job failed.
    """
    from jdq.worker.queue.jobbook import DependencyEnded

    for needed in sending.after:
        client.job(needed)
    waits_for = list(dict.fromkeys([*after, *sending.after]))
    try:
        job = client.submit(spec, after=waits_for, priority=sending.priority)
    except DependencyEnded as error:
        raise BadRequest(f"job {error} has failed or was cancelled\n  try: jdq status {error}") from None
    note = f", after {', '.join(waits_for)}" if waits_for else ""
    say(f"dataset {spec.dataset} {spec.version}{note}", err=True)
    say(job, err=sending.id_to_stderr)
    return watched(client, job) if sending.wait else None


def watched(client: Client, job: str) -> Job:
    """Shows the job until it has succeeded; exits where it failed or was cancelled."""
    from jdq.cli.jobs.watch import watch_job
    from jdq.worker.queue.contract import JobState

    ended = watch_job(client, job)
    if ended.error:
        say(f"jdq: {ended.error.message}", err=True)
    if ended.state != JobState.SUCCEEDED:
        sys.exit(ExitCode.FAILED)
    return ended


def made_by(client: Client, wanted: str, kind: str) -> list[str]:
    """The job that is making this head or model; none where no such job is queued or running.

    Raises BadRequest where the job has failed.
    """
    from jdq.worker.queue.contract import JobState
    from jdq.worker.queue.jobbook import UnknownJob

    try:
        job = client.jobbook.job(wanted)
    except UnknownJob:
        return []
    if job.state in (JobState.FAILED, JobState.CANCELLED):
        raise BadRequest(f"job {wanted} {job.state}\n  try: jdq status {wanted}")
    return [wanted] if job.kind == kind and not job.state.ended else []
