"""The live screen of `jdq top`: what it shows, and what each key does."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence

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
from jdq.cli.terminal import lines
from jdq.worker.queue.exit_codes import plain, plain_lines
from jdq.worker.queue.records import Job

KEYS = "↑↓ select  l logs  c cancel  s sort  q quit"
# The share of the screen that workers may take, and the lines of a reason.
WORKERS_SHARE = 3
REASON_LINES = 5


class Board:
    """A screen of jobs and workers. Keys change what is shown; `cancel` and `logs` are given a job's id."""

    def __init__(self, *, cancel: Callable[[str], object], logs: Callable[[str], Sequence[str]]) -> None:
        self.overview = Overview(jobs=[], workers=[])
        self.throughput = Throughput()
        self.problem: str | None = None  # why the overview is not of now
        self.finished = False
        self._cancel = cancel
        self._logs = logs
        self._order = "state"
        self._selected: str | None = None
        self._top = 0  # the first job on the screen
        self._page = 10
        self._asked: str | None = None  # the job whose cancellation is to be confirmed
        self._log: list[str] | None = None

    def press(self, key: str) -> None:
        """Does what the key says; others do nothing."""
        asked, self._asked = self._asked, None
        if asked is not None:
            if key == "y":
                self._cancel(asked)
        elif self._log is not None:
            self._log = None
        elif key in ("q", "escape"):
            self.finished = True
        elif key == "s":
            names = list(ORDERS)
            self._order = names[(names.index(self._order) + 1) % len(names)]
        elif key == "c":
            self._asked = self._selected
        elif key == "l" and self._selected is not None:
            self._log = [plain(line) for text in self._logs(self._selected) for line in text.split("\n")]
        else:
            self._move(key)

    def frame(self, width: int, height: int) -> RenderableType:
        """The screen: at most this many lines of at most this many columns."""
        if self._log is not None:
            shown = self._log[-(height - 1) :] or ["no log lines yet"]
            return self._fitted([*map(Text, shown), Text("any key goes back", style="dim")], width)
        jobs = self._jobs()
        head = [Text(line) for line in head_lines(self.overview)]
        head.append(self._throughput_line(width))
        workers = self._worker_lines(width, max(3, height // WORKERS_SHARE))
        foot = self._foot(jobs, width)
        self._page = max(1, height - len(head) - len(workers) - len(foot) - 3)
        return self._fitted([*head, Text(), *workers, Text(), *self._job_lines(jobs, width), *foot], width)

    def _jobs(self) -> list[Job]:
        """In order; one of them is selected, where there are any."""
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

    def _job_lines(self, jobs: list[Job], width: int) -> list[Text]:
        """Those around the selected one."""
        place = next((n for n, job in enumerate(jobs) if job.id == self._selected), 0)
        self._top = max(0, min(self._top, place, len(jobs) - self._page), place - self._page + 1)
        shown = jobs[self._top : self._top + self._page]
        found = lines(JOB_COLUMNS, [list(map(plain, job_row(job))) for job in shown], width=width)
        if shown:
            found[1 + place - self._top].stylize("reverse")
        return found

    def _worker_lines(self, width: int, most: int) -> list[Text]:
        workers = self.overview.workers
        rows = [list(map(plain, worker_row(worker, self.overview))) for worker in workers[:most]]
        more = [Text(f"and {len(workers) - most} more", style="dim")] if len(workers) > most else []
        return [*lines(WORKER_COLUMNS, rows, width=width), *more]

    def _throughput_line(self, width: int) -> Text:
        history = self.throughput.history
        rate = f"{history[-1]:,.0f} tokens/s " if history else "- tokens/s "
        return Text(rate).append(sparkline(history, width - len(rate)), style="cyan")

    def _foot(self, jobs: list[Job], width: int) -> list[Text]:
        """The reason of the selected job, and what keys do."""
        selected = next((job for job in jobs if job.id == self._selected), None)
        reason = plain_lines(reason_of(selected)).split("\n") if selected else []
        wrapped = [line for text in reason for line in textwrap.wrap(text, width)]
        foot = [Text(line, style="red") for line in wrapped[:REASON_LINES]]
        if self._asked is not None:
            return [*foot, Text(f"cancel {self._asked}? y/n", style="bold")]
        if self.problem is not None:
            return [*foot, Text(plain(self.problem), style="bold red")]
        of = f"{len(jobs):,} jobs by {self._order}"
        return [*foot, Text(f"{KEYS}  {of}" if len(KEYS) + len(of) + 2 <= width else KEYS, style="dim")]

    @staticmethod
    def _fitted(shown: Sequence[Text], width: int) -> RenderableType:
        for line in shown:
            line.truncate(width, overflow="ellipsis")
            line.no_wrap = True
        return Group(*shown)
