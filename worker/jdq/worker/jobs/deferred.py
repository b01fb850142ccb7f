"""Work whose kind stands in the store."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from jdq.worker.process.lease_heartbeat import Pulse
from jdq.worker.queue.ledger import Outcome

if TYPE_CHECKING:
    from jdq.worker.process.chunk_loop import ChunkWork


class Deferred:
    """A chunk that learns what it is when it is prepared: an error in finding out is then said to the ledger."""

    def __init__(self, choose: Callable[[], ChunkWork]) -> None:
        self._choose = choose

    def prepare(self, pulse: Pulse) -> None:
        """Chooses the work, and prepares it."""
        self._work = self._choose()
        self._work.prepare(pulse)

    def compute(self, pulse: Pulse) -> None:
        """As the work does."""
        self._work.compute(pulse)

    def publish(self, pulse: Pulse) -> Outcome:
        """As the work does."""
        return self._work.publish(pulse)
