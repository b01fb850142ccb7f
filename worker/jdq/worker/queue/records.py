"""Jobs and workers as the ledger has them, read from their entries in Redis."""

from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
import redis

from jdq.worker.queue.contract import NOBODY, JobState, Spec, UnknownSpec, read_spec
from jdq.worker.queue.limits import LIMITS, PRIORITIES

# A reason in jdq:workers:drained why a worker takes no chunks: the user drained it. Other reasons are the worker's own.
DRAINED = "drained"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobError:
    """Why a job failed; the message ends with the next step if one is known."""

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
    started: float | None = None
    ended: float | None = None
    read_at: float  # when this was read
    chunks_done: int = 0
    chunks_total: int
    chunks_leased: int = 0
    waits_for: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    chunks_delayed: int = 0  # they failed, and are retried soon
    live: list[dict[str, Any]] = field(default_factory=list)  # progress of the leased chunks
    workers: list[str] = field(default_factory=list)  # workers that hold them
    log: list[dict[str, Any]] = field(default_factory=list)  # attempts that did not end in a commit, with their reasons
    result: dict[str, Any] | None = None
    error: JobError | None = None
    owner: str = NOBODY
    priority: int = PRIORITIES["normal"]  # the lower goes first
    used_s: float = 0.0  # device time of the attempts that have ended, on all workers
    time_limit_s: float | None = None
    held_back: str | None = None  # by which quota of its owner, at the last check

    @property
    def wall_s(self) -> float | None:
        """Seconds from the first lease to the job's end, or to when this was read."""
        if self.started is None:
            return None
        return (self.ended or self.read_at) - self.started


class GpuUse(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a worker's GPU all processes use, as the driver reports it; None if it does not.

    percent: of the time; used, total: memory in bytes; power_w: watts.
    """

    uuid: str
    percent: int | None = None
    used: int | None = None
    total: int | None = None
    power_w: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A worker as it describes itself.

    `state` is starting, waiting (for a GPU), idle, busy, drained, sick, stopping or dead. `reason` says why it is sick,
    or why it drained itself. A drained worker may still finish a chunk of `job`.
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
    protocol: int  # of its messages
    tokens_per_s: int | None  # of the last chunk that its encoder computed
    reason: str | None = None
    texts: int = 0  # that it has computed since it registered
    tokens: int = 0
    gpu: GpuUse | None = None  # the GPU that it leases


class _Description(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker reports about itself with each heartbeat; other versions may report more or less."""

    queue: str = "-"
    host: str = "-"
    pid: int = 0
    device: str = "-"
    started: float = 0.0
    condition: str = "ready"
    version: str = "-"
    protocol: int = 0
    gpu: GpuUse | None = None


def readable_job(job: str, now: float, part: list[Any]) -> Job:
    """The job, or one that says that it cannot be read, because one bad entry must not hide all others."""
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
        read_at=now,
        chunks_total=0,
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
        owner=fields.get("owner", NOBODY),
        priority=int(fields["priority"]),
        used_s=int(fields.get("used_ms", 0)) / 1000,
        time_limit_s=_seconds(fields.get("time_limit_ms")),
        held_back=fields.get("held_back"),
    )


def _seconds(milliseconds: str | None) -> float | None:
    return None if milliseconds is None else float(milliseconds) / 1000


T = TypeVar("T")


def _lenient(text: str, kind: type[T], otherwise: T) -> T:
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.MsgspecError:
        return otherwise


def worker_record(
    name: str,
    text: str,
    *,
    silent_s: float,
    last_seen: float,
    job: str | None,
    draining: bool,
    sick: str | None,
    drained: str | None,
    speed: str | None,
    texts: int,
    tokens: int,
) -> Worker:
    """The worker with this description; a description that no version of jdq wrote is shown as unreadable."""
    described = _lenient(text, _Description, _Description(condition="unreadable"))
    if silent_s > LIMITS.worker_timeout_ms / 1000:
        state = "dead"
    elif draining:
        state = "stopping"
    elif sick is not None:
        state = "sick"
    elif described.condition != "ready":
        state = described.condition
    elif drained is not None:
        state = "drained"
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
        protocol=described.protocol,
        tokens_per_s=None if speed is None else int(speed),
        reason=_reason(sick) or (drained if drained != DRAINED else None),
        texts=texts,
        tokens=tokens,
        gpu=described.gpu,
    )


def _reason(sick: str | None) -> str | None:
    return None if sick is None else str(_lenient(sick, dict[str, Any], {}).get("reason", sick))
