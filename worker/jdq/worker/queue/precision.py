"""What `--precision auto` means: decided once per installation, and kept in Redis and in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jdq.store.store import Store

if TYPE_CHECKING:
    from jdq.worker.queue.jobbook import JobBook


def settled_precision(jobbook: JobBook, store: Store) -> str | None:
    """What `auto` means in this installation; None before that is decided."""
    return jobbook.precision() or store.precision()


def settle_precision(jobbook: JobBook | None, store: Store, precision: str) -> str:
    """What `auto` means in this installation: this, unless that was decided before.

    Redis decides; the store is for programs that work without Redis. jobbook: None for such a program.
    """
    settled = store.precision() or precision
    if jobbook is not None:
        settled = jobbook.settle_precision(settled)
    store.settle_precision(settled)
    return settled
