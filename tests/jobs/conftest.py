"""Jobs worked on in this process: the real ledger, store and work, without Celery's processes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from jdq.store.datasets import DatasetVersion
from jdq.store.store import Store, open_store
from jdq.store.table import TableOptions
from jdq.worker.config import read_config
from jdq.worker.jobs import work_for
from jdq.worker.process.chunk_loop import ChunkLoop
from jdq.worker.process.runtime import Runtime
from jdq.worker.queue.contract import QUEUES, Queue, Spec
from jdq.worker.queue.jobbook import JobBook
from jdq.worker.queue.records import Job
from tests.redis_server import RedisServer


@dataclass(frozen=True)
class Workplace:
    """A Redis, a store, and one worker per queue, which works on request."""

    folder: Path
    environment: dict[str, str]

    @property
    def store(self) -> Store:
        return open_store(self.environment["JDQ_STORE"])

    def runtime(self, queue: Queue, worker: str = "worker") -> Runtime:
        return Runtime(read_config(self.environment), worker=f"{worker}-{queue}", queue=queue)

    @property
    def client(self) -> redis.Redis:
        return self.runtime("cpu").ledger.client

    @property
    def jobbook(self) -> JobBook:
        return self.runtime("cpu").jobbook

    def imported(self, text: str, name: str = "table", **options: Any) -> DatasetVersion:
        """The CSV in `text`, imported."""
        file = self.folder / f"{name}.csv"
        file.write_text(text, encoding="utf-8")
        return self.store.datasets.import_table(file, name=name, options=TableOptions(**options))

    def work_on(self, job: str, queue: Queue, worker: str = "worker") -> None:
        """One worker's time slice on the job."""
        runtime = self.runtime(queue, worker)
        ChunkLoop(
            runtime.ledger,
            job,
            work_for=lambda lease: work_for(lease, runtime),
            send=lambda orders: None,
            time_slice_s=60,
            heartbeat_s=1,
            stall_s=60,
            on_cpu=True,
        ).run()

    def finished(self, spec: Spec) -> Job:
        """The job of this specification, worked on by a worker of each queue until it ends."""
        job, _ = self.jobbook.create(spec)
        return self.worked(job)

    def worked(self, job: str) -> Job:
        """The job, after time slices of each queue's worker: a plan, its chunks and a closing chunk need one each."""
        for _ in range(4):
            for queue in QUEUES[::-1]:
                self.work_on(job, queue)
                if (found := self.jobbook.job(job)).state.ended:
                    return found
        return found


@pytest.fixture
def workplace(tmp_path: Path, server: RedisServer) -> Workplace:
    """Empty of jobs and features."""
    server.client().flushall()
    environment = {
        "JDQ_HOME": str(tmp_path / "home"),
        "JDQ_STORE": str(tmp_path / "store"),
        "JDQ_BROKER_URL": server.url,
        "JDQ_CHUNK_TOKENS": "20000",
    }
    return Workplace(tmp_path, environment)
