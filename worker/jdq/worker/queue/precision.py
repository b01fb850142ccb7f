"""What `--precision auto` means: settled once per installation, and kept in Redis and in the store."""

from __future__ import annotations

from jdq.store.store import Store
from jdq.worker.queue.jobbook import JobBook


def settled_precision(jobbook: JobBook, store: Store) -> str | None:
    """What `auto` means in this installation; None before it was settled."""
    return jobbook.precision() or store.precision()


def settle_precision(jobbook: JobBook, store: Store, precision: str) -> str:
    """What `auto` means in this installation: this, unless it was settled before.

    Redis has the last word; the store tells programs that work without it.
    """
    settled = jobbook.settle_precision(store.precision() or precision)
    store.settle_precision(settled)
    return settled
