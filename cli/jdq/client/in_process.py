"""Jobs that run in this process, by the same plans and chunks as on workers: a job book without Redis.

There are no leases, because there is a single worker, and no retries: a fault of this machine reaches the caller.
"""

import os
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from itertools import islice
from typing import Any

import msgspec

from jdq.client.device import local_device
from jdq.worker.config import Config
from jdq.worker.jobs import work_for
from jdq.worker.process.devices import device_of
from jdq.worker.process.lease_heartbeat import HeldLease
from jdq.worker.process.runtime import Runtime
from jdq.worker.queue.contract import NOBODY, PROTOCOL, QUEUES, JobState, Queue, Spec, encode_spec
from jdq.worker.queue.jobbook import DependencyEnded, JobBook, NotRetried, new_job_id
from jdq.worker.queue.ledger import Lease, Outcome
from jdq.worker.queue.records import Job, JobError, Worker
from jdq.worker.queue.scripts import TicketOrder

WORKER = "this-process"


class InProcessJobs(JobBook):
    """The jobs of this process, newest last; one thread works on them in order. They are forgotten with the process."""

    def __init__(self, config: Config) -> None:
        self._config = msgspec.structs.replace(config, device=local_device(config))
        self._jobs: dict[str, Job] = {}
        self._held: dict[str, HeldLease] = {}
        self._futures: dict[str, Future[None]] = {}
        self._lock = threading.Lock()
        self._runtimes = {queue: _Runtime(self, self._config, queue) for queue in QUEUES}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="jdq")

    def create(
        self,
        spec: Spec,
        *,
        after: Sequence[str] = (),
        priority: str = "normal",
        job: str | None = None,
        owner: str = NOBODY,
        time_limit_s: float | None = None,
        notify: Sequence[str] = (),
    ) -> tuple[str, list[TicketOrder]]:
        """Adds the job, which starts when those before it have ended. Raises UnknownJob, DependencyEnded."""
        for needed in after:
            if self.job(needed).state in (JobState.FAILED, JobState.CANCELLED):
                raise DependencyEnded(needed)
        job = job or new_job_id(spec.kind)
        self._start(_queued(job, spec, after, owner))
        return job, []

    def _listed(self, key: str, since: float | None) -> Iterator[tuple[float, str]]:
        """The jobs of this process, newest first; none is ever archived."""
        if key == "jdq:jobs":
            newest_first = reversed(self._jobs.items())
            yield from ((job.created, id) for id, job in newest_first if since is None or job.created >= since)

    def cancel(self, job: str, *, by: str | None = None) -> bool:
        """Ends the job; its work stops after the current forward pass or training step. False if it had ended."""
        cancelled = self._change(self.job(job).id, state=JobState.CANCELLED, ended=time.time())
        if cancelled and not self._futures[job].cancel() and (held := self._held.get(job)):
            held.tell("cancelled")
        return cancelled

    def retry(self, job: str) -> list[TicketOrder]:
        """Runs a failed or cancelled job again from the beginning; what is in the store is not computed again.

        Raises UnknownJob, NotRetried.
        """
        known = self.job(job)
        if known.state not in (JobState.FAILED, JobState.CANCELLED):
            raise NotRetried(f"job {job} is {known.state}: only a failed or cancelled job can be retried")
        wait([self._futures[job]])  # its work stops at its next step
        self._start(_queued(job, known.spec, (), known.owner))  # type: ignore[arg-type]
        return []

    def workers(self) -> list[Worker]:
        """This process, as the worker of each queue."""
        now = time.time()
        return [
            Worker(
                name=WORKER,
                state="idle",
                queue=queue,
                host=self._config.host,
                pid=os.getpid(),
                device=device_of(self._config, queue),
                job=None,
                last_seen=now,
                started=now,
                version=version("jdq"),
                protocol=PROTOCOL,
                tokens_per_s=None,
            )
            for queue in QUEUES
        ]

    def precision(self) -> str | None:
        """None: what `auto` means is in the store."""

    def settle_precision(self, precision: str) -> str:
        """This."""
        return precision

    def newest(self, *, since: float | None = None, start: int = 0, owner: str | None = None) -> Iterator[Job]:
        """The same jobs, from the one at `start` on: all have one owner."""
        return islice(self.jobs(since=since), start, None)

    def _archived(self, ids: Sequence[str]) -> list[Job]:
        return []

    def read(self, ids: Sequence[str]) -> list[Job]:
        """Those of the jobs that this process has."""
        return [self._now(self._jobs[job]) for job in ids if job in self._jobs]

    def _now(self, job: Job) -> Job:
        held = self._held.get(job.id)
        running = job.state == JobState.RUNNING and held is not None
        live = [dict(held.live)] if running and held is not None and held.live else []
        return replace(job, read_at=time.time(), live=live, workers=[WORKER] if running else [])

    def _start(self, job: Job) -> None:
        self._jobs[job.id] = job
        self._futures[job.id] = future = self._thread.submit(self._work_on, job.id)
        future.add_done_callback(partial(self._ended, job.id))

    def _change(self, job: str, **fields: Any) -> bool:
        """Sets fields of the job, unless it has ended: then False."""
        with self._lock:
            known = self._jobs[job]
            if not known.state.ended:
                self._jobs[job] = replace(known, **fields)
            return not known.state.ended

    def _work_on(self, id: str) -> None:
        """Works on the job's chunks in order. Raises what they raise."""
        job = self._jobs[id]
        for needed in job.waits_for:
            if self._jobs[needed].state != JobState.SUCCEEDED:
                raise DependencyEnded(f"job {needed}, which this job waited for, {self._jobs[needed].state}")
        if not self._change(id, state=JobState.RUNNING, started=time.time(), waits_for=[]):
            return
        chunks: deque[tuple[Queue, Queue | None]] = deque([(job.queue, None)])  # type: ignore[list-item]
        number = 0
        while chunks:
            queue, closing = chunks.popleft()
            outcome = self._chunk(id, number, queue)
            number += 1
            if following := outcome.follow_up:
                chunks.extend([(following.queue, None)] * (following.chunks - 1))
                chunks.append((following.queue, following.closing))
            if closing:
                chunks.append((closing, None))
            self._commit(id, outcome, total=number + len(chunks))

    def _chunk(self, job: str, number: int, queue: Queue) -> Outcome:
        spec_json = encode_spec(self._jobs[job].spec)  # type: ignore[arg-type]
        held = HeldLease(Lease(job=job, chunk=number, token="", attempt=1, spec_json=spec_json))
        self._held[job] = held
        if self._jobs[job].state == JobState.CANCELLED:
            held.tell("cancelled")
        held.check()
        work = work_for(held.lease, self._runtimes[queue])
        outcome = work.publish(work.compute(work.prepare(), held))
        held.check()
        return outcome

    def _commit(self, job: str, outcome: Outcome, *, total: int) -> None:
        self._held[job].live = {}
        known = self._jobs[job]
        counts = Counter(known.counts)
        counts.update(outcome.counts)
        self._change(
            job,
            counts=dict(counts),
            chunks_done=known.chunks_done + 1,
            chunks_total=total,
            result=known.result if outcome.result is None else _as_json(outcome.result),
        )

    def _ended(self, job: str, future: Future[None]) -> None:
        self._held.pop(job, None)
        if future.cancelled():
            return
        error = future.exception()
        failed = error and JobError(type=type(error).__name__, message=str(error) or type(error).__name__)
        state = JobState.FAILED if failed else JobState.SUCCEEDED
        self._change(job, state=state, ended=time.time(), error=failed)


class _Runtime(Runtime):
    """What the work on a chunk uses: this process's jobs in place of the ledger's."""

    def __init__(self, jobs: InProcessJobs, config: Config, queue: Queue) -> None:
        super().__init__(config, worker=WORKER, queue=queue)
        self._own_jobs = jobs
        self.canary_due = _NeverDue()

    @property
    def jobbook(self) -> JobBook:
        """The jobs of this process."""
        return self._own_jobs


class _NeverDue(dict[str, float]):
    """There is no other worker to compare the features of the canary texts with."""

    def get(self, key: str, default: Any = None) -> Any:
        return float("inf")


def _queued(job: str, spec: Spec, after: Sequence[str], owner: str) -> Job:
    now = time.time()
    return Job(
        id=job,
        kind=spec.kind,
        state=JobState.QUEUED,
        spec=spec,
        queue=spec.first_queue,
        created=now,
        read_at=now,
        chunks_total=1,
        waits_for=sorted(after),
        owner=owner,
    )


def _as_json(result: Any) -> dict[str, Any]:
    """The result as the ledger would have it."""
    read: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(result))
    return read
