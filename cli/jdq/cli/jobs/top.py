"""`jdq top`: a live screen of workers and jobs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from jdq.cli.client import Client
from jdq.worker.queue.contract import JobState

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from jdq.worker.queue.jobbook import JobBook
    from jdq.worker.queue.records import Job

REFRESH_S = 1.0
RECENT_S = 86_400
SHOWN = 15


@click.command()
@click.option("--once", is_flag=True, help="Print the screen once and exit.")
def top(once: bool) -> None:
    """Show workers and jobs live, until Ctrl-C."""
    from rich.console import Console
    from rich.live import Live

    jobbook = Client().jobbook
    if once:
        Console().print(_screen(jobbook))
        return
    with Live(_screen(jobbook), screen=True, auto_refresh=False) as live:
        try:
            while True:
                time.sleep(REFRESH_S)
                live.update(_screen(jobbook), refresh=True)
        except KeyboardInterrupt:
            return


def _screen(jobbook: JobBook) -> RenderableType:
    from rich.console import Group

    workers = _table("workers", "worker", "state", "queue", "device", "job")
    for worker in jobbook.workers():
        workers.add_row(worker.name, worker.state, worker.queue, worker.device, worker.job or "")
    jobs = _table("jobs", "job", "state", "dataset", "done", "rate", "ETA")
    for job in _order(jobbook.jobs(since=time.time() - RECENT_S))[:SHOWN]:
        jobs.add_row(*_row(job))
    return Group(workers, jobs)


def _table(title: str, *columns: str) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left", expand=True, box=None, header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def _order(jobs: list[Job]) -> list[Job]:
    """Running jobs first, then queued, then ended ones; newest first within each."""
    rank = {JobState.RUNNING: 0, JobState.QUEUED: 1}
    return sorted(jobs, key=lambda job: (rank.get(job.state, 2), -job.created))


def _row(job: Job) -> list[str]:
    from jdq.cli.jobs.progress import progress_of, state_text
    from jdq.cli.output import duration

    progress = progress_of(job)
    done = f"{job.chunks_done}/{job.chunks_total} chunks"
    if progress.texts_total is not None:
        done = f"{progress.texts_done:,}/{progress.texts_total:,} texts"
    rate = f"{progress.tokens_per_s:,.0f} tokens/s" if progress.tokens_per_s else ""
    return [job.id, state_text(job), job.spec.dataset, done, rate, duration(progress.eta_s)]
