"""How long a frame of `jdq top` takes: ``python -m benchmarks.screens``.

With 1,000 jobs and 50 workers, on terminals of 80 and 200 columns, against a table of all rows as rich lays it out.
The jobs are read from Redis by another thread, which is not measured here.
"""

import io
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import median

import click
from rich.console import Console, RenderableType
from rich.table import Table

from jdq.cli.jobs.board import Board
from jdq.cli.jobs.overview import JOB_COLUMNS, Overview, job_row
from jdq.worker.queue.records import Job
from tests.cli.screens import JOBS, WORKERS

ROUNDS = 20
HEIGHT = 50


def main() -> None:
    """Prints milliseconds per frame."""
    jobs = [replace(JOBS[n % len(JOBS)], id=f"extract-{n:08}", created=float(-n)) for n in range(1_000)]
    board = Board(cancel=lambda job: None, logs=lambda job: [])
    board.overview = Overview(jobs=jobs, workers=[replace(WORKERS[0], name=f"gpu-{n}") for n in range(50)])
    for columns in (80, 200):
        console = Console(file=io.StringIO(), width=columns, height=HEIGHT, force_terminal=True)
        ours = milliseconds(console, partial(board.frame, columns, HEIGHT))
        theirs = milliseconds(console, partial(table, jobs))
        ratio = f"all rows as a table {theirs:.1f} ms, {theirs / ours:.0f} times as long"
        click.echo(f"{columns} columns: {ours:.1f} ms per frame; {ratio}")


def table(jobs: list[Job]) -> Table:
    """All jobs, laid out by rich."""
    made = Table(*JOB_COLUMNS, box=None)
    for job in jobs:
        made.add_row(*job_row(job))
    return made


def milliseconds(console: Console, frame: Callable[[], RenderableType]) -> float:
    """The median of some rounds."""
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        console.print(frame())
        times.append(1000 * (time.perf_counter() - started))
    return median(times)


if __name__ == "__main__":
    main()
