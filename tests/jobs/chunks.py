"""Chunks whose work the test chooses, for the chunk loop."""

from collections.abc import Callable
from dataclasses import dataclass

from jdq.worker.process.chunk_loop import ChunkLoop
from jdq.worker.process.lease_heartbeat import HeldLease
from jdq.worker.queue.contract import Extract, Queue
from jdq.worker.queue.ledger import Lease, Outcome
from jdq.worker.queue.scripts import FollowUpChunks
from tests.jobs.conftest import Workplace

SPEC = Extract(dataset="d", version="v", encoder="hash:8")


@dataclass
class Work:
    """A chunk whose steps the test chooses."""

    computes: Callable[[HeldLease], None]
    publishes: Callable[[], Outcome]
    prepares: Callable[[], None] = lambda: None

    def prepare(self) -> None:
        self.prepares()

    def compute(self, prepared: None, held: HeldLease) -> None:
        self.computes(held)

    def publish(self, computed: None) -> Outcome:
        return self.publishes()


def nothing(held: HeldLease) -> None:
    pass


def loop(workplace: Workplace, job: str, work_for: Callable[[Lease], Work], stall_s: float = 60) -> None:
    """One time slice of a cpu worker on the job."""
    new_loop(workplace, job, work_for, stall_s).run()


def new_loop(
    workplace: Workplace, job: str, work_for: Callable[[Lease], Work], stall_s: float = 60, queue: Queue = "cpu"
) -> ChunkLoop:
    """Of a worker on the job, for one time slice."""
    return ChunkLoop(
        workplace.runtime(queue).ledger,
        job,
        work_for=work_for,
        send=lambda orders: None,
        time_slice_s=5,
        heartbeat_s=0.05,
        stall_s=stall_s,
        on_cpu=True,
    )


def planned(workplace: Workplace, chunks: int) -> str:
    """A job whose first chunk is committed and has added this many."""
    job, _ = workplace.jobbook.create(SPEC)
    ledger = workplace.runtime("cpu").ledger
    lease = ledger.next(job)
    assert lease is not None
    ledger.commit(lease, Outcome(follow_up=FollowUpChunks(chunks=chunks, queue="cpu")))
    return job


def run(workplace: Workplace, job: str, computes: Callable[[HeldLease], None]) -> None:
    """One time slice in which every chunk computes this."""
    loop(workplace, job, lambda lease: Work(computes, Outcome))


def make_due(workplace: Workplace, job: str, *, chunk: int) -> None:
    """Ends the wait of a chunk that failed."""
    workplace.client.zadd(f"jdq:job:{job}:delayed", {str(chunk): 0}, xx=True)
