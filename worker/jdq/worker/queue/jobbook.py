"""The client's side of the ledger: create, read, cancel and retry jobs; read the workers."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import redis

from jdq.worker.queue.contract import JobState, Queue, Spec, decode_spec, encode_spec
from jdq.worker.queue.limits import LIMITS, PRIORITIES
from jdq.worker.queue.scripts import Cancel, Create, Retry, Submitted, TicketOrder, call

_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"  # no 0/o, 1/l/i: ids are read aloud and typed


class UnknownJob(Exception):
    """No job has this id."""


class NotRetried(Exception):
    """The job has not failed."""


class DependencyEnded(Exception):
    """A job that the new one should wait for has failed or was cancelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobError:
    """Why a job failed; the message ends with the next step where one is known."""

    type: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as the ledger has it. Times are seconds since 1970 on the server's clock."""

    id: str
    kind: str
    state: JobState
    spec: Spec
    queue: Queue
    created: float
    started: float | None
    ended: float | None
    read_at: float  # when this was read
    chunks_done: int
    chunks_total: int
    chunks_leased: int
    waits_for: list[str]
    counts: dict[str, int]
    chunks_delayed: int  # they failed, and are retried soon
    live: list[dict[str, Any]]  # progress of the leased chunks
    workers: list[str]  # those that hold them
    log: list[dict[str, Any]]  # attempts that did not end in a commit, with their reasons
    result: dict[str, Any] | None
    error: JobError | None

    @property
    def wall_s(self) -> float | None:
        """Seconds from the first lease to the job's end, or to when this was read."""
        if self.started is None:
            return None
        return (self.ended or self.read_at) - self.started


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A worker as it describes itself.

    `state` is starting, waiting (for a GPU), idle, busy, stopping or dead.
    """

    name: str
    state: str
    queue: Queue
    host: str
    pid: int
    device: str
    job: str | None
    last_seen: float
    started: float


def new_job_id(kind: str) -> str:
    """A short id that no other job has: the kind and eight characters."""
    return f"{kind}-" + "".join(secrets.choice(_ALPHABET) for _ in range(8))


def lines_key(job: str) -> str:
    """The Redis stream of a job's log lines."""
    return f"jdq:job:{job}:lines"


