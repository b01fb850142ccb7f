"""The workers' log lines: each names the worker, and the job and chunk that it belongs to."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from jdq.worker.ledger.ledger import Lease

_lease: ContextVar[Lease | None] = ContextVar("lease", default=None)


@contextmanager
def working_on(lease: Lease) -> Iterator[None]:
    """Names the lease's job and chunk in every log line of this thread."""
    token = _lease.set(lease)
    try:
        yield
    finally:
        _lease.reset(token)


class _Where(logging.Filter):
    """Adds `job` and `chunk` to each record."""

    def filter(self, record: logging.LogRecord) -> bool:
        lease = _lease.get()
        record.job = lease.job if lease else "-"
        record.chunk = lease.chunk if lease else "-"
        return True


def configure_logging(level: int = logging.INFO) -> None:
    """One format for jdq's and Celery's lines, on stderr."""
    handler = logging.StreamHandler()
    handler.addFilter(_Where())
    handler.setFormatter(
        logging.Formatter("%(asctime)s %(levelname)s %(processName)s job=%(job)s chunk=%(chunk)s %(name)s: %(message)s")
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("celery.worker.strategy").setLevel(logging.WARNING)
    logging.getLogger("celery.app.trace").setLevel(logging.WARNING)
