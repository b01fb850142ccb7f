"""A submitted job: its state, its progress, and its result."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from jdq.client.progress import Bar, progress_bar
from jdq.client.suggestions import in_python, python_errors

if TYPE_CHECKING:
    from jdq.client.connection import Connection
    from jdq.worker.queue.records import Job as Record

D = TypeVar("D")
R = TypeVar("R", covariant=True)
# A job that takes milliseconds is noticed soon, but the server is not polled more often than needed.
FIRST_WAIT_S, LONGEST_WAIT_S = 0.02, 0.3


class JobNotSucceeded(Exception):
    """A job failed or was cancelled. `job` is its id; the message says why."""

    def __init__(self, job: str, reason: str) -> None:
        super().__init__(job, reason)
        self.job = job
        self.reason = reason

    def __str__(self) -> str:
        return f"job {self.job} {self.reason}"


class Job(Generic[R]):
    """A job that `Client` submitted. It continues when the program ends, unless it is one of `Client.local()`."""

    def __init__(self, connection: Connection, id: str, read: Callable[[Connection, Record], R]) -> None:
        """read: gets the result from the record of a job that succeeded."""
        self.id = id
        self._connection = connection
        self._read = read

    def __repr__(self) -> str:
        return f"<Job {self.id}: {self.status}>"

    @property
    def status(self) -> str:
        """queued, running, succeeded, failed or cancelled. Raises UnknownJob, BrokerUnreachable."""
        return str(self._record().state)

    @property
    def kind(self) -> str:
        """extract, train-head, fine-tune, predict, ..."""
        return self._record().kind

    @property
    def dataset(self) -> str:
        """The name of the dataset that the job reads."""
        return self._record().spec.dataset

    def describe(self) -> dict[str, Any]:
        """The job as `jdq status --json` prints it: progress, times in seconds since 1970, specification, error."""
        from jdq.cli.jobs.progress import describe_job

        return describe_job(self._record())

    def wait(self, *, quiet: bool | None = None, timeout_s: float | None = None) -> Self:
        """Waits until the job has succeeded, and returns it. If interrupted, the job continues.

        Shows a progress bar in a notebook and on a terminal, unless `quiet` (by default the client's).
        Raises JobNotSucceeded, and TimeoutError if the job has not ended after `timeout_s` seconds.
        """
        record = self._record()
        with self._bar(record, self._connection.quiet if quiet is None else quiet) as bar:
            record = self._ended(record, bar, None if timeout_s is None else time.monotonic() + timeout_s)
        if record.state == "succeeded":
            return self
        raise JobNotSucceeded(
            self.id, f"{record.state}: {in_python(record.error.message)}" if record.error else record.state
        )

    def result(self) -> R:
        """The result, after waiting for it. Raises JobNotSucceeded."""
        # A job that has ended needs no second bar below that of `wait`.
        self.wait(quiet=self._connection.quiet or self._record().state.ended)
        return self._read(self._connection, self._record())

    @python_errors
    def cancel(self, *, force: bool = False) -> bool:
        """Ends the job; what is in the store stays. False if it had already ended.

        Raises BadRequest if another owner submitted it, unless `force`.
        """
        return self._connection.cancel(self.id, force=force)

    @python_errors
    def retry(self) -> Self:
        """Runs the failed or cancelled job again, and returns it. Raises NotRetried, and BadRequest if another must
        succeed first."""
        self._connection.retry(self.id)
        return self

    def _record(self) -> Record:
        return self._connection.job(self.id)

    def _bar(self, record: Record, quiet: bool) -> AbstractContextManager[Bar]:
        return progress_bar(record, quiet=quiet)

    def _ended(self, record: Record, bar: Bar, deadline: float | None) -> Record:
        """The job's record once it has ended."""
        pause_s = FIRST_WAIT_S
        while not record.state.ended:
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"job {self.id} is {record.state}; it continues")
            time.sleep(pause_s)
            pause_s = min(LONGEST_WAIT_S, 1.5 * pause_s)
            record = self._record()
            bar.show(record)
        return record


def dataset_of(data: D | Job[Any]) -> D | str:
    """The name of the dataset that the job reads; other data as they are."""
    return data.dataset if isinstance(data, Job) else data
