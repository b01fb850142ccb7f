"""The options that all jobs have, and submitting a job."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from jdq.cli.client import BadRequest, Client
from jdq.cli.ids import JOB
from jdq.cli.jobs.history import seconds_of
from jdq.cli.jobs.tables import Target, copy_table
from jdq.cli.output import say
from jdq.cli.paths import STDOUT
from jdq.worker.config import Config, read_config
from jdq.worker.queue.exit_codes import ExitCode

if TYPE_CHECKING:
    from jdq.worker.queue.contract import Spec
    from jdq.worker.queue.records import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """The job's priority and time limit, the jobs that it waits for, and whether the command waits until it ends.

    notify: URLs to notify of its end. expect: whether to print when it is likely to start. id_to_stderr: stdout is for
    the job's table.
    """

    priority: str | None
    after: tuple[str, ...]
    time_limit_s: float | None
    notify: tuple[str, ...]
    wait: bool
    expect: bool
    id_to_stderr: bool = False


_OPTIONS = ("priority", "after", "time_limit_s", "notify", "expect", "wait")


def job_options(command: Callable[..., None]) -> Callable[..., None]:
    """Adds --priority, --after, --time-limit, --notify, --expect and --wait; the command gets them as `sending`."""

    @click.option(
        "--priority",
        type=click.Choice(["high", "normal", "low"]),
        help="Priority of the job's chunks.  [default: normal; low for a search]",
    )
    @click.option(
        "--after", type=JOB, multiple=True, metavar="JOB", help="Start after JOB has succeeded; may be repeated."
    )
    @click.option(
        "--time-limit",
        "time_limit_s",
        metavar="TIME",
        callback=lambda _context, _option, text: text and seconds_of(text, "--time-limit"),
        help="Maximum run time (30m, 2h, 1d), after which the job fails.",
    )
    @click.option(
        "--notify",
        multiple=True,
        metavar="URL",
        help="Send a notice to this apprise URL when the job ends; may be repeated. Default: JDQ_NOTIFY.",
    )
    @click.option("--expect", is_flag=True, help="Print the place in the queue and the estimated time.")
    @click.option("--wait", is_flag=True, help="Wait until the job ends; exit code 1 if it failed.")
    @functools.wraps(command)
    def with_sending(*arguments: Any, **options: Any) -> None:
        sending = Sending(**{name: options.pop(name) for name in _OPTIONS})
        if sending.priority == "high":
            check_right(read_config())
        for url in sending.notify:
            check_url(url)
        command(*arguments, sending=sending, **options)

    return with_sending


def check_right(config: Config) -> None:
    """Raises BadRequest if this user may not submit urgent jobs."""
    if not config.may_be_urgent:
        raise BadRequest(
            f"--priority high is reserved for {config.high_priority} (JDQ_HIGH_PRIORITY), and you are {config.user}\n"
            "  try: --priority normal"
        )


def check_url(url: str) -> None:
    """Raises BadRequest if apprise could not send to the URL, as far as that is known here."""
    try:
        from apprise import Apprise
    except ImportError:  # the workers send the notices
        usable = re.fullmatch(r"[a-z][a-z0-9+.-]*://\S+", url) is not None
    else:
        usable = Apprise.instantiate(url) is not None
    if not usable:
        scheme = url.partition("://")[0]  # the rest may be secret
        raise BadRequest(
            f"--notify: no notice can be sent to this {scheme} URL\n  try: --notify mailto://user:password@example.org"
        )


def send(client: Client, spec: Spec, sending: Sending, *, after: Sequence[str] = ()) -> Job | None:
    """Submits the job and prints its id. With --wait, returns the job that succeeded, else None.

    after: jobs to wait for, besides those that the user named. Exits if the job failed.
    """
    from jdq.cli.jobs.waiting import expected

    for needed in sending.after:
        client.job(needed)
    waits_for = list(dict.fromkeys([*after, *sending.after]))
    job = submitted(
        client,
        spec,
        after=waits_for,
        priority=sending.priority,
        time_limit_s=sending.time_limit_s,
        notify=sending.notify or None,
    )
    note = f", after {', '.join(waits_for)}" if waits_for else ""
    say(f"dataset {spec.dataset} {spec.version}{note}", err=True)
    say(job, err=sending.id_to_stderr)
    if sending.expect:
        say(expected(client.jobbook, job), err=True)
    return watched(client, job) if sending.wait else None


def send_for_table(
    client: Client, spec: Spec, sending: Sending, to: Target | None, *, after: Sequence[str] = ()
) -> None:
    """Submits a job that makes a table; with `to`, waits for it and copies the table there."""
    if to is None:
        send(client, spec, sending, after=after)
        return
    waiting = replace(sending, wait=True, id_to_stderr=to.path == STDOUT)
    if job := send(client, spec, waiting, after=after):
        copy_table(client, job, to)


def submitted(client: Client, spec: Spec, *, after: Sequence[str], **options: Any) -> str:
    """The id of the job; options: those of `Client.submit`.

    Raises BadRequest if one of the jobs that it waits for has ended without success.
    """
    from jdq.worker.queue.jobbook import DependencyEnded

    try:
        return client.submit(spec, after=after, **options)
    except DependencyEnded as error:
        raise BadRequest(f"job {error} has failed or was cancelled\n  try: jdq status {error}") from None


def watched(client: Client, job: str) -> Job:
    """Shows the job until it has succeeded; exits if it failed or was cancelled."""
    from jdq.cli.jobs.watch import watch_job
    from jdq.worker.queue.contract import JobState

    ended = watch_job(client, job)
    if ended.error:
        say(f"jdq: {ended.error.message}", err=True)
    if ended.state != JobState.SUCCEEDED:
        sys.exit(ExitCode.FAILED)
    return ended


def made_by(client: Client, wanted: str, kind: str) -> list[str]:
    """The job that is making this head or model; empty if none is under way. Raises BadRequest if it has failed."""
    from jdq.worker.queue.contract import JobState
    from jdq.worker.queue.jobbook import UnknownJob

    try:
        job = client.jobbook.job(wanted)
    except UnknownJob:
        return []
    if job.state in (JobState.FAILED, JobState.CANCELLED):
        raise BadRequest(f"job {wanted} {job.state}\n  try: jdq status {wanted}")
    return [wanted] if job.kind == kind and not job.state.ended else []
