"""The workers' side of the ledger: take a chunk, keep it, commit it, hand it back."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import redis

from jdq.worker.queue.contract import Queue, Spec, decode_spec
from jdq.worker.queue.jobbook import TicketOrder, ticket_orders
from jdq.worker.queue.scripts import call

MAX_ATTEMPTS = 3
GPU_LEASE_MS = 15_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to work on one chunk, until it expires or the token is no longer the ledger's."""

    job: str
    chunk: int
    token: str
    attempt: int
    spec: Spec


@dataclass(frozen=True, slots=True, kw_only=True)
class More:
    """Chunks that follow the one that is committed: a plan ends with them.

    After the last of them, one closing chunk follows on the queue `closing`, where that is given.
    """

    chunks: int
    queue: Queue
    at_once: int = 1_000_000
    closing: Queue | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a chunk brought: counts are added to the job's, facts are set in its result."""

    counts: Mapping[str, int] = field(default_factory=dict)
    result: Mapping[str, object] | None = None
    more: More | None = None


class Ledger:
    """One worker's view of the ledger. Every method is one script on the server; all raise redis.RedisError."""

    def __init__(self, client: redis.Redis, *, worker: str, queue: Queue, lease_s: float, reclaim_s: float) -> None:
        self.client = client
        self.worker = worker
        self.queue = queue
        self._lease_ms = int(lease_s * 1000)
        self._reap_ms = int(reclaim_s * 1000)

    def next(self, job: str) -> Lease | None:
        """A lease on the job's lowest pending chunk, or on a more urgent job's; None when there is none to take."""
        token = secrets.token_hex(8)
        answer = call(self.client, "next", job, self.worker, self.queue, token, self._lease_ms)
        if answer is None:
            return None
        leased, chunk, attempt, spec = answer
        return Lease(job=leased, chunk=chunk, token=token, attempt=attempt, spec=decode_spec(spec))

    def beat(self, leases: Sequence[tuple[Lease, Mapping[str, object] | None]]) -> list[str]:
        """Extends the leases that are still ours, and says how far each is; a verdict for each.

        'ok'; 'drain': hand back and stop; 'cancelled': the job ended; 'lost': another worker has it.
        """
        arguments: list[str | int] = []
        for lease, live in leases:
            arguments += [lease.job, lease.chunk, lease.token, msgspec.json.encode(live).decode() if live else ""]
        return list(call(self.client, "beat", self.worker, self._lease_ms, *arguments))

    def commit(self, lease: Lease, outcome: Outcome) -> tuple[str, list[TicketOrder]]:
        """Counts the chunk once: 'done', 'last' (the job ended with it) or 'lost'; and the tickets to send."""
        more = outcome.more
        facts = {} if outcome.result is None else {"result": msgspec.json.encode(outcome.result).decode()}
        answer, tickets = call(
            self.client,
            "commit",
            lease.job,
            lease.chunk,
            lease.token,
            msgspec.json.encode(outcome.counts).decode(),
            more.chunks if more else 0,
            more.queue if more else "",
            more.at_once if more else 0,
            msgspec.json.encode(facts).decode(),
            (more.closing or "") if more else "",
        )
        return answer, ticket_orders(tickets)

    def hand_back(self, lease: Lease, reason: str) -> None:
        """Gives the chunk back at once and unpunished: this worker is told to stop."""
        call(self.client, "release", lease.job, lease.chunk, lease.token, "drain", reason, 0, MAX_ATTEMPTS)

    def retry_later(self, lease: Lease, reason: str) -> list[TicketOrder]:
        """Gives the chunk back after a fault of the machine, later each time; the third fails the job."""
        delay_ms = 1000 * 2 ** (lease.attempt - 1)
        arguments = ("fault", reason, delay_ms, MAX_ATTEMPTS)
        return ticket_orders(call(self.client, "release", lease.job, lease.chunk, lease.token, *arguments)[1])

    def fail(self, lease: Lease, error: Mapping[str, object]) -> list[TicketOrder]:
        """Ends the job with an error that another try would meet again: its `type` and `message`."""
        text = msgspec.json.encode(error).decode()
        return ticket_orders(call(self.client, "fail", lease.job, lease.chunk, lease.token, text)[1])

    def reap(self) -> tuple[int, list[TicketOrder]]:
        """Takes back the chunks of silent workers; how many, and the tickets that jobs lack."""
        taken, tickets = call(self.client, "reap", self._lease_ms, self._reap_ms, MAX_ATTEMPTS)
        return taken, ticket_orders(tickets)

    def idle(self, job: str) -> list[TicketOrder]:
        """Says that this worker's turn on the job is over; the ticket to send when chunks of it are left."""
        return ticket_orders(call(self.client, "idle", self.worker, job))

    def seen(self, description: Mapping[str, object], *, ready: bool = True) -> None:
        """Says that this worker lives, what it is, and whether it takes work."""
        text = msgspec.json.encode(description).decode()
        call(self.client, "seen", self.worker, self.queue if ready else "", text)

    def lease_gpu(self, uuids: Sequence[str]) -> str | None:
        """Leases one of the GPUs, or extends this worker's lease of one; None when others have them all."""
        found: str | None = call(self.client, "gpu", self.worker, GPU_LEASE_MS, *uuids)
        return found

    def drain(self) -> None:
        """Tells the process that works for this worker, at its next beat, to hand back its chunks and stop."""
        self.client.sadd("jdq:workers:drain", self.worker)

    def arrived(self) -> None:
        """Forgets what an earlier worker of the same name left behind."""
        pipe = self.client.pipeline()
        pipe.srem("jdq:workers:drain", self.worker)
        rest(pipe, self.worker)
        pipe.execute()

    def left(self, gpu: str | None = None) -> None:
        """Takes this worker off the list, and its GPU free: it stopped as it was told to."""
        pipe = self.client.pipeline()
        for name in ("jdq:workers", "jdq:workers:queue", "jdq:workers:busy"):
            pipe.hdel(name, self.worker)
        pipe.zrem("jdq:workers:seen", self.worker)
        pipe.srem("jdq:workers:drain", self.worker)
        if gpu:
            pipe.delete(f"jdq:gpu:{gpu}")
        pipe.execute()


def rest(client: redis.Redis, worker: str) -> None:
    """Says that this worker works on nothing: the process that did may have died."""
    client.hdel("jdq:workers:busy", worker)