class JobBook:
    """The jobs and workers of the ledger. All methods raise redis.RedisError."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def create(
        self, spec: Spec, *, after: Sequence[str] = (), priority: str = "normal", job: str | None = None
    ) -> tuple[str, list[TicketOrder]]:
        """Adds a job of one chunk that starts when the jobs in `after` have succeeded.

        Returns its id and the tickets to send. Raises UnknownJob, DependencyEnded.
        """
        job = job or new_job_id(spec.kind)
        argument = Create(
            job=job,
            kind=spec.kind,
            spec=encode_spec(spec),
            queue=spec.first_queue,
            priority=PRIORITIES[priority],
            after=tuple(after),
        )
        created = call(self._client, argument, Submitted)
        if created.answer == "unknown":
            raise UnknownJob(created.job)
        if created.answer == "failed":
            raise DependencyEnded(created.job)
        return job, created.tickets

    def job(self, job: str) -> Job:
        """The job; raises UnknownJob."""
        found = self._read([job])
        if not found:
            raise UnknownJob(job)
        return found[0]

    def jobs(self, *, since: float | None = None) -> list[Job]:
        """All jobs, newest first, or those submitted since then (seconds since 1970)."""
        ids = self._client.zrevrangebyscore("jdq:jobs", "+inf", "-inf" if since is None else since * 1000)
        return self._read([str(job) for job in ids])

    def cancel(self, job: str) -> bool:
        """Ends the job in the ledger; its workers stop at their next lease renewal. False if it had ended already."""
        answer = call(self._client, Cancel(job), str)
        if answer == "unknown":
            raise UnknownJob(job)
        return answer == "cancelled"

    def retry(self, job: str) -> list[TicketOrder]:
        """Runs a failed or cancelled job again; committed chunks stay committed. Returns the tickets to send.

        Raises UnknownJob, NotRetried, and DependencyEnded if a job that it waits for must be retried first.
        """
        retried = call(self._client, Retry(job), Submitted)
        match retried.answer:
            case "unknown":
                raise UnknownJob(job)
            case "failed":
                raise DependencyEnded(retried.job)
            case "running" | "succeeded" as state:
                raise NotRetried(f"job {job} is {state}: only a failed or cancelled job can be retried")
        return retried.tickets

    def workers(self) -> list[Worker]:
        """All registered workers, by name; those that stopped sending heartbeats as dead."""
        pipe = self._client.pipeline(transaction=False)
        pipe.hgetall("jdq:workers")
        pipe.zrange("jdq:workers:seen", 0, -1, withscores=True)
        pipe.hgetall("jdq:workers:busy")
        pipe.smembers("jdq:workers:drain")
        pipe.time()
        described, seen, busy, draining, (seconds, micros) = pipe.execute()
        last_seen = dict(seen)
        now = seconds + micros / 1e6
        return [
            _worker(name, msgspec.json.decode(text), last_seen.get(name, 0) / 1000, now, busy.get(name), draining)
            for name, text in sorted(described.items())
        ]

    def _read(self, ids: list[str]) -> list[Job]:
        pipe = self._client.pipeline(transaction=False)
        pipe.time()
        for job in ids:
            pipe.hgetall(f"jdq:job:{job}")
            pipe.smembers(f"jdq:job:{job}:after")
            pipe.hvals(f"jdq:job:{job}:holders")
            pipe.hvals(f"jdq:job:{job}:live")
            pipe.lrange(f"jdq:job:{job}:log", 0, -1)
            pipe.zcard(f"jdq:job:{job}:delayed")
        (seconds, micros), *rest = pipe.execute()
        now = seconds + micros / 1e6
        parts = [rest[i : i + 6] for i in range(0, len(rest), 6)]
        return [_job(job, now, *part) for job, part in zip(ids, parts, strict=True) if part[0]]


def _job(
    job: str,
    now: float,
    fields: dict[str, str],
    after: set[str],
    holders: list[str],
    live: list[str],
    log: list[str],
    delayed: int,
) -> Job:
    return Job(
        id=job,
        kind=fields["kind"],
        state=JobState(fields["state"]),
        spec=decode_spec(fields["spec"]),
        queue=fields["queue"],  # type: ignore[arg-type]
        created=float(fields["created"]) / 1000,
        started=_seconds(fields.get("started")),
        ended=_seconds(fields.get("ended")),
        read_at=now,
        chunks_done=int(fields["chunks_done"]),
        chunks_total=int(fields["chunks_total"]),
        chunks_leased=len(holders),
        chunks_delayed=delayed,
        waits_for=sorted(after),
        counts={name[6:]: int(value) for name, value in fields.items() if name.startswith("count:")},
        live=[msgspec.json.decode(text) for text in live],
        workers=sorted({msgspec.json.decode(text)["worker"] for text in holders}),
        log=[msgspec.json.decode(text) for text in log],
        result=msgspec.json.decode(fields["result"]) if "result" in fields else None,
        error=msgspec.json.decode(fields["error"], type=JobError) if "error" in fields else None,
    )


def _seconds(milliseconds: str | None) -> float | None:
    return None if milliseconds is None else float(milliseconds) / 1000


def _worker(
    name: str, described: dict[str, Any], seen: float, now: float, job: str | None, draining: set[str]
) -> Worker:
    if now - seen > LIMITS.worker_timeout_ms / 1000:
        state = "dead"
    elif name in draining:
        state = "stopping"
    elif described.get("condition", "ready") != "ready":
        state = described.get("condition", "ready")
    else:
        state = "busy" if job else "idle"
    return Worker(
        name=name,
        state=state,
        queue=described["queue"],
        host=described["host"],
        pid=described["pid"],
        device=described["device"],
        job=job if state != "dead" else None,
        last_seen=seen,
        started=described["started"],
    )
