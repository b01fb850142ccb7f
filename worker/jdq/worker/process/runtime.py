"""What a worker process keeps between tickets: configuration, connections, store, loaded encoders."""

import logging
import threading
from functools import cache, cached_property

from celery import Celery
from kombu.exceptions import OperationalError

from jdq.store.datasets import DatasetVersion
from jdq.store.job_files import JobFiles
from jdq.store.spaces.feature_space import Space
from jdq.store.store import Store, open_store
from jdq.worker.config import Config, read_config
from jdq.worker.queue.celery_app import celery_app
from jdq.worker.queue.connection import connect
from jdq.worker.queue.contract import Queue
from jdq.worker.queue.jobbook import JobBook
from jdq.worker.queue.ledger import Ledger
from jdq.worker.queue.scripts import Quotas, TicketOrder
from jdq.worker.queue.tickets import send_tickets

log = logging.getLogger(__name__)

# How long the ledger may be unreachable before a worker gives up its chunk, in seconds.
PATIENCE_S = 120.0


class Runtime:
    """What one worker process owns; each part is created on first use."""

    def __init__(self, config: Config, *, worker: str, queue: Queue) -> None:
        self.config = config
        self.worker = worker
        self.queue = queue
        self.canary_due: dict[str, float] = {}  # by feature space, on the monotonic clock
        self._ending = threading.Event()
        self._versions: dict[tuple[str, str], DatasetVersion] = {}
        self._spaces: dict[str, Space] = {}

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger; its commands wait for a server that restarts."""
        ending = self._ending  # only the event: a client that held this object would be in a cycle, and be closed late
        client = connect(self.config, patience_s=PATIENCE_S, waits=lambda: not ending.is_set())
        return Ledger(
            client,
            worker=self.worker,
            queue=self.queue,
            lease_s=self.config.lease_s,
            reclaim_s=self.config.reclaim_s,
            shares=self.config.share_of,
            quotas=Quotas(devices=self.config.most_devices, fine_tunes=self.config.most_fine_tunes),
        )

    def end(self) -> None:
        """From now on, no command waits for an unreachable server, because this process is about to end."""
        self._ending.set()

    @cached_property
    def jobbook(self) -> JobBook:
        """The ledger's jobs and workers, for reading."""
        store = self.config.store  # only the path: see `ledger`
        return JobBook(self.ledger.client, lambda: JobFiles(store))

    @cached_property
    def store(self) -> Store:
        """The store that the workers share."""
        return open_store(self.config.store)

    @cached_property
    def job_files(self) -> JobFiles:
        """The files that jobs leave in the store: plans and results."""
        return JobFiles(self.store.root)

    def version(self, name: str, version: str) -> DatasetVersion:
        """A dataset version, opened and checked once, because it never changes."""
        if (name, version) not in self._versions:
            self._versions[name, version] = self.store.datasets.get(name, version)
        return self._versions[name, version]

    def space(self, digest: str) -> Space:
        """A feature space, opened once, so that its index stays warm."""
        if digest not in self._spaces:
            self._spaces[digest] = self.store.open_space(digest)
        return self._spaces[digest]

    @cached_property
    def _app(self) -> Celery:
        return celery_app(self.config)

    def send(self, orders: list[TicketOrder], *, repair: bool = False) -> None:
        """Sends tickets. A ticket that is lost because the server is unreachable is replaced by a later reclaim."""
        try:
            send_tickets(self._app, orders, repair=repair)
        except OperationalError as error:
            log.warning("no worker was woken: %s", error)


@cache
def runtime(worker: str, queue: Queue) -> Runtime:
    """This process's runtime."""
    return Runtime(read_config(), worker=worker, queue=queue)
