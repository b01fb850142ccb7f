"""Progress bars of jobs: in a notebook, on a terminal, or none."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from html import escape
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from jdq.worker.queue.records import Job


class Bar(Protocol):
    """What shows a job's progress."""

    def show(self, job: Job) -> None:
        """Shows the current state of the job."""


class NoBar:
    """Shows nothing."""

    def show(self, job: Job) -> None:
        """Nothing."""


class NotebookBar:
    """A progress bar in the output of a notebook's cell; it stays there, with the job's last state."""

    def __init__(self, job: Job) -> None:
        from IPython.display import HTML, display  # type: ignore[import-not-found]

        self._html = HTML
        self._handle = display(HTML(html_of(job)), display_id=True)

    def show(self, job: Job) -> None:
        """Replaces what is shown."""
        self._handle.update(self._html(html_of(job)))


def progress_bar(job: Job, *, quiet: bool) -> AbstractContextManager[Bar]:
    """The bar that suits where this program runs: none in a pipe or a log file, or if `quiet`."""
    if quiet:
        return nullcontext(NoBar())
    if in_notebook():
        return nullcontext(NotebookBar(job))
    if sys.stderr.isatty():
        from jdq.cli.jobs.bar import JobBar
        from jdq.cli.terminal import console

        return JobBar(job, console(stderr=True))
    return nullcontext(NoBar())


def in_notebook() -> bool:
    """Whether this is the kernel of a notebook; IPython is not imported to find out."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None


def html_of(job: Job) -> str:
    """The job's progress as HTML: a bar, without a share if it is not known, and the line of `jdq jobs`."""
    from jdq.cli.jobs.progress import progress_of
    from jdq.cli.jobs.summary import summary

    done, total = progress_of(job).share
    if job.state == "succeeded":
        done, total = 1, 1
    share = f' max="{total}" value="{done}"' if total else ' value="0"' if job.state.ended else ""
    return f'<progress{share} aria-label="{escape(job.id)}"></progress> <code>{escape(summary(job))}</code>'
