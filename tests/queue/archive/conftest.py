"""An archive in a store, a job book that reads it, and a worker's look at the ended jobs."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from jdq.store.job_files import JobFiles
from jdq.worker.config import read_config
from jdq.worker.process import archiver
from jdq.worker.process.archiver import Archiver
from jdq.worker.process.runtime import Runtime
from jdq.worker.queue.archive import lines_key
from jdq.worker.queue.jobbook import JobBook
from jdq.worker.queue.ledger import Outcome
from jdq.worker.queue.records import Job
from tests.queue.ledgers import OwnQueue, taken
from tests.redis_server import RedisServer

Step = Callable[..., None]


@pytest.fixture
def files(tmp_path: Path) -> JobFiles:
    """An empty store, for ended jobs."""
    return JobFiles(tmp_path / "store")


@pytest.fixture
def jobbook(client: redis.Redis, files: JobFiles) -> JobBook:
    """The client's side, with that store."""
    return JobBook(client, lambda: files)


@pytest.fixture
def step(server: RedisServer, client: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Step:
    """What a worker does for ended jobs at one look. days: how long they stay in Redis."""
    monkeypatch.setattr(archiver, "SETTLE_MS", -2_000)
    client.set("jdq:archives", 1)

    def look(days: float = 30) -> None:
        environment = {"JDQ_HOME": str(tmp_path), "JDQ_BROKER_URL": server.url, "JDQ_KEEP_JOBS_DAYS": str(days)}
        client.delete("jdq:archiver")
        # What has just ended has ended before now.
        for job in map(str, client.zrange("jdq:ended", 0, -1)):
            client.zincrby("jdq:ended", -2_000, job)
        Archiver(Runtime(read_config(environment), worker="w", queue="cpu")).step()

    return look


def ended(queue: OwnQueue, owner: str = "alice") -> str:
    """A job that has succeeded, with a result, an attempt in its log, and a log line."""
    ledger, job = queue.ledger("w"), queue.job(owner=owner)
    ledger.release(taken(ledger, job), "the worker is stopping")
    queue.client.xadd(lines_key(job), {"line": f"of {job}"})
    ledger.commit(taken(ledger, job), Outcome(counts={"tokens": 7}, result={"head_id": job}))
    ledger.mark_idle(job)
    return job


def shown(job: Job) -> Job:
    return replace(job, read_at=0)
