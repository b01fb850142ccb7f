"""A live progress bar of one job, on stderr."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from jdq.cli.jobs.progress import Progress, progress_of, state_text
from jdq.cli.output import duration

if TYPE_CHECKING:
    from rich.console import RenderableType

    from jdq.cli.client import Client
    from jdq.worker.queue.records import Job

REFRESH_S = 0.3


def watch_job(client: Client, job_id: str) -> Job:
    """Shows the job until it ends, and returns the ended job. Raises UnknownJob, BrokerUnreachable."""
    job = client.job(job_id)
    if not sys.stderr.isatty():
        return _wait_quietly(client, job)
    from rich.console import Console
    from rich.live import Live

    with Live(_bar(job), console=Console(stderr=True), refresh_per_second=8, transient=True) as screen:
        while not job.state.ended:
            time.sleep(REFRESH_S)
            job = client.job(job_id)
            screen.update(_bar(job))
    click.echo(summary(job), err=True)
    return job


def _wait_quietly(client: Client, job: Job) -> Job:
    """Without a terminal: a line per change of state."""
    shown = ""
    while True:
        line = f"{job.id}  {state_text(job)}"
        if line != shown:
            click.echo(summary(job) if job.state.ended else line, err=True)
            shown = line
        if job.state.ended:
            return job
        time.sleep(REFRESH_S)
        job = client.job(job.id)


def summary(job: Job) -> str:
    """One line: state, texts done, rates, texts reused, ETA."""
    progress = progress_of(job)
    parts = [f"{job.id}  {state_text(job)}"]
    if progress.texts_total is not None:
        parts.append(f"{progress.texts_done:,}/{progress.texts_total:,} texts")
        parts.append(f"{progress.computed:,} computed, {progress.reused:,} reused")
    if progress.texts_per_s:
        parts.append(f"{progress.texts_per_s:,.1f} texts/s")
    if progress.tokens_per_s:
        parts.append(f"{progress.tokens_per_s:,.0f} tokens/s")
    parts += _training(job, progress)
    if progress.eta_s is not None:
        parts.append(f"ETA {duration(progress.eta_s)}")
    if job.state.ended:
        parts.append(duration(job.wall_s))
    return ", ".join(parts)


def _training(job: Job, progress: Progress) -> list[str]:
    """Epoch, step and loss of a training, or the trials of a search."""
    parts = []
    if progress.epoch is not None:
        parts.append(f"epoch {progress.epoch:.2f}/{progress.epochs}")
    if progress.steps_total:
        what = "trial" if "trials_total" in job.counts else "step"
        parts.append(f"{what} {progress.steps_done or 0:,}/{progress.steps_total:,}")
    if progress.loss is not None:
        parts.append(f"loss {progress.loss:.4g}")
    return parts


def _bar(job: Job) -> RenderableType:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    progress = progress_of(job)
    done, total = progress.texts_done, progress.texts_total
    if total is None:
        done, total = progress.steps_done or 0, progress.steps_total
    bar = ProgressBar(total=total or 1, completed=done, width=60, pulse=not total)
    return Group(bar, Text(summary(job)))
