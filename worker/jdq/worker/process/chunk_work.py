"""The contract of a chunk's work: what each kind of job implements, and what the chunk loop runs."""

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from jdq.worker.process.lease_heartbeat import HeldLease
from jdq.worker.process.runtime import Runtime
from jdq.worker.queue.contract import Spec
from jdq.worker.queue.ledger import Outcome

S = TypeVar("S", bound=Spec)
P = TypeVar("P")
C = TypeVar("C")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkContext(Generic[S]):
    """What the work on a chunk is given."""

    job: str
    chunk: int
    spec: S
    runtime: Runtime


class ChunkWork(Protocol[P, C]):
    """One chunk's work in three steps, which run in this order but in different threads.

    A chunk may be worked on twice, by different workers, so all output is published in the last step.
    """

    def prepare(self) -> P:
        """Reads what the chunk needs; touches no device."""

    def compute(self, prepared: P, held: HeldLease) -> C:
        """The work itself; reports its progress to `held` often, which raises StopWork when it must stop."""

    def publish(self, computed: C) -> Outcome:
        """Writes what was computed under names that a second publication does not change."""
