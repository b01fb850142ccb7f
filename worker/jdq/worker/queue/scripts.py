"""The ledger's Lua scripts, and the one JSON argument that each takes.

A script runs on the server, with the server's clock, and nothing runs between its commands. It checks its argument
before its first write, and may be called again if its reply was lost, because a token or an id makes the repetition
harmless. Its argument is a struct of this file; the script reads the same field names from `args`, and a field that is
None is absent there. JSON that a script only stores is passed as text, so that Lua does not decode and change it.
"""

from functools import cache
from importlib import resources
from typing import Any, ClassVar, Literal, TypeVar

import msgspec
import redis

from jdq.worker.queue.contract import Queue
from jdq.worker.queue.limits import LIMITS

R = TypeVar("R")


class Script(msgspec.Struct, frozen=True, omit_defaults=True):
    """The argument of the script lua/`script`.lua."""

    script: ClassVar[str]


class HeldChunk(Script, frozen=True):
    """A chunk, and the token that shows that the caller still holds its lease."""

    job: str
    chunk: int
    token: str


class Create(Script, frozen=True):
    """Adds a job of one chunk. spec: JSON. owner: who submits it. notify: URLs as a JSON array."""

    script = "create"
    job: str
    kind: str
    spec: str
    queue: Queue
    priority: int
    after: tuple[str, ...]
    owner: str
    time_limit_ms: int | None = None
    notify: str | None = None


class Cancel(Script, frozen=True):
    """Ends a job. token: of this request; its repetition gets the same answer. by: who cancels it, if that is known."""

    script = "cancel"
    job: str
    token: str
    by: str | None = None


class Forget(Script, frozen=True):
    """Removes ended jobs and all their keys. archive: they stay in the history, because the store has them."""

    script = "forget"
    jobs: tuple[str, ...]
    archive: bool = False


class Saved(Script, frozen=True):
    """Notes which ended jobs are in the store. jobs: when each ended, in milliseconds."""

    script = "saved"
    jobs: dict[str, int]


class Survey(Script, frozen=True):
    """Counts those of the jobs that have not ended."""

    script = "survey"
    jobs: tuple[str, ...]


class Retry(Script, frozen=True):
    """Runs a failed or cancelled job again. token: of this request; its repetition gets the same answer."""

    script = "retry"
    job: str
    token: str


