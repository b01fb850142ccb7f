"""The live screen of `jdq top`: what it shows, and what each key does."""

from collections.abc import Callable, Sequence
from itertools import accumulate

from rich.console import Group, RenderableType
from rich.text import Text

from jdq.cli.jobs.overview import (
    JOB_COLUMNS,
    ORDERS,
    WORKER_COLUMNS,
    Overview,
    Throughput,
    head_lines,
    job_row,
    reason_of,
    sparkline,
    worker_row,
)
from jdq.cli.terminal import blocks, wrapped
from jdq.worker.queue.contract import NOBODY
from jdq.worker.queue.exit_codes import plain, plain_lines
from jdq.worker.queue.records import Job

KEYS = "↑↓ select  l logs  c cancel  s sort  q quit"
# The parts of the screen that workers and the selected job's reason may take.
WORKERS_SHARE = REASON_SHARE = 3


class Board:
    """A screen of jobs and workers. Keys change what is shown; `cancel` and `logs` are given a job's id."""

    def __init__(self, *, cancel: Callable[[str], object], logs: Callable[[str], Sequence[str]]) -> None:
        self.overview = Overview(jobs=[], workers=[])
        self.throughput = Throughput()
        self.problem: str | None = None  # why the overview is out of date
        self.finished = False
        self._cancel = cancel
        self._logs = logs
        self._order = "state"
        self._selected: str | None = None
        self._top = 0  # the first job on the screen
        self._page = 10
        self._to_confirm: str | None = None  # the job whose cancellation is to be confirmed
        self._log: list[str] | None = None

    def press(self, key: str) -> None:
        """Handles a key; others do nothing."""
        job, self._to_confirm = self._to_confirm, None
        if job is not None:
            if key == "y":
                self._cancel(job)
        elif self._log is not None:
            self._log = None
        elif key in ("q", "escape"):
            self.finished = True
        elif key == "s":
            names = list(ORDERS)
            self._order = names[(names.index(self._order) + 1) % len(names)]
        elif key == "c":
            self._to_confirm = self._selected
        elif key == "l" and self._selected is not None:
            self._log = [plain(line) for text in self._logs(self._selected) for line in text.split("\n")]
        else:
            self._move(key)

    def frame(self, width: int, height: int) -> RenderableType:
        """The screen: at most this many lines of at most this many columns. Longer lines are wrapped."""
        if self._log is not None:
            return Group(*self._log_lines(width)[-(height - 1) :], Text("any key returns", style="dim"))
        jobs = self._jobs()
        head = [line for text in head_lines(self.overview) for line in wrapped(Text(text), width)]
        head.append(self._throughput_line(width))
        workers = self._worker_lines(width, max(3, height // WORKERS_SHARE))
        foot = self._foot(jobs, width, height // REASON_SHARE)
        room = max(1, height - len(head) - len(workers) - len(foot) - 3)
        return Group(*head, Text(), *workers, Text(), *self._job_lines(jobs, width, room), *foot)

    def _log_lines(self, width: int) -> list[Text]:
        return [line for text in self._log or ["no log lines yet"] for line in wrapped(Text(text), width)]

    def _jobs(self) -> list[Job]:
        """In order; one of them is selected, if there are any."""
        jobs = sorted(self.overview.jobs, key=ORDERS[self._order])
        if jobs and not any(job.id == self._selected for job in jobs):
            self._selected = jobs[0].id
        return jobs

    def _move(self, key: str) -> None:
        jobs = self._jobs()
        steps = {"up": -1, "k": -1, "down": 1, "j": 1, "page up": -self._page, "page down": self._page}
        steps |= {"home": -len(jobs), "end": len(jobs)}
        if jobs and key in steps:
            place = next(n for n, job in enumerate(jobs) if job.id == self._selected)
            self._selected = jobs[min(max(0, place + steps[key]), len(jobs) - 1)].id

    def _job_lines(self, jobs: list[Job], width: int, room: int) -> list[Text]:
        """The header, and the jobs around the selected one, in this many lines."""
        place = next((n for n, job in enumerate(jobs) if job.id == self._selected), 0)
        self._top = max(0, min(self._top, place, len(jobs) - self._page), place - room + 1)
        shown = jobs[self._top : self._top + room]
        header, of_jobs = blocks(JOB_COLUMNS, [list(map(plain, job_row(job))) for job in shown], width=width)
        if of_jobs:
            of_jobs[place - self._top][0].stylize("reverse")
        while sum(map(len, of_jobs[: place - self._top + 1])) > room and place > self._top:
            self._top += 1
            del of_jobs[0]
        self._page = max(1, _fitting(of_jobs, room))
        return [header, *[line for block in of_jobs[: self._page] for line in block][:room]]

    def _worker_lines(self, width: int, most: int) -> list[Text]:
        """The header, and the first workers, in at most this many lines."""
        workers = self.overview.workers
        rows = [list(map(plain, worker_row(worker, self.overview))) for worker in workers[:most]]
        header, of_workers = blocks(WORKER_COLUMNS, rows, width=width)
        n_shown = _fitting(of_workers, most)
        more = [Text(f"and {len(workers) - n_shown} more", style="dim")] if len(workers) > n_shown else []
        return [header, *(line for block in of_workers[:n_shown] for line in block), *more]

    def _throughput_line(self, width: int) -> Text:
        history = self.throughput.history
        rate = f"{history[-1]:,.0f} tokens/s " if history else "- tokens/s "
        return Text(rate).append(sparkline(history, width - len(rate)), style="cyan")

    def _foot(self, jobs: list[Job], width: int, most: int) -> list[Text]:
        """The reason of the selected job, in at most this many lines, and what keys do."""
        selected = next((job for job in jobs if job.id == self._selected), None)
        foot = wrapped(Text(plain_lines(reason_of(selected)), style="red"), width) if selected else []
        if selected and len(foot) > most:
            foot[most - 1 :] = [Text(f"full reason: jdq status {selected.id}", style="red")]
        if self._to_confirm is not None:
            owner = next((f" of {job.owner}" for job in jobs if job.id == self._to_confirm and job.owner != NOBODY), "")
            return [*foot, *wrapped(Text(f"cancel {self._to_confirm}{plain(owner)}? y/n", style="bold"), width)]
        if self.problem is not None:
            return [*foot, *wrapped(Text(plain(self.problem), style="bold red"), width)]
        of = f"{len(jobs):,} jobs by {self._order}"
        return [*foot, *wrapped(Text(f"{KEYS}  {of}", style="dim"), width)]


def _fitting(of_rows: Sequence[Sequence[Text]], room: int) -> int:
    """How many of the rows, each of some lines, fit into this many lines."""
    return sum(end <= room for end in accumulate(map(len, of_rows)))
