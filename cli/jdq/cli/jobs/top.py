"""`jdq top`: a live screen of workers and jobs."""

from __future__ import annotations

import sys
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from jdq.cli.client import Client
from jdq.cli.output import print_table, say

if TYPE_CHECKING:
    from jdq.cli.jobs.board import Board
    from jdq.cli.jobs.overview import Overview

REFRESH_S = 1.0
RECENT_S = 86_400
LOG_LINES = 500


@click.command()
@click.option("--once", is_flag=True, help="Print the screen once and exit.")
def top(once: bool) -> None:
    """Show workers and jobs live.

    Jobs that were submitted in the last day, and older ones that are being worked on. Keys: arrows, PgUp and PgDn
    select a job, l shows its log, c cancels it, s sorts, q quits. In a pipe, everything is printed once.
    """
    client = Client()
    if once or not sys.stdout.isatty() or not sys.stdin.isatty():
        _print(_read(client))
    else:
        _run(client)


def _print(overview: Overview) -> None:
    from jdq.cli.jobs.overview import JOB_COLUMNS, ORDERS, WORKER_COLUMNS, head_lines, job_row, worker_row

    for line in head_lines(overview):
        say(line)
    if overview.workers:
        say("")
        print_table(WORKER_COLUMNS, [worker_row(worker, overview) for worker in overview.workers])
    if overview.jobs:
        say("")
        print_table(JOB_COLUMNS, [job_row(job) for job in sorted(overview.jobs, key=ORDERS["state"])])


def _run(client: Client) -> None:
    from rich.live import Live

    from jdq.cli.jobs.board import Board
    from jdq.cli.jobs.keyboard import Keyboard
    from jdq.cli.jobs.logs import last_lines
    from jdq.cli.terminal import console

    board = Board(cancel=partial(client.cancel, force=True), logs=lambda job: last_lines(client, job, LOG_LINES))
    board.overview = _read(client)
    stopped = threading.Event()
    reader = threading.Thread(target=_keep_reading, args=(client, board, stopped), daemon=True)
    terminal = console()
    with Keyboard() as keyboard, Live(console=terminal, screen=True, auto_refresh=False) as live:
        reader.start()
        while not board.finished:
            live.update(board.frame(terminal.width, terminal.height), refresh=True)
            if key := keyboard.read(timeout_s=REFRESH_S / 2):
                board.press(key)
    stopped.set()


def _keep_reading(client: Client, board: Board, stopped: threading.Event) -> None:
    """In a thread, because reading a thousand jobs takes longer than a key should wait."""
    import redis

    from jdq.cli.jobs.machine import Machine
    from jdq.cli.jobs.overview import tokens_of

    machine = Machine(client.config.host)
    while not stopped.wait(REFRESH_S):
        try:
            board.overview = _read(client, machine)
            board.throughput.add(time.monotonic(), tokens_of(board.overview.jobs))
            board.problem = None
        except redis.RedisError as error:
            board.problem = f"no answer from Redis: {error}"


def _read(client: Client, machine: Any = None) -> Overview:
    from jdq.cli.jobs.overview import Overview
    from jdq.cli.jobs.waiting import with_reasons

    jobs = client.jobbook.jobs(since=time.time() - RECENT_S)
    workers = client.jobbook.workers()
    older = {worker.job for worker in workers if worker.job} - {job.id for job in jobs}
    jobs += [client.job(job) for job in sorted(older)]
    jobs = with_reasons(jobs, workers, jobs)
    return Overview(jobs=jobs, workers=workers, use=machine.use(workers) if machine else {})