class Quotas(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The most devices and fine-tunes that owners have at the same time on a queue; "*" is for each of all others."""

    devices: dict[str, int] = {}
    fine_tunes: dict[str, int] = {}


class Next(Script, frozen=True):
    """Leases a chunk of the job, or of another one on the same queue with precedence.

    process: the pid that works on it. shares: of owners in device time; "*" is all others'.
    """

    script = "next"
    job: str
    worker: str
    process: int
    queue: Queue
    token: str
    lease_ms: int
    shares: dict[str, float] = {}
    quotas: Quotas = Quotas()


class RenewedLease(HeldChunk, frozen=True):
    """One lease to renew. live: the chunk's progress as JSON."""

    live: str | None = None


class Renew(Script, frozen=True):
    """Renews the leases that a worker holds. quotas: those of Next."""

    script = "renew"
    worker: str
    lease_ms: int
    leases: tuple[RenewedLease, ...]
    quotas: Quotas = Quotas()


class FollowUpChunks(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Chunks that follow the one that is committed: a plan ends with them.

    After the last of them, one closing chunk follows on the queue `closing`, if that is given. yields: pending chunks
    of the owner's other jobs have precedence over them.
    """

    chunks: int
    queue: Queue
    closing: Queue | None = None
    yields: bool = False


class Commit(HeldChunk, frozen=True):
    """Counts a chunk. counts: added to the job's; result: the job's, as JSON."""

    script = "commit"
    worker: str
    counts: dict[str, int]
    result: str | None = None
    follow_up: FollowUpChunks | None = None


class Release(HeldChunk, frozen=True):
    """Returns a chunk. drain: immediately, and the attempt does not count; fault: after `delay_ms`, and it counts."""

    script = "release"
    what: Literal["drain", "fault"]
    reason: str
    delay_ms: int


class EndProcess(Script, frozen=True):
    """Returns the chunks of a worker's process that is gone, of all its processes if `process` is None.

    drain: it was stopped; death: it died while it worked; expired: it is gone, and why is unknown.
    """

    script = "end_process"
    worker: str
    what: Literal["drain", "death", "expired"]
    reason: str
    process: int | None = None


class Fail(HeldChunk, frozen=True):
    """Fails the job. error: JSON with `type` and `message`."""

    script = "fail"
    error: str


class Reclaim(Script, frozen=True):
    """Reclaims expired leases and finds the jobs that lack tickets."""

    script = "reclaim"
    lease_ms: int
    reclaim_ms: int


class Heartbeat(Script, frozen=True):
    """A worker's heartbeat. queue: None while it takes no work; description: JSON."""

    script = "heartbeat"
    worker: str
    description: str
    queue: Queue | None = None


class MarkIdle(Script, frozen=True):
    """Ends a worker's time on a job. quotas: those of Next."""

    script = "mark_idle"
    worker: str
    job: str
    quotas: Quotas = Quotas()


class LeaseGpu(Script, frozen=True):
    """Leases one of the GPUs, or renews the lease of one."""

    script = "lease_gpu"
    worker: str
    uuids: tuple[str, ...]


class TicketOrder(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """How many tickets to send for a job, on a queue."""

    job: str
    queue: Queue
    count: int
    priority: int


class Submitted(msgspec.Struct, frozen=True, array_like=True):
    """How a job was created or retried. job: another job that prevented it."""

    answer: Literal["created", "retried", "running", "succeeded", "unknown", "failed"]
    tickets: list[TicketOrder] = []
    job: str = ""


class OpenJobs(msgspec.Struct, frozen=True, array_like=True):
    """How many jobs of a kind and a queue are in a state, and how many chunks they have left.

    pending: no worker has it, perhaps because its job waits for another; leased: a worker has it; delayed: it failed
    and is retried soon.
    """

    kind: str
    state: str
    queue: str
    jobs: int
    pending: int
    leased: int
    delayed: int


class Surveyed(msgspec.Struct, frozen=True, array_like=True):
    """Some jobs: their numbers, those whose workers have reported progress, and the jobs that wait for them."""

    groups: list[OpenJobs]
    live: list[str]
    dependents: list[str]


class Leased(msgspec.Struct, frozen=True, array_like=True):
    """A leased chunk. spec: JSON. deaths, rows, more: see Lease."""

    job: str
    chunk: int
    attempt: int
    spec: str
    deaths: int = 0
    rows: list[int] = []
    more: bool = False


class Committed(msgspec.Struct, frozen=True, array_like=True):
    """How a chunk was committed. last: the job ended with it; lost: another worker has it."""

    answer: Literal["done", "last", "lost"]
    tickets: list[TicketOrder]


Verdict = Literal["ok", "drain", "preempt", "cancelled", "lost"]


@cache
def _source(name: str) -> str:
    folder = resources.files("jdq.worker.queue") / "lua"
    limits = f"local limits = cjson.decode('{msgspec.json.encode(LIMITS).decode()}')"
    return "\n".join([limits, *((folder / f"{part}.lua").read_text(encoding="utf-8") for part in ("shared", name))])


def call(client: redis.Redis, argument: Script, reply: type[R]) -> R:
    """The script's reply to its argument; raises redis.RedisError."""
    script = client.register_script(_source(argument.script))
    # Lua replies with the text that a hash holds, even for a number.
    answer: Any = script(args=[msgspec.json.encode(argument)])
    return msgspec.convert(answer, reply, strict=False)
