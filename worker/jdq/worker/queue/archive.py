"""The archive: ended jobs as `job.json` and `lines.json` beside their other files in the store.

A worker writes both when the job has ended. Later the job is removed from Redis, where only its id and submission time
stay. The fields are those of Redis, so that an archived job is read, and retried, like any other.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec
import redis

from jdq.worker.queue.limits import LINES_KEPT
from jdq.worker.queue.records import Job, readable_job

if TYPE_CHECKING:
    from jdq.store.job_files import JobFiles

RECORD, LINES = "job", "lines"
_PARTS = ("log", "returned")


class _Record(msgspec.Struct, kw_only=True):
    """fields: of the job's hash; log: its events; returned: its chunks that are not done."""

    fields: dict[str, str]
    log: list[str] = []
    returned: list[int] = []


class _Lines(msgspec.Struct, kw_only=True):
    """Log lines, oldest first. last: the id of the last one's entry in Redis."""

    lines: list[str] = []
    last: str = "0"


def lines_key(job: str) -> str:
    """The Redis stream of a job's log lines."""
    return f"jdq:job:{job}:lines"


def archived_job(files: JobFiles, job: str) -> Job | None:
    """The job as it ended; None if the store does not have it."""
    record = _read(files, job, RECORD, _Record)
    if record is None:
        return None
    ended = float(record.fields.get("ended", 0)) / 1000
    return readable_job(job, ended, [record.fields, set(), [], [], record.log, 0])


def archived_lines(files: JobFiles, job: str) -> list[str]:
    """The job's log lines that are no longer in Redis."""
    found = _read(files, job, LINES, _Lines)
    return found.lines if found else []


def save(client: redis.Redis, files: JobFiles, job: str) -> int:
    """Writes the ended job and its log lines; returns when it ended in ms, 0 if it has not. Raises OSError."""
    pipe = client.pipeline()
    pipe.hgetall(f"jdq:job:{job}")
    pipe.lrange(f"jdq:job:{job}:log", 0, -1)
    pipe.zrange(f"jdq:job:{job}:returned", 0, -1)
    fields, log, returned = pipe.execute()
    if "ended" in fields:
        _save_lines(client, files, job)
        files.replace_json(job, RECORD, _Record(fields=fields, log=log, returned=[int(chunk) for chunk in returned]))
    return int(fields.get("ended", 0))


def _save_lines(client: redis.Redis, files: JobFiles, job: str) -> None:
    known = _read(files, job, LINES, _Lines) or _Lines()
    entries: Any = client.xrange(lines_key(job), f"({known.last}")
    if entries:
        lines = [*known.lines, *(fields["line"] for _, fields in entries)]
        files.replace_json(job, LINES, _Lines(lines=lines[-LINES_KEPT:], last=entries[-1][0]))


def restore(client: redis.Redis, files: JobFiles, job: str) -> None:
    """Puts an archived job back into Redis, to be retried; nothing if the store does not have it."""
    record = _read(files, job, RECORD, _Record)
    if record is None:
        return
    name, fields = f"jdq:job:{job}", record.fields
    pipe = client.pipeline()
    pipe.unlink(*(f"{name}:{part}" for part in _PARTS))
    pipe.hset(name, mapping=fields)
    if record.log:
        pipe.rpush(f"{name}:log", *record.log)
    if record.returned:
        pipe.zadd(f"{name}:returned", {str(chunk): chunk for chunk in record.returned})
    pipe.zadd("jdq:jobs", {job: float(fields["created"])})
    pipe.zadd("jdq:ended", {job: float(fields["ended"])})
    pipe.zrem("jdq:archived", job)
    pipe.execute()


def restore_history(client: redis.Redis, files: JobFiles) -> int:
    """Lists the archived jobs that Redis does not know; returns their number."""
    known = {str(job) for key in ("jdq:jobs", "jdq:archived") for job in client.zrange(key, 0, -1)}
    lost = [job for job in files.jobs_with(RECORD) if job not in known]
    jobs = [job for id in lost if (job := archived_job(files, id))]
    if jobs:
        client.zadd("jdq:archived", {job.id: round(job.created * 1000) for job in jobs})
        client.hset("jdq:owners", mapping={job.id: job.owner for job in jobs})
    return len(jobs)


def forget_archived(files: JobFiles, jobs: Iterable[str]) -> None:
    """Removes the jobs from the archive."""
    for job in jobs:
        for name in (RECORD, LINES):
            files.remove_json(job, name)


def _read(files: JobFiles, job: str, name: str, kind: type[Any]) -> Any:
    from jdq.store.job_files import InvalidJob, NoResult

    try:
        return msgspec.convert(files.get_json(job, name), kind)
    except (InvalidJob, NoResult, msgspec.ValidationError):
        return None
