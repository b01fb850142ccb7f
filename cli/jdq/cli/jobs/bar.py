"""The live view of one job: a bar with percentage and ETA, and below it the job's state, counts and rates."""

from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.text import Text

from jdq.cli.jobs.progress import progress_of
from jdq.cli.jobs.summary import details
from jdq.cli.output import duration
from jdq.worker.queue.exit_codes import plain_lines
from jdq.worker.queue.records import Job


class JobBar(Progress):
    """A context manager that shows the job until it exits. Lines are wrapped, never truncated."""

    def __init__(self, job: Job, console: Console) -> None:
        self._job = job
        super().__init__(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TextColumn("{task.fields[eta]}", markup=False),
            console=console,
            expand=True,
            transient=True,
            refresh_per_second=4,
        )
        self._task = self.add_task(job.id, total=None, eta="")
        self.show(job)

    def show(self, job: Job) -> None:
        """Shows the current state of the job."""
        self._job = job
        progress = progress_of(job)
        done, total = progress.share
        eta = "" if progress.eta_s is None else f"ETA {duration(progress.eta_s)}"
        self.update(self._task, completed=done, total=total or None, eta=eta)

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        yield Text(plain_lines(details(self._job)))
