"""Notices of ended jobs to the URLs that the jobs name: mail, Slack, Teams, ntfy and others that apprise supports."""

import logging
from importlib.util import find_spec
from typing import Any

import msgspec
import redis

from jdq.worker.queue.jobbook import JobBook, UnknownJob
from jdq.worker.queue.records import Job

log = logging.getLogger(__name__)

KEY = "jdq:notices"
ATTEMPTS = 3


class _Notice(msgspec.Struct, kw_only=True):
    """A notice to send again. urls: those that it has not reached."""

    job: str
    urls: list[str]
    attempt: int


def send_notices(client: redis.Redis, book: JobBook) -> None:
    """Sends the notices that are due; one that is not accepted is retried at the next call, at most three times in all.

    If the worker dies meanwhile, one notice may be lost. Without apprise, they are left to other workers.
    """
    for _ in range(client.llen(KEY)):
        if find_spec("apprise") is None:
            log.warning("notices of ended jobs are left to other workers\n  try: pip install 'jdq[notify]'")
            return
        entry: Any = client.lpop(KEY)
        if entry is not None:
            _send(client, book, _notice(client, entry))


def _notice(client: redis.Redis, entry: str) -> _Notice:
    if entry.startswith("{"):
        return msgspec.json.decode(entry, type=_Notice)
    urls: Any = client.hget(f"jdq:job:{entry}", "notify")
    return _Notice(job=entry, urls=msgspec.json.decode(urls or "[]"), attempt=1)


def _send(client: redis.Redis, book: JobBook, notice: _Notice) -> None:
    try:
        job = book.job(notice.job)
    except UnknownJob:
        return
    left = [url for url in notice.urls if job.state.ended and not _sent(url, job)]
    if not left:
        return
    # Everything in a URL except its scheme may be secret.
    schemes = ", ".join(url.partition(":")[0] for url in left)
    log.warning("attempt %d to send the notice of job %s failed: %s", notice.attempt, job.id, schemes)
    if notice.attempt < ATTEMPTS:
        again = _Notice(job=job.id, urls=left, attempt=notice.attempt + 1)
        client.rpush(KEY, msgspec.json.encode(again))


def _sent(url: str, job: Job) -> bool:
    import apprise

    notifier = apprise.Apprise()
    kind = apprise.NotifyType.SUCCESS if job.state == "succeeded" else apprise.NotifyType.FAILURE
    body = "\n".join(_text(job))
    return bool(notifier.add(url) and notifier.notify(body, title=f"{job.id} {job.state}", notify_type=kind))


def _text(job: Job) -> list[str]:
    minutes = round((job.wall_s or 0) / 60)
    duration = f", {minutes:,} min" if minutes else ""
    error = [job.error.message] if job.error else []
    return [f"{job.kind} of dataset {job.spec.dataset}, by {job.owner}{duration}", *error, f"jdq status {job.id}"]
