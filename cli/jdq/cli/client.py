"""What a command needs: the configuration, the job book, the store, and submitting a job."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING

from jdq.cli.output import say
from jdq.worker.config import Config, read_config

if TYPE_CHECKING:
    from pathlib import Path

    import redis

    from jdq.store.job_files import JobFiles
    from jdq.store.store import Store
    from jdq.worker.queue.contract import Spec
    from jdq.worker.queue.jobbook import JobBook
    from jdq.worker.queue.records import Job, Worker
    from jdq.worker.queue.scripts import TicketOrder


_SUGGESTED_FROM = 1_000  # the newest jobs: comparing an id with a complete history takes seconds


class BadRequest(Exception):
    """The user requested something impossible; the message says what would work."""


class IncompatibleWorkers(BadRequest):
    """A worker uses another message protocol than this client; the message says which, and what to do."""


class Client:
    """What one command uses; each part is created on first use. environment: instead of the process's own."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = environment

    @cached_property
    def config(self) -> Config:
        """The configuration; raises ConfigError."""
        return read_config(self._environment)

    @cached_property
    def redis(self) -> redis.Redis:
        """The ledger's Redis, which has answered; raises BrokerUnreachable."""
        from jdq.worker.queue.connection import checked, connect

        return checked(connect(self.config), self.config)

    @cached_property
    def jobbook(self) -> JobBook:
        """Jobs and workers; raises BrokerUnreachable."""
        from jdq.worker.queue.jobbook import JobBook

        store = self.config.store
        return JobBook(self.redis, lambda: _job_files(store))  # without this object, whose connection it would keep

    def job_files(self) -> JobFiles:
        """The files of jobs in the configured store, whether it exists or not."""
        return _job_files(self.config.store)

    @cached_property
    def store(self) -> Store:
        """The configured store, created if it does not exist; raises StoreError."""
        return self._open_store(create=True)

    @cached_property
    def existing_store(self) -> Store:
        """The configured store; raises StoreFormatError if it does not exist."""
        return self._open_store(create=False)

    def automatic_precision(self) -> str | None:
        """What precision `auto` means, as far as Redis and the store can be read; None if it is not settled."""
        from redis import RedisError

        from jdq.store.errors import StoreError
        from jdq.worker.queue.connection import BrokerUnreachable

        settled = None
        with suppress(StoreError):
            settled = self.existing_store.precision()
        with suppress(BrokerUnreachable, RedisError):
            settled = self.jobbook.precision() or settled
        return settled

    def job(self, job: str) -> Job:
        """The job with this id; raises UnknownJob with a message for the user."""
        from jdq.store.errors import did_you_mean
        from jdq.worker.queue.jobbook import UnknownJob

        try:
            return self.jobbook.job(job)
        except UnknownJob:
            nearest = did_you_mean(job, self.jobbook.ids()[:_SUGGESTED_FROM])
            raise UnknownJob(f"no job has the id {job!r}{nearest}\n  try: jdq jobs") from None

    def submit(
        self,
        spec: Spec,
        *,
        after: Sequence[str] = (),
        priority: str | None = None,
        time_limit_s: float | None = None,
        notify: Sequence[str] | None = None,
        job: str | None = None,
    ) -> str:
        """Creates the job, sends its tickets, and warns on stderr about problems with the workers. Returns its id.

        priority: None is normal, but low for a search: other jobs run between its trials. notify: URLs to notify of its
        end; None: those of the configuration. job: its id, if it has one already. Raises IncompatibleWorkers, before
        anything is created.
        """
        living = [worker for worker in self.jobbook.workers() if worker.state != "dead"]
        check_protocol(living)
        job, tickets = self.jobbook.create(
            spec,
            after=after,
            priority=priority or ("low" if getattr(spec, "search", None) else "normal"),
            owner=self.config.user,
            time_limit_s=time_limit_s,
            notify=self.config.notify.split() if notify is None else notify,
            job=job,
        )
        self._send(tickets)
        for warning in warnings(living, spec):
            self.note(f"warning: {warning}")
        return job

    def cancel(self, job: str, *, force: bool = False) -> bool:
        """Ends the job; False if it had already ended. Raises UnknownJob, and BadRequest for another owner's job.

        force: also another owner's job, whose log then names this user.
        """
        self.own_job(job, force=force, command=f"cancel {job}")
        return self.jobbook.cancel(job, by=self.config.user)

    def own_job(self, job: str, *, force: bool, command: str) -> Job:
        """The job; raises UnknownJob, and BadRequest for another owner's job, unless `force`.

        command: the one that has --force.
        """
        from jdq.worker.queue.contract import NOBODY

        record, user = self.job(job), self.config.user
        if record.owner not in (user, NOBODY) and not force:
            raise BadRequest(f"job {job} is owned by {record.owner}, and you are {user}\n  try: jdq {command} --force")
        return record

    def note(self, text: str) -> None:
        """Tells the user what was assumed, or what may be wrong."""
        say(text, err=True)

    def retry(self, job: str) -> None:
        """Runs a failed or cancelled job again. Raises NotRetried, and BadRequest if another must be retried first."""
        from jdq.worker.queue.jobbook import DependencyEnded

        try:
            self._send(self.jobbook.retry(job))
        except DependencyEnded as error:
            raise BadRequest(
                f"job {job} waits for {error}, which has not succeeded\n  try: jdq retry {error}"
            ) from None

    def close(self) -> None:
        """Closes the connection to Redis, if there is one; the next use opens another."""
        if redis := self.__dict__.pop("redis", None):
            redis.close()
            self.__dict__.pop("jobbook", None)

    def _open_store(self, *, create: bool) -> Store:
        from jdq.store.store import open_store

        return open_store(self.config.store, create=create)

    def _send(self, tickets: list[TicketOrder]) -> None:
        """Sends the tickets of a job in the ledger; if they are lost, workers find the job within seconds."""
        from kombu.exceptions import OperationalError

        from jdq.worker.queue.celery_app import celery_app
        from jdq.worker.queue.tickets import send_tickets

        try:
            send_tickets(celery_app(self.config), tickets)
        except OperationalError as error:
            self.note(f"warning: workers could not be woken and will find the job by themselves: {error}")


def _job_files(store: Path) -> JobFiles:
    from jdq.store.job_files import JobFiles

    return JobFiles(store)


def check_protocol(workers: Sequence[Worker]) -> None:
    """Raises IncompatibleWorkers if one of the workers would refuse this client's messages."""
    from jdq.worker.queue.contract import PROTOCOL

    if others := [worker for worker in workers if worker.protocol != PROTOCOL]:
        worker, mine = others[0], version("jdq")
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        raise IncompatibleWorkers(
            f"worker {worker.name}{more} cannot take jobs from this jdq: it is {worker.version} with protocol "
            f"{worker.protocol}, this is {mine} with protocol {PROTOCOL}\n"
            f"  try: pip install jdq=={worker.version} here, or jdq=={mine} where the worker runs, and restart it"
        )


def warnings(workers: Sequence[Worker], spec: Spec) -> Iterator[str]:
    """What may keep the live workers from doing the job as expected."""
    if others := sorted({worker.version for worker in workers} - {"-", version("jdq")}):
        yield f"workers run jdq {', '.join(others)}, this is {version('jdq')}; see jdq workers"
    served = {worker.queue for worker in workers if worker.state not in ("sick", "drained")}
    for queue in spec.queues:
        if queue not in served:
            yield f"no worker serves the {queue} queue; the job waits for one"
