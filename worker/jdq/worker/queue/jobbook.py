"""The client's side of the ledger: create, read, cancel and retry jobs; read the workers."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import msgspec
import redis

from jdq.worker.queue.contract import JobState, Spec, UnknownSpec, encode_spec, read_spec
from jdq.worker.queue.limits import LIMITS, PRIORITIES
from jdq.worker.queue.scripts import Cancel, Create, EndProcess, Retry, Submitted, TicketOrder, call

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
    spec: Spec | UnknownSpec
    queue: str
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

    `state` is starting, waiting (for a GPU), idle, busy, sick, stopping or dead; `reason` says why it is sick.
    """

    name: str
    state: str
    queue: str
    host: str
    pid: int
    device: str
    job: str | None
    last_seen: float
    started: float
    version: str  # of its jdq; "-" if it does not say
    reason: str | None = None


class _Description(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker says about itself with each heartbeat; other versions may say more or less."""

    queue: str = "-"
    host: str = "-"
    pid: int = 0
    device: str = "-"
    started: float = 0.0
    condition: str = "ready"
    version: str = "-"


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
        return self._read(self.ids(since=since))

    def ids(self, *, since: float | None = None) -> list[str]:
        """The ids of the same jobs."""
        ids = self._client.zrevrangebyscore("jdq:jobs", "+inf", "-inf" if since is None else since * 1000)
        return [str(job) for job in ids]

    def cancel(self, job: str) -> bool:
        """Ends the job in the ledger; its workers stop at their next lease renewal. False if it had ended already."""
        answer = call(self._client, Cancel(job, secrets.token_hex(8)), str)
        if answer == "unknown":
            raise UnknownJob(job)
        return answer == "cancelled"

    def retry(self, job: str) -> list[TicketOrder]:
        """Runs a failed or cancelled job again; committed chunks stay committed. Returns the tickets to send.

        Raises UnknownJob, NotRetried, and DependencyEnded if a job that it waits for must be retried first.
        """
        retried = call(self._client, Retry(job, secrets.token_hex(8)), Submitted)
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
        pipe.hgetall("jdq:workers:sick")
        pipe.time()
        described, seen, busy, draining, sick, (seconds, micros) = pipe.execute()
        last_seen = dict(seen)
        now = seconds + micros / 1e6
        return [
            _worker(
                name,
                _lenient(text, _Description, _Description(condition="unreadable")),
                silent_s=now - last_seen.get(name, 0) / 1000,
                last_seen=last_seen.get(name, 0) / 1000,
                job=busy.get(name),
                draining=name in draining,
                sick=sick.get(name),
            )
            for name, text in sorted(described.items())
        ]

    def precision(self) -> str | None:
        """What `auto` means in this installation; None before it was settled."""
        found: str | None = self._client.get("jdq:precision")  # type: ignore[assignment]
        return found

    def settle_precision(self, precision: str) -> str:
        """What `auto` means in this installation: this, unless it was settled before."""
        self._client.set("jdq:precision", precision, nx=True)
        return self.precision() or precision

    def end_worker(self, worker: str, what: Literal["drain", "expired"], reason: str) -> list[TicketOrder]:
        """Returns the chunks of a worker that is gone; the tickets to send."""
        argument = EndProcess(worker, what, reason)
        return call(self._client, argument, tuple[int, list[TicketOrder]])[1]

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
        (seconds, micros), *rest = pipe.execute(raise_on_error=False)
        now = seconds + micros / 1e6
        parts = [rest[i : i + 6] for i in range(0, len(rest), 6)]
        return [_readable_job(job, now, part) for job, part in zip(ids, parts, strict=True) if part[0]]


def _readable_job(job: str, now: float, part: list[Any]) -> Job:
    """The job, or one that says that it cannot be read: one bad entry must not hide all others."""
    try:
        if errors := [reply for reply in part if isinstance(reply, redis.RedisError)]:
            raise errors[0]
        return _job(job, now, *part)
    except (redis.ResponseError, KeyError, ValueError, TypeError) as error:
        return _unreadable(job, now, f"{type(error).__name__}: {error}")


def _unreadable(job: str, now: float, problem: str) -> Job:
    message = f"its entries in Redis are not those of this version of jdq ({problem})\n  try: jdq workers"
    return Job(
        id=job,
        kind=job.rpartition("-")[0] or "-",
        state=JobState.UNREADABLE,
        spec=UnknownSpec(problem=problem),
        queue="-",
        created=now,
        started=None,
        ended=None,
        read_at=now,
        chunks_done=0,
        chunks_total=0,
        chunks_leased=0,
        chunks_delayed=0,
        waits_for=[],
        counts={},
        live=[],
        workers=[],
        log=[],
        result=None,
        error=JobError(type="Unreadable", message=message),
    )


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
        spec=read_spec(fields["spec"]),
        queue=fields["queue"],
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


T = TypeVar("T")


def _lenient(text: str, kind: type[T], otherwise: T) -> T:
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.MsgspecError:
        return otherwise


def _worker(
    name: str,
    described: _Description,
    *,
    silent_s: float,
    last_seen: float,
    job: str | None,
    draining: bool,
    sick: str | None,
) -> Worker:
    if silent_s > LIMITS.worker_timeout_ms / 1000:
        state = "dead"
    elif draining:
        state = "stopping"
    elif sick is not None:
        state = "sick"
    elif described.condition != "ready":
        state = described.condition
    else:
        state = "busy" if job else "idle"
    return Worker(
        name=name,
        state=state,
        queue=described.queue,
        host=described.host,
        pid=described.pid,
        device=described.device,
        job=job if state != "dead" else None,
        last_seen=last_seen,
        started=described.started,
        version=described.version,
        reason=None if sick is None else str(_lenient(sick, dict[str, Any], {}).get("reason", sick)),
    )
