"""What `--precision auto` means: settled once per installation, and kept in Redis and in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jdq.store.store import Store

if TYPE_CHECKING:
    from jdq.worker.queue.jobbook import JobBook


def settled_precision(jobbook: JobBook, store: Store) -> str | None:
    """What `auto` means in this installation; None before it was settled."""
    return jobbook.precision() or store.precision()


def settle_precision(jobbook: JobBook | None, store: Store, precision: str) -> str:
    """What `auto` means in this installation: this, unless it was settled before.

    Redis has the last word; the store tells programs that work without it. jobbook: None for such a program.
    """
    settled = store.precision() or precision
    if jobbook is not None:
        settled = jobbook.settle_precision(settled)
    store.settle_precision(settled)
    return settled
