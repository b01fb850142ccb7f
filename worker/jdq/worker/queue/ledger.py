"""The workers' side of the ledger: lease a chunk, renew the lease, commit the chunk or release it."""

import os
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import redis

from jdq.worker.queue.contract import Queue, Spec, decode_spec
from jdq.worker.queue.limits import LIMITS
from jdq.worker.queue.records import DRAINED
from jdq.worker.queue.scripts import (
    Commit,
    Committed,
    EndProcess,
    Fail,
    FollowUpChunks,
    Heartbeat,
    Leased,
    LeaseGpu,
    MarkIdle,
    Next,
    Quotas,
    Reclaim,
    Release,
    Renew,
    RenewedLease,
    TicketOrder,
    Verdict,
    call,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to work on one chunk, until it expires or another worker has the chunk.

    token: the fencing token; the ledger accepts nothing about the chunk from a worker with an older token.
    deaths: of processes that worked on nothing else. rows: rows of the chunk that killed processes. more: its job had
    another pending chunk.
    """

    job: str
    chunk: int
    token: str
    attempt: int
    spec_json: str
    deaths: int = 0
    rows: tuple[int, ...] = ()
    more: bool = False

    @property
    def spec(self) -> Spec:
        """The job's specification. Raises ContractError: another version of jdq may have made the job."""
        return decode_spec(self.spec_json)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of a chunk. counts are added to the job's; result becomes the job's."""

    counts: Mapping[str, int] = field(default_factory=dict)
    result: Mapping[str, object] | None = None
    follow_up: FollowUpChunks | None = None


class Ledger:
    """One worker's view of the ledger. Every method is atomic on the server; all raise redis.RedisError.

    shares: of owners in device time; "*" is that of all others, 1 if it is not given. quotas: see Quotas.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        worker: str,
        queue: Queue,
        lease_s: float,
        reclaim_s: float,
        shares: Mapping[str, float] | None = None,
        quotas: Quotas | None = None,
    ) -> None:
        self.client = client
        self.worker = worker
        self.queue = queue
        self._lease_ms = int(lease_s * 1000)
        self._reclaim_ms = int(reclaim_s * 1000)
        self._shares = dict(shares or {})
        self._quotas = quotas or Quotas()

    def next(self, job: str) -> Lease | None:
        """A lease on a chunk of the job, or of one with precedence; None when there is none to take.

        More urgent jobs go first, then equally urgent ones whose owners have had less device time for their share.
        """
        token = secrets.token_hex(8)
        argument = Next(job, self.worker, os.getpid(), self.queue, token, self._lease_ms, self._shares, self._quotas)
        for leased in call(self.client, argument, list[Leased]):
            return Lease(
                job=leased.job,
                chunk=leased.chunk,
                token=token,
                attempt=leased.attempt,
                spec_json=leased.spec,
                deaths=leased.deaths,
                rows=tuple(leased.rows),
                more=leased.more,
            )
        return None

    def renew(self, leases: Sequence[tuple[Lease, Mapping[str, object] | None]]) -> list[Verdict]:
        """Renews the leases that this worker still holds, and stores each chunk's progress; a verdict for each.

        'ok'; 'drain': release the chunk and stop; 'preempt': release it and continue with an urgent job; 'cancelled':
        the job was; 'lost': another worker has the chunk.
        """
        renewed = tuple(
            RenewedLease(job=lease.job, chunk=lease.chunk, token=lease.token, live=_json(live) if live else None)
            for lease, live in leases
        )
        return call(self.client, Renew(self.worker, self._lease_ms, renewed, self._quotas), list[Verdict])

    def commit(self, lease: Lease, outcome: Outcome) -> Committed:
        """Counts the chunk once; returns the tickets to send."""
        argument = Commit(
            lease.job,
            lease.chunk,
            lease.token,
            worker=self.worker,
            counts=dict(outcome.counts),
            result=None if outcome.result is None else _json(outcome.result),
            follow_up=outcome.follow_up,
        )
        return call(self.client, argument, Committed)

    def release(self, lease: Lease, reason: str) -> list[TicketOrder]:
        """Returns the chunk immediately, because this worker must stop; the attempt does not count."""
        argument = Release(lease.job, lease.chunk, lease.token, what="drain", reason=reason, delay_ms=0)
        return call(self.client, argument, list[TicketOrder])

    def release_after_fault(self, lease: Lease, reason: str) -> list[TicketOrder]:
        """Returns the chunk after a fault of the machine, with a delay that grows; the last attempt fails the job."""
        delay_ms = min(1000 * 2 ** (lease.attempt - 1), LIMITS.max_delay_ms)
        argument = Release(lease.job, lease.chunk, lease.token, what="fault", reason=reason, delay_ms=delay_ms)
        return call(self.client, argument, list[TicketOrder])

    def fail(self, lease: Lease, error: Mapping[str, object]) -> list[TicketOrder]:
        """Fails the job with an error that another attempt would only repeat: its `type` and `message`."""
        argument = Fail(lease.job, lease.chunk, lease.token, error=_json(error))
        return call(self.client, argument, list[TicketOrder])

    def end_process(self, process: int, reason: str) -> tuple[int, list[TicketOrder]]:
        """Returns the chunks of a process of this worker that has died; their number, and the tickets to send."""
        argument = EndProcess(self.worker, "death", reason, process)
        return call(self.client, argument, tuple[int, list[TicketOrder]])

    def reclaim_expired(self) -> tuple[int, list[TicketOrder]]:
        """Reclaims the chunks of expired leases; returns their number, and the tickets that jobs lack."""
        return call(self.client, Reclaim(self._lease_ms, self._reclaim_ms), tuple[int, list[TicketOrder]])

    def mark_idle(self, job: str) -> list[TicketOrder]:
        """Ends this worker's time on the job; returns the ticket to send if chunks of it are left."""
        return call(self.client, MarkIdle(self.worker, job, self._quotas), list[TicketOrder])

    def heartbeat(self, description: Mapping[str, object], *, ready: bool = True) -> str:
        """Reports that this worker is alive, and whether it takes work; returns why it is quarantined, or ''."""
        argument = Heartbeat(self.worker, _json(description), self.queue if ready else None)
        return call(self.client, argument, str)

    def quarantine(self, reason: str) -> None:
        """Takes this worker out of service: it gets no chunk until it has recovered."""
        self.client.hset("jdq:workers:sick", self.worker, _json({"since": round(time.time() * 1000), "reason": reason}))

    def is_drained(self) -> bool:
        """Whether this worker takes no chunk, because it was drained or has stepped back."""
        return bool(self.client.hexists("jdq:workers:drained", self.worker))

    def step_back(self, reason: str) -> None:
        """Takes no more chunks until this worker is restarted."""
        self.client.hsetnx("jdq:workers:drained", self.worker, reason)

    def is_busy(self) -> bool:
        """Whether a process of this worker is working on a job."""
        return bool(self.client.hexists("jdq:workers:busy", self.worker))

    def has_stray_process(self) -> bool:
        """Whether a process of this worker works on a job of which this worker holds no chunk."""
        job: str | None = self.client.hget("jdq:workers:busy", self.worker)  # type: ignore[assignment]
        if job is None:
            return False
        holders: list[str] = self.client.hvals(f"jdq:job:{job}:holders")  # type: ignore[assignment]
        return all(msgspec.json.decode(holder)["worker"] != self.worker for holder in holders)

    def recover(self) -> None:
        """Puts this worker into service again."""
        pipe = self.client.pipeline()
        self._recover(pipe)
        pipe.execute()

    def lease_gpu(self, uuids: Sequence[str]) -> str | None:
        """Leases one of the GPUs, or renews this worker's lease of one; None when others have them all."""
        leased = call(self.client, LeaseGpu(self.worker, tuple(uuids)), list[str])
        return leased[0] if leased else None

    def drain(self) -> None:
        """Makes this worker's working process release its chunks and stop, at its next lease renewal."""
        self.client.sadd("jdq:workers:drain", self.worker)

    def register(self) -> None:
        """Removes what an earlier worker of the same name left behind; one that was drained stays so."""
        pipe = self.client.pipeline()
        self._come_back(pipe)
        pipe.srem("jdq:workers:drain", self.worker)
        clear_busy(pipe, self.worker)
        self._recover(pipe)
        pipe.execute()

    def deregister(self, gpu: str | None = None) -> None:
        """Removes this worker, which is stopping, and its lease of the GPU."""
        pipe = self.client.pipeline()
        self._come_back(pipe)
        for name in LIMITS.worker_hashes:
            pipe.hdel(name, self.worker)
        pipe.hdel("jdq:workers:replies", f"{self.worker} next", f"{self.worker} commit")
        pipe.zrem("jdq:workers:seen", self.worker)
        pipe.srem("jdq:workers:drain", self.worker)
        if gpu:
            pipe.delete(f"jdq:gpu:{gpu}")
        pipe.execute()

    def _recover(self, pipe: redis.Redis) -> None:
        for name in ("jdq:workers:sick", "jdq:workers:faults"):
            pipe.hdel(name, self.worker)

    def _come_back(self, pipe: redis.Redis) -> None:
        """Undoes `step_back`, but not what the user ordered."""
        if self.client.hget("jdq:workers:drained", self.worker) != DRAINED:
            pipe.hdel("jdq:workers:drained", self.worker)


def clear_busy(client: redis.Redis, worker: str) -> None:
    """Marks the worker idle, whatever it worked on, because the process that did may have died."""
    client.hdel("jdq:workers:busy", worker)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
