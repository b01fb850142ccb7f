"""Waiting for a job: a live bar on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from jdq.cli.jobs.progress import describe_job
from jdq.cli.jobs.summary import doing_text, summary
from jdq.cli.jobs.waiting import explained
from jdq.cli.output import print_json_line, say

if TYPE_CHECKING:
    from jdq.cli.client import Client
    from jdq.worker.queue.records import Job

REFRESH_S = 0.3
# These change as time passes, even without progress.
_RUNNING = ("wall_s", "eta_s", "texts_per_s", "tokens_per_s")


def watch_job(client: Client, job_id: str, *, as_json: bool = False) -> Job:
    """Shows the job until it ends, and returns the ended job. Raises UnknownJob, BrokerUnreachable.

    as_json: a line of JSON on stdout for each change. If interrupted, it says how to watch the job again.
    """
    try:
        return _watched(client, job_id, as_json=as_json)
    except KeyboardInterrupt:
        said = f"job {job_id} continues\n  to watch it again: jdq watch {job_id}\n  to end it: jdq cancel {job_id}"
        say(f"\n{said}", err=True)  # after the terminal's ^C
        raise


def _watched(client: Client, job_id: str, *, as_json: bool) -> Job:
    job = client.job(job_id)
    if as_json:
        _print_changes(client, job)
    elif sys.stderr.isatty():
        _show_bar(client, job)
    else:
        _print_states(client, job)
    return client.job(job_id)


def _show_bar(client: Client, job: Job) -> None:
    from jdq.cli.jobs.bar import JobBar
    from jdq.cli.terminal import console

    terminal = console(stderr=True)
    with JobBar(job, terminal) as bar:
        for now in _until_ended(client, job):
            bar.show(now)
    say(summary(now), err=True)


def _print_states(client: Client, job: Job) -> None:
    shown = ""
    for now in _until_ended(client, job):
        line = summary(now) if now.state.ended else f"{now.id}  {doing_text(now)}"
        if line != shown:
            say(line, err=True)
            shown = line


def _print_changes(client: Client, job: Job) -> None:
    shown: dict[str, object] = {}
    for now in _until_ended(client, job):
        described = describe_job(now)
        facts = {name: value for name, value in described.items() if name not in _RUNNING}
        if facts != shown:
            print_json_line(described)
            shown = facts


def _until_ended(client: Client, job: Job) -> Iterator[Job]:
    """The current state of the job, repeatedly; the last one is the ended job."""
    while True:
        yield from explained(client.jobbook, [job])
        if job.state.ended:
            return
        time.sleep(REFRESH_S)
        job = client.job(job.id)
