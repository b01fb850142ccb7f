"""The stack that the faults are done to: its processes, jobs and server, and commands on it."""

import contextlib
import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import psutil
import redis

from jdq.worker.config import read_config
from jdq.worker.finetune.options import FineTuneOptions
from jdq.worker.queue.connection import connect
from jdq.worker.queue.contract import FineTune
from jdq.worker.queue.jobbook import JobBook
from jdq.worker.queue.records import Job
from tests.stack.conftest import Stack, computing
from tests.waiting import until

LEASE_S = 3.0
TIME_LIMIT_S = 360_000.0  # more than the clock is set by
WORKERS = 4  # one of them for plans


@dataclass(frozen=True)
class Fleet:
    """One started stack."""

    stack: Stack

    def patiently(self, *arguments: str, user: str = "root") -> str:
        """The command's output; while the server is away, again."""
        environment = self.stack.environment | {"JDQ_USER": user}
        command = [sys.executable, "-m", "jdq.cli", *arguments]

        def succeeded() -> subprocess.CompletedProcess[str] | None:
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
            return done if done.returncode == 0 else None

        return until(succeeded, why=f"{arguments} succeeds").stdout

    def add_fine_tune(self) -> None:
        """Adds a fine-tune of low priority; the reclaimer sends its tickets."""
        spec = FineTune(dataset="none", version="0" * 12, options=FineTuneOptions(encoder="none"))
        self._jobbook.create(spec, priority="low", owner="carol", time_limit_s=TIME_LIMIT_S)

    def jobs_now(self) -> list[Job]:
        return self._jobbook.jobs()

    @property
    def _jobbook(self) -> JobBook:
        return JobBook(connect(read_config(self.stack.environment), patience_s=60))

    def running(self) -> list[str]:
        """The jobs that have not ended."""
        return [job.id for job in self.jobs_now() if not job.state.ended]

    def named(self, prefix: str) -> list[psutil.Process]:
        """Its living processes whose names begin so."""
        state = json.loads((self.stack.home / "run" / "stack.json").read_text())
        found = []
        for name, child in state["children"].items():
            if name.startswith(prefix) and psutil.pid_exists(child["pid"]):
                found.append(psutil.Process(child["pid"]))
        return found

    def workers(self) -> list[psutil.Process]:
        return self.named("gpu-") + self.named("cpu-")

    def children(self) -> list[psutil.Process]:
        """The processes that compute: those that Celery spawned, not its semaphore tracker."""
        found = []
        for worker in self.workers():
            try:
                found += computing(worker)
            except psutil.NoSuchProcess:
                continue
        return found

    def client(self) -> redis.Redis:
        path = (self.stack.home / "run" / "socket").read_text()
        return redis.Redis(unix_socket_path=path, decode_responses=True)

    def holders(self) -> dict[tuple[str, str], dict[str, Any]]:
        """By job and chunk: the token, worker and process that hold it; none while the server is away."""
        found: dict[tuple[str, str], dict[str, Any]] = {}
        with contextlib.suppress(redis.RedisError), self.client() as client:
            for job in client.smembers("jdq:open"):
                for chunk, text in client.hgetall(f"jdq:job:{job}:holders").items():
                    found[str(job), str(chunk)] = json.loads(text)
        return found
