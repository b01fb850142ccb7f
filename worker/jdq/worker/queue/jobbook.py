"""The client's side of the ledger: create, read, cancel and retry jobs."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec
import redis
from msgspec.structs import replace

from jdq.worker.queue.archive import archived_job, forget_archived, restore, restore_history
from jdq.worker.queue.contract import NOBODY, JobState, Spec, encode_spec
from jdq.worker.queue.limits import PRIORITIES
from jdq.worker.queue.records import Job, readable_job
from jdq.worker.queue.scripts import (
    Cancel,
    Create,
    Forget,
    OpenJobs,
    Retry,
    Submitted,
    Survey,
    Surveyed,
    TicketOrder,
    call,
)
from jdq.worker.queue.workerbook import WorkerBook

if TYPE_CHECKING:
    from jdq.store.job_files import JobFiles

_PAGE = 100  # jobs that are read together if only a few may be needed
_BATCH = 500  # jobs that one call of a script reads or removes: the server does nothing else meanwhile
_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"  # no 0/o, 1/l/i, because ids are read aloud and typed


class UnknownJob(Exception):
    """No job has this id."""


class NotRetried(Exception):
    """The job has not failed."""


class DependencyEnded(Exception):
    """A job that the new one should wait for has failed or was cancelled."""


def new_job_id(kind: str) -> str:
    """A short id that no other job has: the kind and eight characters."""
    return f"{kind}-" + "".join(secrets.choice(_ALPHABET) for _ in range(8))


def _batches(jobs: Sequence[str]) -> Iterator[tuple[str, ...]]:
    return (tuple(jobs[i : i + _BATCH]) for i in range(0, len(jobs), _BATCH))


class JobBook(WorkerBook):
    """The jobs and workers of the ledger. All methods raise redis.RedisError.

    files: holds the jobs that have left Redis; opened on first use.
    """

    def __init__(self, client: redis.Redis, files: Callable[[], JobFiles] | None = None) -> None:
        super().__init__(client)
        self._files = files

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
        """Adds a job of one chunk that starts when the jobs in `after` have succeeded.

        time_limit_s: the job fails if it has not ended this long after its first lease. notify: URLs to notify of its
        end. Returns its id and the tickets to send. Raises UnknownJob, DependencyEnded.
        """
        job = job or new_job_id(spec.kind)
        argument = Create(
            job=job,
            kind=spec.kind,
            spec=encode_spec(spec),
            queue=spec.first_queue,
            priority=PRIORITIES[priority],
            after=tuple(after),
            owner=owner,
            time_limit_ms=None if time_limit_s is None else round(1000 * time_limit_s),
            notify=msgspec.json.encode(notify).decode() if notify else None,
        )
        created = call(self._client, argument, Submitted)
        while created.answer == "unknown" and self._has_succeeded(created.job):
            after = [other for other in after if other != created.job]
            created = call(self._client, replace(argument, after=tuple(after)), Submitted)
        if created.answer == "unknown":
            raise UnknownJob(created.job)
        if created.answer == "failed":
            raise DependencyEnded(created.job)
        return job, created.tickets

    def job(self, job: str) -> Job:
        """The job; raises UnknownJob."""
        jobs = self.read([job]) or self._archived([job])
        if not jobs:
            raise UnknownJob(job)
        return jobs[0]

    def jobs(self, *, since: float | None = None) -> list[Job]:
        """The jobs in Redis, newest first, or those submitted since then (seconds since 1970)."""
        return self.read([job for _, job in self._listed("jdq:jobs", since)])

    def ids(self, *, since: float | None = None) -> list[str]:
        """The ids of all jobs, newest first, or of those submitted since then, including those that have left Redis."""
        return [job for _, job in self._by_time(since)]

    def newest(self, *, since: float | None = None, start: int = 0, owner: str | None = None) -> Iterator[Job]:
        """The jobs of `ids`, from the one at `start` on, read lazily.

        owner: leaves out those that are listed as another owner's. Earlier versions did not list owners.
        """
        ids = (job for _, job in islice(self._by_time(since), start, None))
        while page := list(islice(ids, _PAGE)):
            if owner is not None:
                owners = self._client.hmget("jdq:owners", page)
                page = [job for job, listed in zip(page, owners, strict=True) if listed in (None, owner)]
            jobs = {job.id: job for job in self.read(page)}
            jobs |= {job.id: job for job in self._archived([job for job in page if job not in jobs])}
            yield from (jobs[job] for job in page if job in jobs)

    def _by_time(self, since: float | None) -> Iterator[tuple[float, str]]:
        """When each job was submitted, in milliseconds, and its id; newest first."""
        return merge(self._listed("jdq:jobs", since), self._listed("jdq:archived", since), reverse=True)

    def _listed(self, key: str, since: float | None) -> Iterator[tuple[float, str]]:
        lowest = "-inf" if since is None else since * 1000
        start, size = 0, _PAGE
        page: Any = True
        while page:
            page = self._client.zrevrangebyscore(key, "+inf", lowest, start=start, num=size, withscores=True)
            yield from ((score, job) for job, score in page)
            start, size = start + size, 100 * _PAGE

    def open_jobs(self) -> list[Job]:
        """The jobs that have not ended, including those that wait for others. Reads no job that has ended."""
        ids: set[str] = set()
        jobs: set[str] = self._client.smembers("jdq:open")  # type: ignore[assignment]
        while jobs:
            ids |= jobs
            pipe = self._client.pipeline(transaction=False)
            for job in jobs:
                pipe.smembers(f"jdq:job:{job}:dependents")
            jobs = set().union(*pipe.execute()) - ids
        return self.read(sorted(ids))

    def survey(self) -> tuple[list[OpenJobs], int]:
        """The numbers of `open_jobs` by kind, state and queue, without reading the jobs.

        Also the tokens of their chunks in flight, as far as workers have reported them.
        """
        groups: list[OpenJobs] = []
        live: list[str] = []
        known: set[str] = set()
        jobs: set[str] = self._client.smembers("jdq:open")  # type: ignore[assignment]
        while jobs:
            known |= jobs
            parts = [call(self._client, Survey(batch), Surveyed) for batch in _batches(sorted(jobs))]
            groups += [group for part in parts for group in part.groups]
            live += [job for part in parts for job in part.live]
            jobs = {job for part in parts for job in part.dependents} - known
        return groups, sum(each.get("tokens", 0) for job in self.read(live) for each in job.live)

    def totals(self) -> dict[str, int]:
        """What the ledger has counted since it was created, over all jobs: see docs/explanation/queue.md."""
        totals: dict[str, str] = self._client.hgetall("jdq:totals")  # type: ignore[assignment]
        return {name: int(value) for name, value in totals.items()}

    def cancel(self, job: str, *, by: str | None = None) -> bool:
        """Ends the job in the ledger; its workers stop at their next lease renewal. False if it had already ended.

        by: who cancels it; the job's log names this person if it is not the owner.
        """
        answer = call(self._client, Cancel(job, secrets.token_hex(8), by), str)
        if answer == "unknown" and not self._archived([job]):
            raise UnknownJob(job)
        return answer == "cancelled"

    def ended_before(self, moment: float) -> list[tuple[str, str]]:
        """The id and owner of each job that ended before then (seconds since 1970), archived ones included."""
        ids = [str(job) for job in self._client.zrangebyscore("jdq:jobs", "-inf", moment * 1000)]
        pipe = self._client.pipeline(transaction=False)
        for job in ids:
            pipe.hmget(f"jdq:job:{job}", "ended", "owner")
        entries = pipe.execute(raise_on_error=False)
        in_redis = [
            (job, entry[1] or NOBODY)
            for job, entry in zip(ids, entries, strict=True)
            if isinstance(entry, list) and entry[0] and float(entry[0]) < moment * 1000
        ]
        archived = [str(job) for job in self._client.zrangebyscore("jdq:archived", "-inf", moment * 1000)]
        return in_redis + [(job.id, job.owner) for job in self._archived(archived) if (job.ended or 0) < moment]

    def forget(self, jobs: Sequence[str]) -> list[str]:
        """Removes the jobs that have ended and with which no worker is still busy; returns their ids."""
        removed = [job for batch in _batches(jobs) for job in call(self._client, Forget(batch), list[str])]
        if self._files:
            removed += [job for job in jobs if job not in removed and self._is_lost(job)]
            forget_archived(self._files(), removed)
        return removed

    def recover(self) -> int:
        """Lists the archived jobs that Redis has lost; returns their number."""
        return restore_history(self._client, self._files()) if self._files else 0

    def retry(self, job: str) -> list[TicketOrder]:
        """Runs a failed or cancelled job again; committed chunks stay committed. Returns the tickets to send.

        Raises UnknownJob, NotRetried, and DependencyEnded if a job that it waits for must be retried first.
        """
        if self._files and not self._client.exists(f"jdq:job:{job}"):
            restore(self._client, self._files(), job)
        retried = call(self._client, Retry(job, secrets.token_hex(8)), Submitted)
        match retried.answer:
            case "unknown":
                raise UnknownJob(job)
            case "failed":
                raise DependencyEnded(retried.job)
            case "running" | "succeeded" as state:
                raise NotRetried(f"job {job} is {state}: only a failed or cancelled job can be retried")
        return retried.tickets

    def precision(self) -> str | None:
        """What `auto` means in this installation; None before that is decided."""
        precision: str | None = self._client.get("jdq:precision")  # type: ignore[assignment]
        return precision

    def settle_precision(self, precision: str) -> str:
        """What `auto` means in this installation: this, unless that was decided before."""
        self._client.set("jdq:precision", precision, nx=True)
        return self.precision() or precision

    def _archived(self, ids: Sequence[str]) -> list[Job]:
        """Those of the jobs that the store has, in the same order."""
        if not ids or not self._files:
            return []
        files = self._files()
        return [job for id in ids if (job := archived_job(files, id))]

    def _is_lost(self, job: str) -> bool:
        """Whether only the store knows the job."""
        return not self._client.exists(f"jdq:job:{job}") and bool(self._archived([job]))

    def _has_succeeded(self, job: str) -> bool:
        """Whether the job has left Redis and had succeeded; raises DependencyEnded if it had ended otherwise."""
        for archived in self._archived([job]):
            if archived.state != JobState.SUCCEEDED:
                raise DependencyEnded(job)
            return True
        return False

    def read(self, ids: Sequence[str]) -> list[Job]:
        """Those of the jobs that are in Redis, in the same order."""
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
        return [readable_job(job, now, part) for job, part in zip(ids, parts, strict=True) if part[0]]
